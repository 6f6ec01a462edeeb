#include "training/corpus.h"

#include "training/copy_labels.h"
#include "training/corpus_builder.h"
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

enum { TEXT_REPORT = 65536 }; /* pairs of text between reports of progress */

bool td_corpus_write_padded(td_corpus_builder *builder, const void *bytes, size_t length)
{
    static const char zeros[4];
    size_t padding = -length & 3;
    builder->offset += length + padding;
    return fwrite(bytes, 1, length, builder->records.stream) == length && fwrite(zeros, 1, padding, builder->records.stream) == padding;
}

td_status td_corpus_fail_write(const td_corpus_builder *builder, td_error *error)
{
    return td_fail(error, TD_ERROR_IO, "%s: cannot write: %s", builder->records.path, strerror(errno));
}

td_status td_corpus_write_target(td_corpus_builder *builder, uint64_t source_offset, size_t source_length, const td_text_pair *pair,
                                 td_error *error)
{
    bool keep = builder->options->keep_text;
    index_entry entry = {source_offset,
                         builder->offset,
                         (uint32_t)source_length,
                         (uint32_t)builder->target.length,
                         keep ? (uint32_t)pair->source_bytes : 0,
                         keep ? (uint32_t)pair->target_bytes : 0};
    bool written = td_corpus_write_padded(builder, builder->target.data, builder->target.length * sizeof(int32_t)) &&
                   td_corpus_write_padded(builder, pair->source, entry.source_bytes) &&
                   td_corpus_write_padded(builder, pair->target, entry.target_bytes) &&
                   fwrite(&entry, sizeof entry, 1, builder->index.stream) == 1;
    if (!written)
        return td_corpus_fail_write(builder, error);
    builder->report.kept++;
    builder->corpus->source_tokens += source_length;
    builder->corpus->target_tokens += builder->target.length;
    return TD_OK;
}

static td_status write_pair(td_corpus_builder *builder, const td_text_pair *pair, const char *source_text, size_t source_bytes,
                            td_error *error)
{
    td_text_pair written = *pair;
    written.source = source_text;
    written.source_bytes = source_bytes;
    uint64_t offset = builder->offset;
    if (!td_corpus_write_padded(builder, builder->source.data, builder->source.length * sizeof(int32_t)))
        return td_corpus_fail_write(builder, error);
    return td_corpus_write_target(builder, offset, builder->source.length, &written, error);
}

uint64_t *td_corpus_fault(td_corpus_builder *builder, size_t source)
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

bool td_corpus_is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t", text[i]))
            return false;
    return true;
}

static td_status encode_pair(td_corpus_builder *builder, const char *text, size_t length, const td_text_pair *pair, size_t *ret_cut,
                             td_error *error)
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

static td_status add_pair(td_corpus_builder *builder, const td_text_pair *pair, td_error *error)
{
    builder->report.read++;
    if (td_corpus_is_blank(pair->source, pair->source_bytes) || td_corpus_is_blank(pair->target, pair->target_bytes)) {
        builder->report.empty++;
        return TD_OK;
    }
    const char *text = pair->source;
    size_t length = pair->source_bytes;
    td_language_use use = td_tokenizer_language_use(builder->tokenizer);
    bool marked = use == TD_LANGUAGE_IN_SOURCE || use == TD_LANGUAGE_UNUSED;
    if (marked && builder->options->languages && builder->options->languages->count) {
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
    uint64_t *fault = td_corpus_fault(builder, builder->source.length);
    if (fault) {
        ++*fault;
        return TD_OK;
    }
    builder->report.cut += cut > 0;
    return write_pair(builder, pair, text, length, error);
}

static td_status add_texts(td_corpus_builder *builder, td_pairs *pairs, td_error *error)
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

static td_status add_all(td_corpus_builder *builder, td_error *error)
{
    td_pairs *pairs;
    TD_TRY(td_pairs_open(builder->options, &pairs, error));
    td_status status = (builder->options->features ? td_corpus_add_sources : add_texts)(builder, pairs, error);
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

static td_status build_files(td_corpus_builder *builder, const char *records, const char *index, td_error *error)
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
    td_corpus_builder builder = {.options = options, .tokenizer = tokenizer, .corpus = &corpus};
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

bool td_corpus_continues(const td_corpus *corpus, size_t index)
{
    return index > 0 && index < corpus->count && corpus->feature_width &&
           td_corpus_get(corpus, index).source_offset == td_corpus_get(corpus, index - 1).source_offset;
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
    td_pair pair = {.source_length = entry->source_length,
                    .target_length = entry->target_length,
                    .source_bytes = entry->source_bytes,
                    .target_bytes = entry->target_bytes,
                    .source_offset = entry->source_offset};
    if (corpus->feature_width)
        pair.features = source;
    else
        pair.source = source;
    pair.target = target;
    pair.source_text = (const char *)(pair.target + pair.target_length);
    pair.target_text = pair.source_text + padded(pair.source_bytes);
    return pair;
}
