/* Around training: vocabularies from text, and one model out of several checkpoints. */
#ifndef TANDEM_TOOLS_H
#define TANDEM_TOOLS_H

#include <stdbool.h>
#include <tandem/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_vocabulary_request {
    size_t struct_size;
    const char *kind;             /* "unigram" (Kudo 2018), "bpe" (Sennrich 2016), "char", "word" */
    size_t size;                  /* tokens in all if shared, else of each side; special ones included */
    bool shared;                  /* one vocabulary model for both sides */
    bool byte_fallback;           /* unknown characters become bytes */
    double character_coverage;    /* share of the text's characters that get a token, above 0, at most 1 */
    const char *normalization;    /* "nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity" */
    const char *const *languages; /* target languages that get a token ">>xx<<" */
    size_t language_count;
} td_vocabulary_request;
#define TD_VOCABULARY_REQUEST_INIT                                                                                                         \
    {                                                                                                                                      \
        sizeof(td_vocabulary_request), "unigram", 8000, true, false, 1.0, "nmt_nfkc", NULL, 0                                              \
    }

/* Learns from text files (a sentence a line; .gz too) and writes source.spm, target.spm, vocab.json and the tokenizer's
 * settings into `directory`, as Marian models have them. The same text gives the same bytes. request may be NULL. */
TD_API td_status td_vocabulary_train(const td_vocabulary_request *request, const char *const *sources, size_t source_count,
                                     const char *const *targets, size_t target_count, const char *directory, td_error *error);

/* Writes the mean of the weights of model directories (or checkpoints of one run) into `output`, which is created, with
 * the configuration and tokenizer of the first directory that has them. All must hold the same tensors of the same
 * shapes. */
TD_API td_status td_average_models(const char *const *directories, size_t count, const char *output, td_error *error);

/* Writes the model in `directory` to `output` with its weights stored as "float32", "float16" or "bfloat16" (rounded to nearest even), or
 * with those of linear layers and embeddings as "int8" (see docs/formats.md); everything else is copied. */
TD_API td_status td_convert_model(const char *directory, const char *precision, const char *output, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
