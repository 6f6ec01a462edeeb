#include "text/vocabulary.h"

#include "base/array.h"
#include "base/random.h"
#include "io/json.h"

#include <string.h>

typedef struct td_vocabulary_slot {
    char *piece; /* owned; NULL: free */
    size_t length;
    int32_t id;
} slot;

/* The slot that holds the piece, or the free one where it belongs. */
static slot *find_slot(slot *slots, size_t count, const char *piece, size_t length)
{
    size_t at = (size_t)td_mix64(td_hash_bytes(piece, length)) & (count - 1);
    while (slots[at].piece && (slots[at].length != length || memcmp(slots[at].piece, piece, length) != 0))
        at = (at + 1) & (count - 1);
    return &slots[at];
}

static bool grow_slots(td_vocabulary *vocabulary)
{
    if (vocabulary->used * 2 < vocabulary->slot_count)
        return true;
    size_t count = vocabulary->slot_count ? vocabulary->slot_count * 2 : 256;
    slot *slots = td_allocate_array(count, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < vocabulary->slot_count; i++) {
        const slot *old = &vocabulary->slots[i];
        if (old->piece)
            *find_slot(slots, count, old->piece, old->length) = *old;
    }
    td_release(vocabulary->slots);
    vocabulary->slots = slots;
    vocabulary->slot_count = count;
    return true;
}

static bool grow_pieces(td_vocabulary *vocabulary, size_t size)
{
    if (td_reserve_array(&vocabulary->pieces, &vocabulary->capacity, size, sizeof *vocabulary->pieces, NULL) != TD_OK)
        return false;
    for (; vocabulary->size < size; vocabulary->size++)
        vocabulary->pieces[vocabulary->size] = NULL;
    return true;
}

td_status td_vocabulary_set(td_vocabulary *vocabulary, const char *piece, size_t length, int32_t id, td_error *error)
{
    if (id < 0 || (size_t)id >= TD_VOCABULARY_LIMIT)
        return td_fail(error, TD_ERROR_FORMAT, "token \"%.*s\": id %d is out of range", (int)length, piece, id);
    if (!grow_slots(vocabulary) || !grow_pieces(vocabulary, (size_t)id + 1))
        return td_fail_memory(error, (size_t)id);
    slot *place = find_slot(vocabulary->slots, vocabulary->slot_count, piece, length);
    if (!place->piece) {
        char *copy = td_copy_bytes(piece, length);
        if (!copy)
            return td_fail_memory(error, length);
        *place = (slot){copy, length, id};
        vocabulary->used++;
    }
    place->id = id;
    vocabulary->pieces[id] = place->piece;
    return TD_OK;
}

td_status td_vocabulary_load(td_vocabulary *vocabulary, const char *path, td_error *error)
{
    json_t *root;
    TD_TRY(td_json_load_file(path, &root, error));
    td_status status =
        json_object_size(root) ? TD_OK : td_fail(error, TD_ERROR_FORMAT, "%s: must be an object of tokens and their ids", path);
    const char *piece;
    json_t *value;
    json_object_foreach(root, piece, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= (json_int_t)TD_VOCABULARY_LIMIT)
            status =
                td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must have an integer id from 0 to %zu", path, piece, TD_VOCABULARY_LIMIT - 1);
        else
            status = td_vocabulary_set(vocabulary, piece, strlen(piece), (int32_t)id, error);
        if (status != TD_OK)
            break;
    }
    json_decref(root);
    return status;
}

int32_t td_vocabulary_find(const td_vocabulary *vocabulary, const char *piece, size_t length)
{
    if (!vocabulary->slot_count)
        return -1;
    const slot *found = find_slot(vocabulary->slots, vocabulary->slot_count, piece, length);
    return found->piece ? found->id : -1;
}

const char *td_vocabulary_piece(const td_vocabulary *vocabulary, int32_t id)
{
    return id >= 0 && (size_t)id < vocabulary->size ? vocabulary->pieces[id] : NULL;
}

void td_vocabulary_free(td_vocabulary *vocabulary)
{
    for (size_t i = 0; i < vocabulary->slot_count; i++)
        td_release(vocabulary->slots[i].piece);
    td_release(vocabulary->slots);
    td_release(vocabulary->pieces);
    *vocabulary = (td_vocabulary){0};
}
