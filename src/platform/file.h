/* Files: read whole, map, and write so that a reader sees the old file or the new one, never a part. */
#ifndef TD_PLATFORM_FILE_H
#define TD_PLATFORM_FILE_H

#include "base/buffer.h"

#include <stdio.h>

typedef struct td_mapped_file {
    const uint8_t *data;
    size_t size;
    bool mapped; /* by td_file_map, so that td_file_forget may be called for parts of it */
} td_mapped_file;

/* Appends the whole file; fails with TD_ERROR_LIMIT when it is larger than `limit` bytes (0: no limit). */
td_status td_file_read(const char *path, size_t limit, td_buffer *buffer, td_error *error);
td_status td_file_map(const char *path, td_mapped_file *ret_file, td_error *error);
void td_file_unmap(td_mapped_file *file);
/* Part of a mapped file was read and is not expected to be read again: its pages need not stay in memory. They come
 * back when read. */
void td_file_forget(const void *data, size_t bytes);

/* A file being written beside its final place. Commit syncs and renames it; discard removes it. All write errors are
 * reported by commit at the latest, with the path and the system's reason. A device or pipe is written to as it is,
 * never replaced; a link's target is replaced, not the link. */
typedef struct td_output_file {
    FILE *stream;
    char *path, *temporary; /* temporary: NULL for a device or pipe */
} td_output_file;
td_status td_output_open(const char *path, td_output_file *ret_file, td_error *error);
td_status td_output_commit(td_output_file *file, td_error *error);
void td_output_discard(td_output_file *file);

/* Opens, writes, commits. */
td_status td_file_write(const char *path, const void *data, size_t length, td_error *error);
td_status td_directory_create(const char *path, td_error *error); /* with parents; existing is fine */
td_status td_directory_remove(const char *path, td_error *error); /* with everything in it; absent is fine */
/* Syncs `from`'s entries, renames it to `to` and syncs the parent. */
td_status td_directory_publish(const char *from, const char *to, td_error *error);
bool td_file_exists(const char *path);
/* Writes "directory/name" into a new string; NULL when out of memory. Release with td_release. */
char *td_path_join(const char *directory, const char *name);

#endif
