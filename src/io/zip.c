#include "io/zip.h"

#include "base/reader.h"

#include <string.h>
#include <zlib.h>

enum { END_LENGTH = 22, END64_LENGTH = 56, LOCATOR_LENGTH = 20, CENTRAL_LENGTH = 46, LOCAL_LENGTH = 30, COMMENT_MAX = 65535 };
enum { FLAG_ENCRYPTED = 1, METHOD_STORED = 0, METHOD_DEFLATED = 8, EXTRA_64 = 1 };
/* Deflate makes at most 1032 bytes of one: a size beyond that is a lie, found before memory is taken. */
enum { DEFLATE_RATIO = 1032 };

typedef struct archive {
    const char *path;
    const uint8_t *data;
    size_t size;
    td_arena *memory;
} archive;

static td_status fail(const archive *zip, const char *reason, td_error *error)
{
    return td_fail(error, TD_ERROR_FORMAT, "%s: %s (file cut short, or not a zip archive?)", zip->path, reason);
}

static td_reader reader_at(const archive *zip, uint64_t offset)
{
    td_reader reader = td_reader_of(zip->data, zip->size);
    reader.failed = offset > zip->size;
    reader.position = reader.failed ? zip->size : (size_t)offset;
    return reader;
}

/* The end record is last but for a comment of up to 64 KiB. */
static bool find_end(const archive *zip, size_t *ret_offset)
{
    if (zip->size < END_LENGTH)
        return false;
    size_t last = zip->size - END_LENGTH, first = last > COMMENT_MAX ? last - COMMENT_MAX : 0;
    for (size_t at = last + 1; at-- > first;) {
        const uint8_t *end = zip->data + at;
        if (memcmp(end, "PK\5\6", 4) == 0 && (size_t)(end[20] | end[21] << 8) == last - at) {
            *ret_offset = at;
            return true;
        }
    }
    return false;
}

/* Where the central directory is and how many entries it has; a 64-bit end record goes before the old one. */
static td_status find_directory(const archive *zip, uint64_t *ret_count, uint64_t *ret_offset, td_error *error)
{
    size_t end;
    if (!find_end(zip, &end))
        return fail(zip, "it has no zip directory at its end", error);
    td_reader reader = reader_at(zip, end + 10);
    *ret_count = td_read_u16(&reader);
    td_read_u32(&reader);
    *ret_offset = td_read_u32(&reader);
    if (end < LOCATOR_LENGTH || memcmp(zip->data + end - LOCATOR_LENGTH, "PK\6\7", 4) != 0)
        return TD_OK;
    reader = reader_at(zip, end - LOCATOR_LENGTH + 8);
    reader = reader_at(zip, td_read_u64(&reader));
    const uint8_t *magic = td_read_bytes(&reader, 4);
    td_read_bytes(&reader, 28);
    *ret_count = td_read_u64(&reader);
    td_read_u64(&reader);
    *ret_offset = td_read_u64(&reader);
    if (reader.failed || memcmp(magic, "PK\6\6", 4) != 0)
        return fail(zip, "the zip directory's 64-bit record is damaged", error);
    return TD_OK;
}

/* Sizes and offset that did not fit 32 bits are in an extra field, in this order. */
static void read_extra(td_reader extra, uint64_t *values[3])
{
    while (!extra.failed && td_reader_left(&extra) >= 4) {
        uint16_t kind = td_read_u16(&extra), length = td_read_u16(&extra);
        const uint8_t *bytes = td_read_bytes(&extra, length);
        if (kind != EXTRA_64 || !bytes)
            continue;
        td_reader field = td_reader_of(bytes, length);
        for (int i = 0; i < 3; i++)
            if (*values[i] == UINT32_MAX)
                *values[i] = td_read_u64(&field);
    }
}

/* The data follow the local header, whose name and extra field have lengths of their own. */
static bool locate(const archive *zip, uint64_t offset, uint64_t stored, td_zip_entry *entry)
{
    td_reader local = reader_at(zip, offset);
    const uint8_t *header = td_read_bytes(&local, LOCAL_LENGTH);
    if (!header || memcmp(header, "PK\3\4", 4) != 0)
        return false;
    td_read_bytes(&local, (size_t)(header[26] | header[27] << 8) + (size_t)(header[28] | header[29] << 8));
    if (local.failed || stored > td_reader_left(&local))
        return false;
    entry->data = td_read_bytes(&local, (size_t)stored);
    entry->stored = (size_t)stored;
    return true;
}

static td_status read_entry(const archive *zip, td_reader *reader, td_zip_entry *entry, td_error *error)
{
    const uint8_t *magic = td_read_bytes(reader, 4);
    td_read_u32(reader);
    uint16_t flags = td_read_u16(reader), method = td_read_u16(reader);
    td_read_u32(reader);
    entry->checksum = td_read_u32(reader);
    uint64_t stored = td_read_u32(reader), size = td_read_u32(reader);
    size_t name_length = td_read_u16(reader), extra_length = td_read_u16(reader), comment_length = td_read_u16(reader);
    td_read_u64(reader);
    uint64_t offset = td_read_u32(reader);
    const uint8_t *name = td_read_bytes(reader, name_length), *extra = td_read_bytes(reader, extra_length);
    td_read_bytes(reader, comment_length);
    if (reader->failed || memcmp(magic, "PK\1\2", 4) != 0 || memchr(name, 0, name_length))
        return fail(zip, "the zip directory is damaged", error);
    read_extra(td_reader_of(extra, extra_length), (uint64_t *[3]){&size, &stored, &offset});
    char *text = td_arena_allocate(zip->memory, name_length + 1);
    if (!text)
        return td_fail_memory(error, name_length + 1);
    memcpy(text, name, name_length);
    text[name_length] = 0;
    entry->name = text;
    entry->size = (size_t)size;
    entry->deflated = method == METHOD_DEFLATED;
    if (flags & FLAG_ENCRYPTED || (method != METHOD_STORED && method != METHOD_DEFLATED))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": encrypted or packed in a way that is not supported (stored, deflated)",
                       zip->path, text);
    if (!locate(zip, offset, stored, entry))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": its data are not where the zip directory says (file cut short?)", zip->path,
                       text);
    if (entry->deflated ? size / DEFLATE_RATIO > stored : size != stored)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": %llu bytes cannot come of the %llu stored", zip->path, text,
                       (unsigned long long)size, (unsigned long long)stored);
    return TD_OK;
}

td_status td_zip_read(const char *path, const td_mapped_file *map, td_arena *memory, td_zip *ret_zip, td_error *error)
{
    archive zip = {path, map->data, map->size, memory};
    uint64_t count = 0, offset = 0;
    TD_TRY(find_directory(&zip, &count, &offset, error));
    td_reader reader = reader_at(&zip, offset);
    if (reader.failed || count > td_reader_left(&reader) / CENTRAL_LENGTH)
        return fail(&zip, "the zip directory is not where its end record says", error);
    td_zip_entry *entries = td_arena_zeroed_array(memory, (size_t)count + 1, sizeof *entries);
    if (!entries)
        return td_fail_memory(error, (size_t)count * sizeof *entries);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        TD_TRY(read_entry(&zip, &reader, &entries[i], error));
        total += entries[i].stored;
        entries[i].mapped = map->mapped;
        if (total > map->size) /* the same bytes unpacked many times over */
            return fail(&zip, "its entries overlap", error);
    }
    *ret_zip = (td_zip){entries, (size_t)count};
    return TD_OK;
}

const td_zip_entry *td_zip_find(const td_zip *zip, const char *name)
{
    for (size_t i = 0; i < zip->count; i++)
        if (strcmp(zip->entries[i].name, name) == 0)
            return &zip->entries[i];
    return NULL;
}

/* The first `count` bytes, piece by piece of what is stored, each piece forgotten: a large array is not in memory twice. True when all is
 * well; *ret_ended: when that was the whole stream. */
static bool inflate_some(const td_zip_entry *entry, uint8_t *out, size_t count, bool *ret_ended)
{
    enum { PIECE = 1 << 20, MOST = 1 << 30 }; /* zlib's lengths are 32 bits wide */
    z_stream stream = {0};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return false;
    size_t read = 0, written = 0;
    int code = Z_OK;
    while (code == Z_OK) {
        size_t in = entry->stored - read < PIECE ? entry->stored - read : PIECE, room = count - written < MOST ? count - written : MOST;
        stream.next_in = (Bytef *)(uintptr_t)(entry->data + read);
        stream.avail_in = (uInt)in;
        stream.next_out = out + written;
        stream.avail_out = (uInt)room;
        code = inflate(&stream, Z_NO_FLUSH);
        if (entry->mapped)
            td_file_forget(entry->data + read, in - stream.avail_in);
        read += in - stream.avail_in;
        written += room - stream.avail_out;
    }
    inflateEnd(&stream);
    *ret_ended = code == Z_STREAM_END;
    return written == count && (*ret_ended || code == Z_BUF_ERROR); /* the second: there was no more room */
}

size_t td_zip_unpack_head(const td_zip_entry *entry, uint8_t *out, size_t count)
{
    bool ended;
    count = count < entry->size ? count : entry->size;
    return inflate_some(entry, out, count, &ended) ? count : 0;
}

td_status td_zip_unpack(const char *path, const td_zip_entry *entry, uint8_t *out, td_error *error)
{
    bool ended;
    if (!inflate_some(entry, out, entry->size, &ended) || !ended || crc32_z(crc32_z(0, NULL, 0), out, entry->size) != entry->checksum)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": its packed data are damaged", path, entry->name);
    return TD_OK;
}

td_status td_zip_bytes(const char *path, const td_zip_entry *entry, td_arena *memory, const uint8_t **ret_bytes, td_error *error)
{
    if (!entry->deflated) {
        *ret_bytes = entry->data;
        return TD_OK;
    }
    uint8_t *out = td_arena_allocate(memory, entry->size + 1);
    if (!out)
        return td_fail_memory(error, entry->size);
    TD_TRY(td_zip_unpack(path, entry, out, error));
    *ret_bytes = out;
    return TD_OK;
}
