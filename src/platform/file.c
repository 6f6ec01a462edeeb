#define _GNU_SOURCE
#include "platform/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static td_status fail_path(td_error *error, const char *path, const char *action)
{
    return td_fail(error, TD_ERROR_IO, "%s: cannot %s: %s", path, action, strerror(errno));
}

td_status td_file_read(const char *path, size_t limit, td_buffer *buffer, td_error *error)
{
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return fail_path(error, path, "open");
    size_t start = buffer->length;
    td_status status = TD_OK;
    for (;;) {
        char block[1 << 16];
        size_t length = fread(block, 1, sizeof block, stream);
        if (length == 0)
            break;
        if (limit && buffer->length - start + length > limit) {
            status = td_fail(error, TD_ERROR_LIMIT, "%s: larger than %zu bytes", path, limit);
            break;
        }
        td_buffer_append(buffer, block, length);
    }
    if (status == TD_OK && ferror(stream))
        status = fail_path(error, path, "read");
    fclose(stream);
    if (status == TD_OK && !td_buffer_ok(buffer))
        status = td_fail_memory(error, buffer->length);
    return status;
}

td_status td_file_map(const char *path, td_mapped_file *ret_file, td_error *error)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fail_path(error, path, "open");
    struct stat information;
    if (fstat(descriptor, &information) != 0 || !S_ISREG(information.st_mode)) {
        close(descriptor);
        return td_fail(error, TD_ERROR_IO, "%s: not a regular file", path);
    }
    void *data = NULL;
    if (information.st_size > 0) {
        data = mmap(NULL, (size_t)information.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data == MAP_FAILED) {
            td_status status = fail_path(error, path, "map");
            close(descriptor);
            return status;
        }
    }
    close(descriptor);
    *ret_file = (td_mapped_file){data, (size_t)information.st_size, true};
    return TD_OK;
}

void td_file_unmap(td_mapped_file *file)
{
    if (file->data)
        munmap((void *)(uintptr_t)file->data, file->size);
    *file = (td_mapped_file){0};
}

/* Private pages that were never written are the file's: dropping one that is shared with a neighbour costs a reread at
 * most. */
void td_file_forget(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)data & ~(page - 1), end = (uintptr_t)data + bytes;
    if (bytes)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

char *td_path_join(const char *directory, const char *name)
{
    td_buffer path = TD_BUFFER_INIT;
    size_t length = strlen(directory);
    td_buffer_format(&path, "%s%s%s", directory, length && directory[length - 1] == '/' ? "" : "/", name);
    if (!td_buffer_ok(&path)) {
        td_buffer_free(&path);
        return NULL;
    }
    return path.data;
}

static void release_output(td_output_file *file)
{
    td_release(file->path);
    td_release(file->temporary);
    *file = (td_output_file){0};
}

/* The path with links followed where there is a file already; NULL when out of memory. */
static char *final_place(const char *path)
{
    struct stat information;
    bool link = lstat(path, &information) == 0 && S_ISLNK(information.st_mode);
    char *target = link ? realpath(path, NULL) : NULL, *place = td_copy_string(target ? target : path);
    free(target); /* the C library's */
    return place;
}

static bool is_special(const char *path)
{
    struct stat information;
    return stat(path, &information) == 0 && !S_ISREG(information.st_mode) && !S_ISDIR(information.st_mode);
}

td_status td_output_open(const char *path, td_output_file *ret_file, td_error *error)
{
    bool special = is_special(path);
    td_output_file file = {.path = special ? td_copy_string(path) : final_place(path)};
    td_buffer temporary = TD_BUFFER_INIT;
    if (file.path && !special) {
        td_buffer_format(&temporary, "%s.%ld.partial", file.path, (long)getpid());
        file.temporary = temporary.data;
    }
    if (!file.path || !td_buffer_ok(&temporary)) {
        release_output(&file);
        return td_fail_memory(error, strlen(path));
    }
    const char *opened = file.temporary ? file.temporary : file.path;
    file.stream = fopen(opened, "wb");
    if (!file.stream) {
        td_status status = fail_path(error, opened, "create");
        release_output(&file);
        return status;
    }
    *ret_file = file;
    return TD_OK;
}

void td_output_discard(td_output_file *file)
{
    if (file->stream) {
        fclose(file->stream);
        if (file->temporary)
            unlink(file->temporary);
    }
    release_output(file);
}

/* Syncs the directory that holds `path`, so that a rename in it survives a crash. */
static void sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash ? td_copy_bytes(path, (size_t)(slash - path) + 1) : td_copy_string(".");
    int descriptor = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    td_release(parent);
}

td_status td_output_commit(td_output_file *file, td_error *error)
{
    td_status status = TD_OK;
    bool failed = ferror(file->stream) || fflush(file->stream) != 0;
    if (!failed && fsync(fileno(file->stream)) != 0)
        failed = errno != EINVAL; /* EINVAL: not a file that can be synced */
    if (failed)
        status = fail_path(error, file->path, "write");
    if (fclose(file->stream) != 0 && status == TD_OK)
        status = fail_path(error, file->path, "write");
    if (status == TD_OK && file->temporary && rename(file->temporary, file->path) != 0)
        status = fail_path(error, file->path, "rename into place");
    if (status == TD_OK)
        sync_parent(file->path);
    else if (file->temporary)
        unlink(file->temporary);
    release_output(file);
    return status;
}

td_status td_file_write(const char *path, const void *data, size_t length, td_error *error)
{
    td_output_file file;
    TD_TRY(td_output_open(path, &file, error));
    if (length && fwrite(data, 1, length, file.stream) != length) {
        td_status status = fail_path(error, path, "write");
        td_output_discard(&file);
        return status;
    }
    return td_output_commit(&file, error);
}

td_status td_directory_create(const char *path, td_error *error)
{
    char *copy = td_copy_string(path);
    if (!copy)
        return td_fail_memory(error, strlen(path));
    td_status status = TD_OK;
    for (char *at = copy + 1; status == TD_OK; at++) {
        if (*at != '/' && *at != 0)
            continue;
        char end = *at;
        *at = 0;
        struct stat information;
        if (mkdir(copy, 0777) != 0 && (errno != EEXIST || stat(copy, &information) != 0 || !S_ISDIR(information.st_mode)))
            status = fail_path(error, copy, "create directory");
        *at = end;
        if (end == 0)
            break;
    }
    td_release(copy);
    return status;
}

td_status td_directory_remove(const char *path, td_error *error)
{
    DIR *directory = opendir(path);
    if (!directory)
        return errno == ENOENT ? TD_OK : fail_path(error, path, "open directory");
    td_status status = TD_OK;
    struct dirent *entry;
    while (status == TD_OK && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *child = td_path_join(path, entry->d_name);
        struct stat information;
        if (!child)
            status = td_fail_memory(error, strlen(path));
        else if (lstat(child, &information) == 0 && S_ISDIR(information.st_mode))
            status = td_directory_remove(child, error);
        else if (unlink(child) != 0)
            status = fail_path(error, child, "remove");
        td_release(child);
    }
    closedir(directory);
    if (status == TD_OK && rmdir(path) != 0)
        status = fail_path(error, path, "remove directory");
    return status;
}

td_status td_directory_publish(const char *from, const char *to, td_error *error)
{
    int descriptor = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return fail_path(error, from, "open directory");
    fsync(descriptor);
    close(descriptor);
    if (rename(from, to) != 0)
        return fail_path(error, to, "rename into place");
    sync_parent(to);
    return TD_OK;
}

bool td_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
