/* Zip archives in mapped memory (PKWARE APPNOTE, with the 64-bit extension): what is in them, and where. PyTorch and NumPy store arrays
 * uncompressed, so that an entry is a stretch of the file and nothing needs to be copied. */
#ifndef TD_IO_ZIP_H
#define TD_IO_ZIP_H

#include "base/arena.h"
#include "platform/file.h"

typedef struct td_zip_entry {
    const char *name;
    const uint8_t *data; /* as it lies in the file */
    size_t stored, size; /* bytes there, and when unpacked */
    uint32_t checksum;
    bool deflated;
    bool mapped; /* its bytes are a file's: they may be forgotten as they are unpacked */
} td_zip_entry;

/* Belongs to the arena and to the mapped bytes. */
typedef struct td_zip {
    td_zip_entry *entries;
    size_t count;
} td_zip;

/* Every offset and size is checked; `path` is for messages. */
td_status td_zip_read(const char *path, const td_mapped_file *map, td_arena *memory, td_zip *ret_zip, td_error *error);
const td_zip_entry *td_zip_find(const td_zip *zip, const char *name); /* NULL when there is none */
/* A deflated entry's `size` bytes -> out, compared with the checksum. */
td_status td_zip_unpack(const char *path, const td_zip_entry *entry, uint8_t *out, td_error *error);
/* No more than its first `count` bytes, not compared with anything; how many there are, 0 when they are damaged. */
size_t td_zip_unpack_head(const td_zip_entry *entry, uint8_t *out, size_t count);
/* The entry's `size` bytes: in place, or unpacked into the arena and compared with the checksum. */
td_status td_zip_bytes(const char *path, const td_zip_entry *entry, td_arena *memory, const uint8_t **ret_bytes, td_error *error);

#endif
