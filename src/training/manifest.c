#define _POSIX_C_SOURCE 200809L
#include "training/manifest.h"

#include "base/random.h"
#include "io/json.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 3 }; /* of the files' layout */

static char *manifest_path(const char *directory, const char *name)
{
    td_buffer path = TD_BUFFER_INIT;
    td_buffer_format(&path, "%s/%s.json", directory, name);
    if (td_buffer_ok(&path))
        return path.data;
    td_buffer_free(&path);
    return NULL;
}

void td_manifest_add_file(td_buffer *text, const char *path)
{
    struct stat facts;
    if (stat(path, &facts) == 0)
        td_buffer_format(text, "%s %lld %lld.%09ld\n", path, (long long)facts.st_size, (long long)facts.st_mtim.tv_sec,
                         facts.st_mtim.tv_nsec);
}

static void add_files(td_buffer *text, const char *what, const td_string_list *files)
{
    td_buffer_format(text, "%s\n", what);
    for (size_t i = 0; i < files->count; i++)
        td_manifest_add_file(text, files->items[i]);
}

/* By its bytes: a vocabulary copied with its corpus to another directory is the same. */
static void add_content(td_buffer *text, const char *name, const char *path)
{
    td_buffer bytes = TD_BUFFER_INIT;
    if (td_file_exists(path) && td_file_read(path, 0, &bytes, NULL) == TD_OK) {
        td_buffer_format(text, "%s %zu %016" PRIx64 "\n", name, bytes.length, td_hash_bytes(bytes.data, bytes.length));
    }
    td_buffer_free(&bytes);
}

/* The files a tokenizer may consist of. */
static void add_vocabulary(td_buffer *text, const char *model_directory)
{
    static const char *const names[] = {"vocab.json",
                                        "source.spm",
                                        "target.spm",
                                        "spiece.model",
                                        "sentencepiece.bpe.model",
                                        "merges.txt",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json"};
    td_buffer path = TD_BUFFER_INIT;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        td_buffer_clear(&path);
        td_buffer_format(&path, "%s/%s", model_directory, names[i]);
        if (td_buffer_ok(&path))
            add_content(text, names[i], path.data);
        else
            text->failed = true;
    }
    td_buffer_free(&path);
}

/* All that a corpus follows from, as text. */
static void describe(const td_corpus_options *options, const char *model_directory, td_buffer *text)
{
    td_buffer_format(text, "version %d\nlimits %zu %zu %.17g\ncut %d\ncopy %d\ntext %d\nkeys %s %s\nlanguages", VERSION,
                     options->max_source_length, options->max_target_length, options->max_length_ratio, options->cut_sources, options->copy,
                     options->keep_text, options->source_key, options->target_key);
    for (size_t i = 0; options->languages && i < options->languages->count; i++)
        td_buffer_format(text, " %s", options->languages->items[i]);
    if (options->source_language && *options->source_language)
        td_buffer_format(text, "\nsource language %s", options->source_language);
    if (options->target_language && *options->target_language)
        td_buffer_format(text, "\ntarget language %s", options->target_language);
    td_buffer_text_append(text, "\n");
    add_files(text, "source", &options->files->source);
    add_files(text, "target", &options->files->target);
    if (options->features)
        td_buffer_format(text, "folder %s\nfeatures %zu %s\n", options->folder, options->features->width, options->features->signature);
    for (size_t i = 0; i < options->speed_count; i++)
        td_buffer_format(text, "speed %.17g\n", options->speeds[i]);
    td_buffer_text_append(text, "vocabulary\n");
    add_vocabulary(text, model_directory);
}

bool td_manifest_exists(const char *directory, const char *name)
{
    char *path = manifest_path(directory, name);
    bool found = path && td_file_exists(path);
    td_release(path);
    return found;
}

td_status td_manifest_remove(const char *directory, const char *name, td_error *error)
{
    char *path = manifest_path(directory, name);
    if (!path)
        return td_fail_memory(error, strlen(directory));
    unlink(path);
    td_release(path);
    return TD_OK;
}

td_status td_manifest_save(const td_corpus_options *options, const char *model_directory, const char *directory, const char *name,
                           const td_corpus *corpus, const td_corpus_report *report, td_error *error)
{
    td_buffer made_from = TD_BUFFER_INIT;
    describe(options, model_directory, &made_from);
    char *path = manifest_path(directory, name);
    json_t *object =
        path && td_buffer_ok(&made_from)
            ? json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "made_from", td_buffer_text(&made_from), "records",
                        (json_int_t)corpus->records.size, "index", (json_int_t)corpus->index.size, "read", (json_int_t)report->read, "kept",
                        (json_int_t)report->kept, "empty", (json_int_t)report->empty, "too_long", (json_int_t)report->too_long, "bad_ratio",
                        (json_int_t)report->bad_ratio, "cut", (json_int_t)report->cut)
            : NULL;
    td_status status = object ? td_json_save_file(path, object, error) : td_fail_memory(error, made_from.length);
    json_decref(object);
    td_release(path);
    td_buffer_free(&made_from);
    return status;
}

static td_status read_count(const json_t *object, const char *path, const char *key, uint64_t *ret_count, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(object, path, key, -1, &value, error));
    *ret_count = (uint64_t)value;
    return TD_OK;
}

static td_status open_described(const json_t *object, const char *path, const char *directory, const char *name, size_t feature_width,
                                td_corpus *ret_corpus, td_corpus_report *ret_report, bool *ret_found, td_error *error)
{
    td_corpus_report report;
    uint64_t records, index;
    TD_TRY(read_count(object, path, "records", &records, error));
    TD_TRY(read_count(object, path, "index", &index, error));
    TD_TRY(read_count(object, path, "read", &report.read, error));
    TD_TRY(read_count(object, path, "kept", &report.kept, error));
    TD_TRY(read_count(object, path, "empty", &report.empty, error));
    TD_TRY(read_count(object, path, "too_long", &report.too_long, error));
    TD_TRY(read_count(object, path, "bad_ratio", &report.bad_ratio, error));
    TD_TRY(read_count(object, path, "cut", &report.cut, error));
    td_corpus corpus;
    td_status status = td_corpus_open(directory, name, feature_width, &corpus, error);
    if (status == TD_ERROR_IO)
        return TD_OK; /* to be built */
    TD_TRY(status);
    if (corpus.records.size != records || corpus.index.size != index) {
        td_corpus_close(&corpus);
        return TD_OK;
    }
    *ret_corpus = corpus;
    *ret_report = report;
    *ret_found = true;
    return TD_OK;
}

td_status td_manifest_open(const td_corpus_options *options, const char *model_directory, const char *directory, const char *name,
                           td_corpus *ret_corpus, td_corpus_report *ret_report, bool *ret_found, td_error *error)
{
    td_buffer made_from = TD_BUFFER_INIT;
    describe(options, model_directory, &made_from);
    char *path = manifest_path(directory, name);
    json_t *object = NULL;
    bool known = path && td_buffer_ok(&made_from);
    td_status status = known ? TD_OK : td_fail_memory(error, made_from.length);
    *ret_found = false;
    if (status == TD_OK && td_file_exists(path))
        status = td_json_load_file(path, &object, error);
    const char *before = json_string_value(json_object_get(object, "made_from"));
    if (status == TD_OK && before && strcmp(before, td_buffer_text(&made_from)) == 0)
        status = open_described(object, path, directory, name, options->features ? options->features->width : 0, ret_corpus, ret_report,
                                ret_found, error);
    if (status == TD_ERROR_FORMAT)
        status = TD_OK; /* not ours, or damaged: built anew */
    json_decref(object);
    td_release(path);
    td_buffer_free(&made_from);
    return status;
}
