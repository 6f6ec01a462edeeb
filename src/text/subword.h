/* The "model" of a tokenizer.json: cuts a word into tokens of its vocabulary. */
#ifndef TD_TEXT_SUBWORD_H
#define TD_TEXT_SUBWORD_H

#include "base/buffer.h"
#include "base/random.h"
#include "text/ids.h"
#include "text/vocabulary.h"

#include <jansson.h>

typedef struct td_subword td_subword;

typedef struct td_subword_kind {
    const char *type;
    td_status (*read)(td_subword *model, const json_t *object, const char *file, td_error *error);
    /* Appends the ids of a word. dropout (0 to 1): the share of merges left out, drawn from `random`; kinds without merges ignore it. */
    td_status (*encode)(const td_subword *model, const char *word, size_t length, double dropout, td_random *random, td_ids *ids,
                        td_error *error);
} td_subword_kind;

typedef struct td_merge_slot {
    int32_t left, right, made, rank; /* rank -1: free */
} td_merge_slot;

struct td_subword {
    const td_subword_kind *kind;
    td_vocabulary vocabulary;
    int32_t unknown; /* -1: none */
    bool byte_fallback;
    int32_t bytes[256];    /* ids of "<0x00>" .., -1 where there is none */
    char *prefix, *suffix; /* what pieces inside a word begin with, its last one ends with; "" for none */
    size_t longest;        /* bytes of the longest piece */
    /* bpe */
    bool fuse_unknown, ignore_merges;
    td_merge_slot *merges; /* hash table */
    size_t merge_slots;
    /* unigram */
    double *scores; /* [vocabulary.size] */
    double unknown_score;
    /* word pieces */
    size_t most_characters;
};

td_status td_subword_read(const json_t *object, const char *file, td_subword *ret_model, td_error *error);
td_status td_subword_encode(const td_subword *model, const char *word, size_t length, double dropout, td_random *random, td_ids *ids,
                            td_error *error);
void td_subword_free(td_subword *model);

/* For the kinds. Appends the ids of the bytes; false, and nothing, unless all have a token. */
bool td_subword_append_bytes(const td_subword *model, const char *text, size_t length, td_ids *ids);
td_status td_subword_read_vocabulary(td_subword *model, const json_t *object, const char *file, td_error *error); /* "vocab": {piece: id} */

extern const td_subword_kind td_subword_bpe, td_subword_unigram, td_subword_wordpiece;

#endif
