/* A model directory, read once: configuration, weights, generation settings and tokenizer. Immutable, shared by
 * threads. */
#ifndef TD_API_MODEL_H
#define TD_API_MODEL_H

#include "decoding/generate.h"
#include "frontend/frontend.h"
#include "models/architecture.h"
#include "text/tokenizer.h"

#include <pthread.h>

typedef struct td_model td_model;

/* A tokenizer set up for a pair of languages; opened when first asked for and kept. */
typedef struct td_language_pair {
    struct td_language_pair *next;
    char *source, *target; /* NULL: not given */
    td_tokenizer *tokenizer;
} td_language_pair;

/* What the weights are on disk. */
typedef struct td_stored_weights {
    size_t bytes;
    const char *precision; /* name of the type most elements have */
} td_stored_weights;

struct td_model {
    char *directory;
    json_t *config; /* config.json; only read after loading */
    td_network network;
    td_generation generation;
    td_tokenizer *tokenizer;  /* NULL when the directory has none: ids only */
    td_error tokenizer_error; /* why there is none */
    td_frontend frontend;     /* of sound and pictures; kind NULL for text, or when the directory has none */
    td_error frontend_error;  /* why there is none */
    td_stored_weights stored;
    td_precision precision; /* of the packed weights */
    size_t max_source;      /* tokens of a text, end token included, that the model is given at most; 0: any number */
    const char **languages; /* target languages, borrowed by `language_names`; NULL-terminated */
    td_buffer language_names;
    const char *default_language;            /* in config, or NULL */
    char *source_language, *target_language; /* of a model for one pair, where tokenizer_config.json names them; owned */
    struct td_facts *facts;                  /* filled by the public interface; owned by it */
    pthread_mutex_t mutex;                   /* guards pairs */
    td_language_pair *pairs;
};

/* precision: a td_precision, or -1: int8 when the file holds int8, else float32 */
td_status td_model_load(const char *directory, int precision, td_model **ret_model, td_error *error);
void td_model_release(td_model *model); /* NULL is fine */
/* The tokenizer for a pair of languages (either may be NULL); belongs to the model. */
td_status td_model_tokenizer(td_model *model, const char *source, const char *target, const td_tokenizer **ret_tokenizer, td_error *error);

#endif
