/* Pairs of sounds or pictures and text: a number of them is read ahead, threads make their features, and all is written in order. */
#include "training/corpus_builder.h"

#include "base/array.h"

#include <string.h>

enum { CHUNK = 64 }; /* sounds or pictures read at once */

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
struct td_source_chunk {
    waiting_source sources[CHUNK];
    size_t source_count;
    waiting_target *targets;
    size_t target_count, target_capacity;
};

typedef struct td_source_chunk source_chunk;

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

static size_t count_speeds(const td_corpus_options *options)
{
    return options->speed_count ? options->speed_count : 1;
}

static void read_source(void *context, size_t index, size_t thread)
{
    td_corpus_builder *builder = context;
    const td_corpus_options *options = builder->options;
    size_t speeds = count_speeds(options), k = index % speeds;
    waiting_source *source = &builder->chunk->sources[index / speeds];
    const td_feature_reader *reader = options->features;
    td_features *features = &source->features[k];
    double speed = options->speed_count ? options->speeds[k] : 1;
    if (td_corpus_stopped(&options->watch))
        return; /* said when the next pair is asked for */
    if (reader->read(reader->context, source->path, speed, thread, features, &source->error[k]) == TD_OK &&
        features->width != reader->width)
        td_fail(&source->error[k], TD_ERROR_FORMAT, "%s: %zu features a row, where %zu are wanted", source->path, features->width,
                reader->width);
}

/* One pair at one speed. *offset: where the features were written before, or UNWRITTEN. */
#define UNWRITTEN UINT64_MAX
static td_status write_features(td_corpus_builder *builder, const td_features *features, const td_text_pair *pair, uint64_t *offset,
                                td_error *error)
{
    builder->report.read++;
    uint64_t *fault = features->rows == 0 ? &builder->report.empty : td_corpus_fault(builder, features->rows);
    if (fault) {
        ++*fault;
        return TD_OK;
    }
    if (*offset == UNWRITTEN) {
        *offset = builder->offset;
        if (!td_corpus_write_padded(builder, features->data, features->rows * features->width * sizeof(float)))
            return td_corpus_fail_write(builder, error);
    }
    return td_corpus_write_target(builder, *offset, features->rows, pair, error);
}

static td_status write_waiting(td_corpus_builder *builder, const waiting_target *target, uint64_t *offsets, td_error *error)
{
    const waiting_source *source = &builder->chunk->sources[target->source];
    td_text_pair pair = {
        .source = source->name, .source_bytes = strlen(source->name), .target = target->text, .target_bytes = target->bytes};
    td_ids_clear(&builder->target);
    TD_TRY(td_tokenizer_encode(builder->tokenizer, TD_TARGET, pair.target, pair.target_bytes, &builder->target, error));
    for (size_t k = 0; k < count_speeds(builder->options); k++) {
        if (source->error[k].status != TD_OK)
            return td_fail(error, source->error[k].status, "%s: %s", target->place, source->error[k].message);
        TD_TRY(write_features(builder, &source->features[k], &pair, &offsets[target->source * TD_CORPUS_MAX_SPEEDS + k], error));
    }
    return TD_OK;
}

static td_status write_chunk(td_corpus_builder *builder, td_error *error)
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

static td_status wait_for_source(td_corpus_builder *builder, const td_text_pair *pair, td_error *error)
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

static td_status wait_for_pair(td_corpus_builder *builder, const td_pairs *pairs, const td_text_pair *pair, td_error *error)
{
    source_chunk *chunk = builder->chunk;
    if (td_corpus_is_blank(pair->source, pair->source_bytes) || td_corpus_is_blank(pair->target, pair->target_bytes)) {
        builder->report.read++;
        builder->report.empty++;
        return TD_OK;
    }
    TD_TRY(wait_for_source(builder, pair, error));
    TD_TRY(td_reserve_array(&chunk->targets, &chunk->target_capacity, chunk->target_count + 1, sizeof *chunk->targets, error));
    td_error place = {0};
    td_pairs_where(pairs, &place);
    waiting_target *target = &chunk->targets[chunk->target_count++];
    *target = (waiting_target){chunk->source_count - 1, td_copy_bytes(pair->target, pair->target_bytes), pair->target_bytes, pair->corpus,
                               td_copy_string(place.message)};
    return target->text && target->place ? TD_OK : td_fail_memory(error, pair->target_bytes);
}

td_status td_corpus_add_sources(td_corpus_builder *builder, td_pairs *pairs, td_error *error)
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
