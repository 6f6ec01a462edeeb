/* Scores of generated text against references: BLEU, chrF, ROUGE, word and character error rates, CIDEr, exact match.
 *
 * Each equals its reference implementation (named at each function), so that figures may stand beside published ones.
 * All texts are UTF-8, one string a segment; references[r][i] is segment i of the r-th set of references. Scores are in
 * percent. Options may be NULL for the defaults. On failure nothing is written to the result. */
#ifndef TANDEM_METRICS_H
#define TANDEM_METRICS_H

#include <tandem/base.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- BLEU (Papineni et al. 2002) as sacreBLEU's corpus_bleu ---- */

/* The version of sacreBLEU that BLEU and chrF are held to, and that signatures name. */
#define TD_SACREBLEU_VERSION "2.6.0"

typedef enum td_metric_tokenizer {
    TD_TOKENIZER_13A,  /* mteval-v13a: punctuation of western languages, entities resolved */
    TD_TOKENIZER_NONE, /* white space only, for text that is tokenised already */
    TD_TOKENIZER_CHAR, /* every character a token */
    TD_TOKENIZER_INTL  /* mteval-v14: Unicode punctuation and symbols */
} td_metric_tokenizer;

typedef enum td_bleu_smoothing {
    TD_SMOOTHING_EXP, /* NIST: the k-th precision without a match counts 1 / 2^k */
    TD_SMOOTHING_NONE,
    TD_SMOOTHING_FLOOR, /* a precision without a match counts smoothing_value (0.1) matches */
    TD_SMOOTHING_ADD_K  /* smoothing_value (1) is added to matches and totals from bigrams on */
} td_bleu_smoothing;

typedef struct td_bleu_options {
    size_t struct_size;
    td_metric_tokenizer tokenizer;
    td_bleu_smoothing smoothing;
    double smoothing_value; /* below 0: the default of the smoothing */
    bool lowercase;
    bool effective_order; /* leave out orders longer than the hypotheses: for single sentences */
} td_bleu_options;
#define TD_BLEU_OPTIONS_INIT                                                                                                               \
    {                                                                                                                                      \
        sizeof(td_bleu_options), TD_TOKENIZER_13A, TD_SMOOTHING_EXP, -1.0, false, false                                                    \
    }

typedef struct td_bleu_result {
    double score;
    double precisions[4];
    double brevity_penalty;                       /* 0 to 1 */
    uint64_t hypothesis_length, reference_length; /* tokens */
    uint64_t correct[4], total[4];                /* n-grams */
    double cumulative[4];                         /* BLEU-1 to BLEU-4 as caption papers report them (pycocoevalcap): unsmoothed */
} td_bleu_result;

TD_API td_status td_bleu(const td_bleu_options *options, const char *const *hypotheses, const char *const *const *references,
                         size_t reference_count, size_t count, td_bleu_result *ret_result, td_error *error);

/* What a signature is written into: "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0". */
typedef struct td_signature {
    char text[160];
} td_signature;

/* bootstrap_samples > 0 adds sacreBLEU's "bs:N|seed:S". */
TD_API td_signature td_bleu_signature(const td_bleu_options *options, size_t reference_count, size_t bootstrap_samples, uint64_t seed);

/* ---- chrF (Popovic 2015) and chrF++ (Popovic 2017) as sacreBLEU's corpus_chrf ---- */

typedef struct td_chrf_options {
    size_t struct_size;
    size_t character_order; /* 1 to 16 */
    size_t word_order;      /* 0 for chrF, 2 for chrF++; at most 8 */
    double beta;            /* weight of recall */
    bool lowercase;
    bool whitespace;    /* count white space among the characters */
    bool eps_smoothing; /* average F over all orders, as the authors' own script; else over those both sides have */
} td_chrf_options;
#define TD_CHRF_OPTIONS_INIT                                                                                                               \
    {                                                                                                                                      \
        sizeof(td_chrf_options), 6, 0, 2.0, false, false, false                                                                            \
    }

TD_API td_status td_chrf(const td_chrf_options *options, const char *const *hypotheses, const char *const *const *references,
                         size_t reference_count, size_t count, double *ret_score, td_error *error);
TD_API td_signature td_chrf_signature(const td_chrf_options *options, size_t reference_count, size_t bootstrap_samples, uint64_t seed);

/* ---- How sure a score is: bootstrap resampling of segments (Koehn 2004) as sacreBLEU's ---- */

typedef struct td_bootstrap_options {
    size_t struct_size;
    size_t samples; /* 1000 */
    uint64_t seed;  /* 12345; draws the very resamples that sacreBLEU draws (NumPy's PCG64) */
} td_bootstrap_options;
#define TD_BOOTSTRAP_OPTIONS_INIT                                                                                                          \
    {                                                                                                                                      \
        sizeof(td_bootstrap_options), 1000, 12345                                                                                          \
    }

typedef struct td_bootstrap_result {
    double score, mean, interval;                   /* 95 % of resamples lie within about mean +- interval */
    double other_score, other_mean, other_interval; /* of `other`; 0 without */
    double p_value;                                 /* two-sided, of the difference between both; 1 without `other` */
} td_bootstrap_result;

/* `other`: a second system's hypotheses, compared on the same resamples, or NULL. */
TD_API td_status td_bleu_bootstrap(const td_bleu_options *options, const td_bootstrap_options *bootstrap, const char *const *hypotheses,
                                   const char *const *other, const char *const *const *references, size_t reference_count, size_t count,
                                   td_bootstrap_result *ret_result, td_error *error);
TD_API td_status td_chrf_bootstrap(const td_chrf_options *options, const td_bootstrap_options *bootstrap, const char *const *hypotheses,
                                   const char *const *other, const char *const *const *references, size_t reference_count, size_t count,
                                   td_bootstrap_result *ret_result, td_error *error);

/* ---- ROUGE (Lin 2004) as the rouge-score package ---- */

typedef struct td_rouge_options {
    size_t struct_size;
    bool stem; /* Porter's stemmer, with NLTK's extensions */
} td_rouge_options;
#define TD_ROUGE_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        sizeof(td_rouge_options), false                                                                                                    \
    }

typedef struct td_rouge_score {
    double precision, recall, f;
} td_rouge_score;

typedef struct td_rouge_result {
    td_rouge_score rouge1, rouge2, rougeL;
    td_rouge_score rougeLsum; /* sentences of a text parted by '\n' */
} td_rouge_result;

/* Means over segments; of several references the one with the best F counts, for each kind on its own. */
TD_API td_status td_rouge(const td_rouge_options *options, const char *const *hypotheses, const char *const *const *references,
                          size_t reference_count, size_t count, td_rouge_result *ret_result, td_error *error);

/* ---- Word and character error rates as jiwer's defaults ---- */

typedef struct td_error_rate_options {
    size_t struct_size;
    bool characters; /* CER; else WER */
    bool lowercase;
} td_error_rate_options;
#define TD_ERROR_RATE_OPTIONS_INIT                                                                                                         \
    {                                                                                                                                      \
        sizeof(td_error_rate_options), false, false                                                                                        \
    }

typedef struct td_error_rate_result {
    double score; /* may pass 100 */
    uint64_t substitutions, deletions, insertions, hits;
    uint64_t wrong_segments; /* with any error */
} td_error_rate_result;

/* One reference a segment. With empty references only, the score is 100 times the insertions, as jiwer's. Of several
 * alignments of equal cost the counts are of the one jiwer chooses (up to about 2,000 x 2,000 units a segment). */
TD_API td_status td_error_rate(const td_error_rate_options *options, const char *const *hypotheses, const char *const *references,
                               size_t count, td_error_rate_result *ret_result, td_error *error);

/* The alignment behind the counts, unit after unit. reference is NULL for an insertion, hypothesis for a deletion; both are as they were
 * compared (lowercase where asked for) and only valid during the call. */
typedef enum td_edit { TD_EDIT_HIT, TD_EDIT_SUBSTITUTION, TD_EDIT_DELETION, TD_EDIT_INSERTION } td_edit;
typedef void (*td_edit_callback)(void *context, td_edit edit, const char *reference, const char *hypothesis);
TD_API td_status td_error_alignment(const td_error_rate_options *options, const char *hypothesis, const char *reference,
                                    td_edit_callback callback, void *context, td_error *error);

/* ---- CIDEr-D (Vedantam et al. 2015) as pycocoevalcap ---- */

typedef struct td_cider_options {
    size_t struct_size;
    td_metric_tokenizer tokenizer; /* NONE: pycocoevalcap's figures, given text tokenised as it does */
    bool lowercase;
} td_cider_options;
#define TD_CIDER_OPTIONS_INIT                                                                                                              \
    {                                                                                                                                      \
        sizeof(td_cider_options), TD_TOKENIZER_NONE, false                                                                                 \
    }

/* Document frequencies are counted in the references. 100 times pycocoevalcap's figure, as papers print it. */
TD_API td_status td_cider(const td_cider_options *options, const char *const *hypotheses, const char *const *const *references,
                          size_t reference_count, size_t count, double *ret_score, td_error *error);

/* ---- Exact match ---- */

/* Share of hypotheses equal to any of their references. */
TD_API td_status td_exact_match(bool lowercase, const char *const *hypotheses, const char *const *const *references, size_t reference_count,
                                size_t count, double *ret_score, td_error *error);

#ifdef __cplusplus
}
#endif
#endif
