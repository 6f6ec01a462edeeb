/* The one way to parse untrusted bytes: every read is checked against the end, failure is sticky. Little endian. */
#ifndef TD_BASE_READER_H
#define TD_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct td_reader {
    const uint8_t *data;
    size_t size, position;
    bool failed; /* a read went past the end */
} td_reader;

static inline td_reader td_reader_of(const void *data, size_t size)
{
    return (td_reader){(const uint8_t *)data, size, 0, false}; /* the cast is for C++ */
}

/* Returns `length` bytes and moves on, or NULL (and fails) when fewer are left. */
static inline const uint8_t *td_read_bytes(td_reader *reader, size_t length)
{
    if (reader->failed || length > reader->size - reader->position) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->data + reader->position;
    reader->position += length;
    return bytes;
}

static inline uint64_t td_read_unsigned(td_reader *reader, unsigned bytes)
{
    const uint8_t *at = td_read_bytes(reader, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; at && i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static inline uint8_t td_read_u8(td_reader *reader)
{
    return (uint8_t)td_read_unsigned(reader, 1);
}
static inline uint16_t td_read_u16(td_reader *reader)
{
    return (uint16_t)td_read_unsigned(reader, 2);
}
static inline uint32_t td_read_u32(td_reader *reader)
{
    return (uint32_t)td_read_unsigned(reader, 4);
}
static inline uint64_t td_read_u64(td_reader *reader)
{
    return td_read_unsigned(reader, 8);
}
static inline size_t td_reader_left(const td_reader *reader)
{
    return reader->size - reader->position;
}

#endif
