/* Token strings and their ids, both ways. */
#ifndef TD_TEXT_VOCABULARY_H
#define TD_TEXT_VOCABULARY_H

#include "base/memory.h"

typedef struct td_vocabulary {
    char **pieces; /* by id; NULL for an id without a token */
    size_t size;   /* highest id + 1 */
    size_t capacity;
    struct td_vocabulary_slot *slots; /* hash table: every string, also where several share an id */
    size_t slot_count, used;
} td_vocabulary;

#define TD_VOCABULARY_LIMIT ((size_t)1 << 24) /* ids; anything above is a broken file */

/* Adds or moves a token; the last one given for an id is its string. */
td_status td_vocabulary_set(td_vocabulary *vocabulary, const char *piece, size_t length, int32_t id, td_error *error);
/* Adds every entry of a JSON object file { "token": id, ... }. */
td_status td_vocabulary_load(td_vocabulary *vocabulary, const char *path, td_error *error);
/* -1 when there is no such token. */
int32_t td_vocabulary_find(const td_vocabulary *vocabulary, const char *piece, size_t length);
const char *td_vocabulary_piece(const td_vocabulary *vocabulary, int32_t id); /* NULL when there is none */
void td_vocabulary_free(td_vocabulary *vocabulary);

#endif
