#include "training/corpus.h"

#include "training/copy_labels.h"
#include "training/pairs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A record: source ids or features, target ids, source text, target text; what is where stands in the index. Pairs of one sound or
 * picture, given one after the other, share its features. */
typedef struct index_entry {
    uint64_t source_offset, target_offset; /* in bytes; the texts follow the target */
    uint32_t source_length, target_length, source_bytes, target_bytes;
} index_entry;

enum { CHUNK = 64,       /* sounds or pictures read at once */
       TEXT_REPORT = 65536 /* pairs of text between reports of progress */ };

typedef struct waiting_source {
    char *name, *path;
    td_features features[TD_CORPUS_MAX_SPEEDS]; /* at each speed */
    td_error error[TD_CORPUS_MAX_SPEEDS];
} waiting_source;

typedef struct waiting_target {
    size_t source; /* of the chunk */
    char *text;
    size_t bytes, corpus;
    char *place; /* file and line, for messages */
} waiting_target;

/* Pairs read ahead, so that threads can make their features together. */
typedef struct source_chunk {
    waiting_source sources[CHUNK];
    size_t source_count;
    waiting_target *targets;
    size_t target_count, target_capacity;
} source_chunk;

typedef struct corpus_builder {
    const td_corpus_options *options;
    const td_tokenizer *tokenizer;
    td_output_file records, index;
    td_ids source, target;
    td_local_pieces local;
    td_buffer prefixed; /* source text with its language token */
    uint64_t offset;
    td_corpus *corpus;
    td_corpus_report report;
    uint64_t files; /* sounds or pictures read */
    source_chunk *chunk;
} corpus_builder;

static bool write_padded(corpus_builder *builder, const void *bytes, size_t length)
{
    static const char zeros[4];
    size_t padding = -length & 3;
    builder->offset += length + padding;
    return fwrite(bytes, 1, length, builder->records.stream) == length &&
           fwrite(zeros, 1, padding, builder->records.stream) == padding;
}

static td_status fail_write(const corpus_builder *builder, td_error *error)
{
    return td_fail(error, TD_ERROR_IO, "%s: cannot write: %s", builder->records.path, strerror(errno));
}

/* The source was written at `source_offset`. */
static td_status write_target(corpus_builder *builder, uint64_t source_offset, size_t source_length, const td_text_pair *pair, td_error *error)
{
    bool keep = builder->options->keep_text;
    index_entry entry = {source_offset, builder->offset, (uint32_t)source_length, (uint32_t)builder->target.length,
                         keep ? (uint32_t)pair->source_bytes : 0, keep ? (uint32_t)pair->target_bytes : 0};
    bool written = write_padded(builder, builder->target.data, builder->target.length * sizeof(int32_t)) &&
                   write_padded(builder, pair->source, entry.source_bytes) && write_padded(builder, pair->target, entry.target_bytes) &&
                   fwrite(&entry, sizeof entry, 1, builder->index.stream) == 1;
    if (!written)
        return fail_write(builder, error);
    builder->report.kept++;
    builder->corpus->source_tokens += source_length;
    builder->corpus->target_tokens += builder->target.length;
    return TD_OK;
}

static td_status write_pair(corpus_builder *builder, const td_text_pair *pair, const char *source_text, size_t source_bytes, td_error *error)
{
    td_text_pair written = *pair;
    written.source = source_text;
    written.source_bytes = source_bytes;
    uint64_t offset = builder->offset;
    if (!write_padded(builder, builder->source.data, builder->source.length * sizeof(int32_t)))
        return fail_write(builder, error);
    return write_target(builder, offset, builder->source.length, &written, error);
}

/* NULL when the pair is good, else the counter of what is wrong with it. */
static uint64_t *fault_of(corpus_builder *builder, size_t source)
{
    const td_corpus_options *options = builder->options;
    size_t target = builder->target.length;
    if (source > options->max_source_length || target > options->max_target_length)
        return &builder->report.too_long;
    if (options->features)
        return NULL;
    double ratio = source > target ? (double)source / (double)target : (double)target / (double)source;
    if (options->max_length_ratio > 0 && ratio > options->max_length_ratio)
        return &builder->report.bad_ratio;
    return NULL;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t", text[i]))
            return false;
    return true;
}

static td_status encode_pair(corpus_builder *builder, const char *text, size_t length, const td_text_pair *pair, size_t *ret_cut, td_error *error)
{
    const td_corpus_options *options = builder->options;
    size_t limit = options->cut_sources ? options->max_source_length : 0;
    if (options->copy)
        return td_copy_encode_pair(builder->tokenizer, text, length, pair->target, pair->target_bytes, 0, NULL, &builder->local, limit,
                                   &builder->source, &builder->target, ret_cut, error);
    TD_TRY(td_tokenizer_encode(builder->tokenizer, TD_SOURCE, text, length, &builder->source, error));
    TD_TRY(td_tokenizer_encode(builder->tokenizer, TD_TARGET, pair->target, pair->target_bytes, &builder->target, error));
    *ret_cut = td_cut_source(&builder->source, limit);
    return TD_OK;
}

static td_status add_pair(corpus_builder *builder, const td_text_pair *pair, td_error *error)
{
    builder->report.read++;
    if (is_blank(pair->source, pair->source_bytes) || is_blank(pair->target, pair->target_bytes)) {
        builder->report.empty++;
        return TD_OK;
    }
    const char *text = pair->source;
    size_t length = pair->source_bytes;
    if (builder->options->languages && builder->options->languages->count) {
        td_buffer_clear(&builder->prefixed);
        td_buffer_format(&builder->prefixed, ">>%s<< ", builder->options->languages->items[pair->corpus]);
        td_buffer_append(&builder->prefixed, pair->source, pair->source_bytes);
        if (!td_buffer_ok(&builder->prefixed))
            return td_fail_memory(error, length);
        text = builder->prefixed.data;
        length = builder->prefixed.length;
    }
    td_ids_clear(&builder->source);
    td_ids_clear(&builder->target);
    size_t cut = 0;
    TD_TRY(encode_pair(builder, text, length, pair, &cut, error));
    uint64_t *fault = fault_of(builder, builder->source.length);
    if (fault) {
        ++*fault;
        return TD_OK;
    }
    builder->report.cut += cut > 0;
    return write_pair(builder, pair, text, length, error);
}

/* ---- sounds and pictures ---- */

static void empty_chunk(source_chunk *chunk)
{
    for (size_t i = 0; i < chunk->source_count; i++) {
        td_release(chunk->sources[i].name);
        td_release(chunk->sources[i].path);
        for (size_t k = 0; k < TD_CORPUS_MAX_SPEEDS; k++)
            td_features_free(&chunk->sources[i].features[k]);
    }
    for (size_t i = 0; i < chunk->target_count; i++) {
        td_release(chunk->targets[i].text);
        td_release(chunk->targets[i].place);
    }
    chunk->source_count = chunk->target_count = 0;
}

static size_t count_speeds(const td_corpus_options *options) { return options->speed_count ? options->speed_count : 1; }

static void read_source(void *context, size_t index, size_t thread)
{
    corpus_builder *builder = context;
    const td_corpus_options *options = builder->options;
    size_t speeds = count_speeds(options), k = index % speeds;
    waiting_source *source = &builder->chunk->sources[index / speeds];
    const td_feature_reader *reader = options->features;
    td_features *features = &source->features[k];
    double speed = options->speed_count ? options->speeds[k] : 1;
    if (td_corpus_stopped(&options->watch))
        return; /* said when the next pair is asked for */
    if (reader->read(reader->context, source->path, speed, thread, features, &source->error[k]) == TD_OK && features->width != reader->width)
        td_fail(&source->error[k], TD_ERROR_FORMAT, "%s: %zu features a row, where %zu are wanted", source->path, features->width,
                reader->width);
}

/* One pair at one speed. *offset: where the features were written before, or UNWRITTEN. */
#define UNWRITTEN UINT64_MAX
static td_status write_features(corpus_builder *builder, const td_features *features, const td_text_pair *pair, uint64_t *offset, td_error *error)
{
    builder->report.read++;
    uint64_t *fault = features->rows == 0 ? &builder->report.empty : fault_of(builder, features->rows);
    if (fault) {
        ++*fault;
        return TD_OK;
    }
    if (*offset == UNWRITTEN) {
        *offset = builder->offset;
        if (!write_padded(builder, features->data, features->rows * features->width * sizeof(float)))
            return fail_write(builder, error);
    }
    return write_target(builder, *offset, features->rows, pair, error);
}

static td_status write_waiting(corpus_builder *builder, const waiting_target *target, uint64_t *offsets, td_error *error)
{
    const waiting_source *source = &builder->chunk->sources[target->source];
    td_text_pair pair = {.source = source->name, .source_bytes = strlen(source->name), .target = target->text, .target_bytes = target->bytes};
    td_ids_clear(&builder->target);
    TD_TRY(td_tokenizer_encode(builder->tokenizer, TD_TARGET, pair.target, pair.target_bytes, &builder->target, error));
    for (size_t k = 0; k < count_speeds(builder->options); k++) {
        if (source->error[k].status != TD_OK)
            return td_fail(error, source->error[k].status, "%s: %s", target->place, source->error[k].message);
        TD_TRY(write_features(builder, &source->features[k], &pair, &offsets[target->source * TD_CORPUS_MAX_SPEEDS + k], error));
    }
    return TD_OK;
}

static td_status write_chunk(corpus_builder *builder, td_error *error)
{
    source_chunk *chunk = builder->chunk;
    const td_corpus_watch *watch = &builder->options->watch;
    uint64_t offsets[CHUNK * TD_CORPUS_MAX_SPEEDS];
    memset(offsets, 0xff, sizeof offsets);
    td_pool_run(builder->options->features->pool, chunk->source_count * count_speeds(builder->options), read_source, builder);
    td_status status = td_corpus_stopped(watch) ? td_pairs_stop(error) : TD_OK;
    for (size_t i = 0; status == TD_OK && i < chunk->target_count; i++)
        status = write_waiting(builder, &chunk->targets[i], offsets, error);
    builder->files += chunk->source_count;
    if (status == TD_OK && watch->progress)
        watch->progress(watch->context, builder->files);
    empty_chunk(chunk);
    return status;
}

static td_status wait_for_source(corpus_builder *builder, const td_text_pair *pair, td_error *error)
{
    source_chunk *chunk = builder->chunk;
    char *name = td_copy_bytes(pair->source, pair->source_bytes);
    if (!name)
        return td_fail_memory(error, pair->source_bytes);
    if (chunk->source_count && strcmp(chunk->sources[chunk->source_count - 1].name, name) == 0) {
        td_release(name);
        return TD_OK;
    }
    if (chunk->source_count == CHUNK) {
        td_status status = write_chunk(builder, error);
        if (status != TD_OK) {
            td_release(name);
            return status;
        }
    }
    td_text_pair named = *pair;
    named.source = name;
    waiting_source *source = &chunk->sources[chunk->source_count++];
    *source = (waiting_source){.name = name, .path = td_source_path(builder->options, &named)};
    return source->path ? TD_OK : td_fail_memory(error, pair->source_bytes);
}

static td_status wait_for_pair(corpus_builder *builder, const td_pairs *pairs, const td_text_pair *pair, td_error *error)
{
    source_chunk *chunk = builder->chunk;
    if (is_blank(pair->source, pair->source_bytes) || is_blank(pair->target, pair->target_bytes)) {
        builder->report.read++;
        builder->report.empty++;
        return TD_OK;
    }
    TD_TRY(wait_for_source(builder, pair, error));
    if (chunk->target_count == chunk->target_capacity) {
        size_t capacity = chunk->target_capacity * 2 + CHUNK;
        waiting_target *targets = td_resize_array(chunk->targets, capacity, sizeof *targets);
        if (!targets)
            return td_fail_memory(error, capacity * sizeof *targets);
        chunk->targets = targets;
        chunk->target_capacity = capacity;
    }
    td_error place = {0};
    td_pairs_where(pairs, &place);
    waiting_target *target = &chunk->targets[chunk->target_count++];
    *target = (waiting_target){chunk->source_count - 1, td_copy_bytes(pair->target, pair->target_bytes), pair->target_bytes, pair->corpus,
                               td_copy_string(place.message)};
    return target->text && target->place ? TD_OK : td_fail_memory(error, pair->target_bytes);
}

static td_status add_sources(corpus_builder *builder, td_pairs *pairs, td_error *error)
{
    td_text_pair pair;
    td_status status;
    builder->chunk = td_allocate_array(1, sizeof *builder->chunk);
    if (!builder->chunk)
        return td_fail_memory(error, sizeof *builder->chunk);
    while ((status = td_pairs_next(pairs, &pair, error)) == TD_OK && pair.source) {
        status = wait_for_pair(builder, pairs, &pair, error);
        if (status != TD_OK)
            break;
    }
    if (status == TD_OK)
        status = write_chunk(builder, error);
    empty_chunk(builder->chunk);
    td_release(builder->chunk->targets);
    td_release(builder->chunk);
    return status;
}

static td_status add_texts(corpus_builder *builder, td_pairs *pairs, td_error *error)
{
    td_text_pair pair;
    td_status status;
    const td_corpus_watch *watch = &builder->options->watch;
    while ((status = td_pairs_next(pairs, &pair, error)) == TD_OK && pair.source) {
        status = add_pair(builder, &pair, error);
        if (status != TD_OK) {
            td_pairs_where(pairs, error);
            break;
        }
        if (watch->progress && builder->report.read % TEXT_REPORT == 0)
            watch->progress(watch->context, builder->report.read);
    }
    return status;
}

static td_status add_all(corpus_builder *builder, td_error *error)
{
    td_pairs *pairs;
    TD_TRY(td_pairs_open(builder->options, &pairs, error));
    td_status status = (builder->options->features ? add_sources : add_texts)(builder, pairs, error);
    td_pairs_close(pairs);
    return status;
}

static char *file_path(const char *directory, const char *name, const char *suffix)
{
    td_buffer file = TD_BUFFER_INIT;
    td_buffer_format(&file, "%s.%s", name, suffix);
    char *path = td_buffer_ok(&file) ? td_path_join(directory, file.data) : NULL;
    td_buffer_free(&file);
    return path;
}

static td_status build_files(corpus_builder *builder, const char *records, const char *index, td_error *error)
{
    TD_TRY(td_output_open(records, &builder->records, error));
    td_status status = td_output_open(index, &builder->index, error);
    if (status == TD_OK)
        status = add_all(builder, error);
    if (status == TD_OK)
        status = td_output_commit(&builder->records, error);
    if (status == TD_OK)
        status = td_output_commit(&builder->index, error);
    td_output_discard(&builder->records);
    td_output_discard(&builder->index);
    return status;
}

static td_status map_files(td_corpus *corpus, const char *records, const char *index, td_error *error)
{
    TD_TRY(td_file_map(records, &corpus->records, error));
    td_status status = td_file_map(index, &corpus->index, error);
    if (status != TD_OK)
        td_corpus_close(corpus);
    else
        corpus->count = corpus->index.size / sizeof(index_entry);
    return status;
}

td_status td_corpus_open(const char *directory, const char *name, size_t feature_width, td_corpus *ret_corpus, td_error *error)
{
    td_corpus corpus = {.feature_width = feature_width};
    char *records = file_path(directory, name, "records"), *index = file_path(directory, name, "index");
    td_status status = records && index ? map_files(&corpus, records, index, error) : td_fail_memory(error, 0);
    td_release(records);
    td_release(index);
    TD_TRY(status);
    for (size_t i = 0; i < corpus.count; i++) {
        size_t source, target;
        td_corpus_lengths(&corpus, i, &source, &target);
        corpus.source_tokens += source;
        corpus.target_tokens += target;
    }
    *ret_corpus = corpus;
    return TD_OK;
}

td_status td_corpus_build(const td_corpus_options *options, const td_tokenizer *tokenizer, const char *directory, const char *name,
                          td_corpus *ret_corpus, td_corpus_report *ret_report, td_error *error)
{
    td_corpus corpus = {.feature_width = options->features ? options->features->width : 0}; /* counts the tokens */
    corpus_builder builder = {.options = options, .tokenizer = tokenizer, .corpus = &corpus};
    char *records = file_path(directory, name, "records"), *index = file_path(directory, name, "index");
    td_status status = records && index ? TD_OK : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = build_files(&builder, records, index, error);
    if (status == TD_OK)
        status = map_files(&corpus, records, index, error);
    td_release(records);
    td_release(index);
    td_ids_free(&builder.source);
    td_ids_free(&builder.target);
    td_buffer_free(&builder.prefixed);
    td_local_pieces_free(&builder.local);
    if (status == TD_OK) {
        *ret_corpus = corpus;
        *ret_report = builder.report;
    }
    return status;
}

void td_corpus_close(td_corpus *corpus)
{
    td_file_unmap(&corpus->records);
    td_file_unmap(&corpus->index);
    *corpus = (td_corpus){0};
}

void td_corpus_lengths(const td_corpus *corpus, size_t index, size_t *ret_source, size_t *ret_target)
{
    const index_entry *entry = (const index_entry *)(const void *)corpus->index.data + index;
    *ret_source = entry->source_length;
    *ret_target = entry->target_length;
}

static size_t padded(size_t bytes)
{
    return (bytes + 3) & ~(size_t)3;
}

td_pair td_corpus_get(const td_corpus *corpus, size_t index)
{
    const index_entry *entry = (const index_entry *)(const void *)corpus->index.data + index;
    const void *source = corpus->records.data + entry->source_offset, *target = corpus->records.data + entry->target_offset;
    td_pair pair = {.source_length = entry->source_length, .target_length = entry->target_length,
                    .source_bytes = entry->source_bytes, .target_bytes = entry->target_bytes, .source_offset = entry->source_offset};
    if (corpus->feature_width)
        pair.features = source;
    else
        pair.source = source;
    pair.target = target;
    pair.source_text = (const char *)(pair.target + pair.target_length);
    pair.target_text = pair.source_text + padded(pair.source_bytes);
    return pair;
}
