#include "text/local_pieces.h"

#include "base/array.h"

#include <string.h>

td_status td_local_pieces_id(td_local_pieces *local, const char *piece, size_t length, int32_t *ret_id, td_error *error)
{
    for (size_t i = 0; i < local->count; i++)
        if (strncmp(local->pieces[i], piece, length) == 0 && local->pieces[i][length] == 0) {
            *ret_id = local->first + (int32_t)i;
            return TD_OK;
        }
    if (local->closed || local->count >= (size_t)(INT32_MAX - local->first)) {
        *ret_id = -1;
        return TD_OK;
    }
    TD_TRY(td_reserve_array(&local->pieces, &local->capacity, local->count + 1, sizeof(char *), error));
    char *copy = td_copy_bytes(piece, length);
    if (!copy)
        return td_fail_memory(error, length);
    *ret_id = local->first + (int32_t)local->count;
    local->pieces[local->count++] = copy;
    return TD_OK;
}

const char *td_local_pieces_find(const td_local_pieces *local, int32_t id)
{
    if (!local || id < local->first || (size_t)(id - local->first) >= local->count)
        return NULL;
    return local->pieces[id - local->first];
}

void td_local_pieces_clear(td_local_pieces *local)
{
    for (size_t i = 0; i < local->count; i++)
        td_release(local->pieces[i]);
    local->count = 0;
    local->closed = false;
}

void td_local_pieces_free(td_local_pieces *local)
{
    td_local_pieces_clear(local);
    td_release(local->pieces);
    local->pieces = NULL;
    local->capacity = 0;
}
