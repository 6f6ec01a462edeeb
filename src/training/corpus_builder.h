/* A corpus in the making: what pairs of text (corpus.c) and pairs of sounds or pictures (corpus_sources.c) share. */
#ifndef TD_TRAINING_CORPUS_BUILDER_H
#define TD_TRAINING_CORPUS_BUILDER_H

#include "training/corpus.h"
#include "training/pairs.h"

typedef struct td_corpus_builder {
    const td_corpus_options *options;
    const td_tokenizer *tokenizer;
    td_output_file records, index;
    td_ids source, target;
    td_local_pieces local;
    td_buffer prefixed; /* source text with its language token */
    uint64_t offset;
    td_corpus *corpus;
    td_corpus_report report;
    uint64_t files;                /* sounds or pictures read */
    struct td_source_chunk *chunk; /* of corpus_sources.c */
} td_corpus_builder;

bool td_corpus_write_padded(td_corpus_builder *builder, const void *bytes, size_t length);
td_status td_corpus_fail_write(const td_corpus_builder *builder, td_error *error);
/* Writes the target in `builder` and the index; the source was written at `source_offset`. */
td_status td_corpus_write_target(td_corpus_builder *builder, uint64_t source_offset, size_t source_length, const td_text_pair *pair,
                                 td_error *error);
/* NULL when the pair is good, else the counter of what is wrong with it. */
uint64_t *td_corpus_fault(td_corpus_builder *builder, size_t source);
bool td_corpus_is_blank(const char *text, size_t length);

/* Sounds and pictures: all pairs, whose sources are names of files. */
td_status td_corpus_add_sources(td_corpus_builder *builder, td_pairs *pairs, td_error *error);

#endif
