/* Ids for one text: pieces that the vocabulary lacks get the ids after its last, in the order of their first appearance, so that what is
 * copied from a source can be named and spelt. */
#ifndef TD_TEXT_LOCAL_PIECES_H
#define TD_TEXT_LOCAL_PIECES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct td_local_pieces {
    int32_t first; /* id of pieces[0]: the size of the vocabulary */
    bool closed;   /* finds pieces, takes no more: for the target, which may only name what the source has */
    char **pieces; /* [count], owned */
    size_t count, capacity;
} td_local_pieces;

/* The piece's id, after adding it if it is new and the table is open; *ret_id is -1 when it is not there. */
td_status td_local_pieces_id(td_local_pieces *local, const char *piece, size_t length, int32_t *ret_id, td_error *error);
/* NULL when the id is none of the table's. `local` may be NULL. */
const char *td_local_pieces_find(const td_local_pieces *local, int32_t id);
void td_local_pieces_clear(td_local_pieces *local); /* forgets the pieces, and that it was closed */
void td_local_pieces_free(td_local_pieces *local);

#endif
