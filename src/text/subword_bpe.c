/* Byte pair encoding (Sennrich, Haddow, Birch 2016): a word's characters, joined pair by pair, earliest rule first. */
#include "text/subword.h"

#include "base/utf8.h"
#include "io/json.h"
#include "text/merge_heap.h"

#include <string.h>

static size_t slot_of(const td_subword *model, int32_t left, int32_t right)
{
    size_t mask = model->merge_slots - 1;
    size_t at = (size_t)td_mix64((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & mask;
    while (model->merges[at].rank >= 0 && (model->merges[at].left != left || model->merges[at].right != right))
        at = (at + 1) & mask;
    return at;
}

static td_status add_merge(td_subword *model, const char *left, size_t left_length, const char *right, size_t right_length, size_t rank,
                           const char *file, td_error *error)
{
    size_t prefix = strlen(model->prefix);
    prefix = prefix <= right_length && memcmp(right, model->prefix, prefix) == 0 ? prefix : 0;
    td_buffer made = TD_BUFFER_INIT;
    td_buffer_append(&made, left, left_length);
    td_buffer_append(&made, right + prefix, right_length - prefix);
    int32_t a = td_vocabulary_find(&model->vocabulary, left, left_length), b = td_vocabulary_find(&model->vocabulary, right, right_length);
    int32_t c = td_buffer_ok(&made) ? td_vocabulary_find(&model->vocabulary, td_buffer_text(&made), made.length) : -1;
    bool memory = td_buffer_ok(&made);
    td_buffer_free(&made);
    if (!memory)
        return td_fail_memory(error, left_length + right_length);
    if (a < 0 || b < 0 || c < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"merges\" %zu: \"vocab\" lacks a part or the whole of \"%.*s\" and \"%.*s\"", file,
                       rank, (int)left_length, left, (int)right_length, right);
    model->merges[slot_of(model, a, b)] = (td_merge_slot){a, b, c, (int32_t)rank};
    return TD_OK;
}

/* A rule is "left right" or ["left", "right"]. */
static td_status read_merges(td_subword *model, const json_t *list, const char *file, td_error *error)
{
    size_t count = json_array_size(list), slots = 64;
    if (!json_is_array(list) || count >= TD_VOCABULARY_LIMIT)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"merges\" must be an array of at most %zu pairs", file, TD_VOCABULARY_LIMIT);
    while (slots < 2 * count)
        slots *= 2;
    model->merges = td_allocate_array(slots, sizeof *model->merges);
    if (!model->merges)
        return td_fail_memory(error, slots * sizeof *model->merges);
    model->merge_slots = slots;
    for (size_t i = 0; i < slots; i++)
        model->merges[i].rank = -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i), *first = json_array_get(item, 0), *second = json_array_get(item, 1);
        const char *text = json_string_value(item), *space = text ? strchr(text, ' ') : NULL;
        if (json_is_string(first) && json_is_string(second))
            TD_TRY(add_merge(model, json_string_value(first), json_string_length(first), json_string_value(second),
                             json_string_length(second), i, file, error));
        else if (space)
            TD_TRY(add_merge(model, text, (size_t)(space - text), space + 1, strlen(space + 1), i, file, error));
        else
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"merges\" %zu must be two pieces", file, i);
    }
    return TD_OK;
}

static td_status read(td_subword *model, const json_t *object, const char *file, td_error *error)
{
    double dropout;
    TD_TRY(td_json_get_real(object, file, "dropout", 0, &dropout, error));
    if (dropout != 0)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"dropout\" must be null: a recipe says how to sample", file);
    TD_TRY(td_json_get_bool(object, file, "fuse_unk", false, &model->fuse_unknown, error));
    TD_TRY(td_json_get_bool(object, file, "ignore_merges", false, &model->ignore_merges, error));
    TD_TRY(td_subword_read_vocabulary(model, object, file, error));
    return read_merges(model, json_object_get(object, "merges"), file, error);
}

typedef struct symbol {
    int32_t id;
    size_t previous, next;
    bool merged; /* into its left neighbour */
} symbol;

typedef struct joining {
    const td_subword *model;
    symbol *symbols;
    td_merge_heap heap; /* marked with what is made */
} joining;

#define NONE SIZE_MAX

static void offer(joining *j, size_t left)
{
    size_t right = left == NONE ? NONE : j->symbols[left].next;
    if (right == NONE)
        return;
    const td_merge_slot *merge = &j->model->merges[slot_of(j->model, j->symbols[left].id, j->symbols[right].id)];
    if (merge->rank < 0)
        return;
    td_merge_heap_push(&j->heap, (td_merge){merge->rank, (uint32_t)merge->made, left});
}

static void join(joining *j, double dropout, td_random *random)
{
    while (j->heap.count && !j->heap.failed) {
        td_merge best = td_merge_heap_pop(&j->heap);
        symbol *left = &j->symbols[best.left];
        if (left->merged || left->next == NONE)
            continue;
        symbol *right = &j->symbols[left->next];
        const td_merge_slot *merge = &j->model->merges[slot_of(j->model, left->id, right->id)];
        if (merge->rank < 0 || merge->made != (int32_t)best.mark || (dropout > 0 && td_random_uniform(random) < dropout))
            continue;
        left->id = merge->made;
        right->merged = true;
        left->next = right->next;
        if (right->next != NONE)
            j->symbols[right->next].previous = best.left;
        offer(j, left->previous);
        offer(j, best.left);
    }
}

/* The ids of single characters; what the vocabulary lacks are its bytes, the unknown token, or nothing. */
static td_status spell(const td_subword *model, const char *word, size_t length, td_ids *ids, td_error *error)
{
    td_buffer piece = TD_BUFFER_INIT;
    bool after_unknown = false;
    for (size_t at = 0, used; at < length; at += used) {
        uint32_t code;
        used = td_utf8_decode(word + at, length - at, &code);
        used = used ? used : 1;
        td_buffer_clear(&piece);
        td_buffer_text_append(&piece, at ? model->prefix : "");
        td_buffer_append(&piece, word + at, used);
        td_buffer_text_append(&piece, at + used == length ? model->suffix : "");
        int32_t id = td_buffer_ok(&piece) ? td_vocabulary_find(&model->vocabulary, td_buffer_text(&piece), piece.length) : -1;
        bool known = id >= 0 || (model->byte_fallback && td_subword_append_bytes(model, td_buffer_text(&piece), piece.length, ids));
        if (id >= 0)
            td_ids_append(ids, id);
        else if (!known && model->unknown >= 0 && !(after_unknown && model->fuse_unknown))
            td_ids_append(ids, model->unknown);
        after_unknown = !known;
    }
    bool good = td_buffer_ok(&piece) && td_ids_ok(ids);
    td_buffer_free(&piece);
    return good ? TD_OK : td_fail_memory(error, length);
}

static td_status encode(const td_subword *model, const char *word, size_t length, double dropout, td_random *random, td_ids *ids,
                        td_error *error)
{
    int32_t whole = model->ignore_merges ? td_vocabulary_find(&model->vocabulary, word, length) : -1;
    if (whole >= 0) {
        td_ids_append(ids, whole);
        return TD_OK;
    }
    td_ids spelt = TD_IDS_INIT;
    joining j = {.model = model};
    td_status status = spell(model, word, length, &spelt, error);
    if (status == TD_OK && !(j.symbols = td_allocate_array(spelt.length + 1, sizeof *j.symbols)))
        status = td_fail_memory(error, spelt.length * sizeof *j.symbols);
    for (size_t i = 0; status == TD_OK && i < spelt.length; i++)
        j.symbols[i] = (symbol){spelt.data[i], i ? i - 1 : NONE, i + 1 < spelt.length ? i + 1 : NONE, false};
    for (size_t i = 0; status == TD_OK && i < spelt.length; i++)
        offer(&j, i);
    if (status == TD_OK)
        join(&j, dropout, random);
    if (j.heap.failed)
        status = td_fail_memory(error, length);
    for (size_t i = 0; status == TD_OK && i < spelt.length; i = j.symbols[i].next)
        td_ids_append(ids, j.symbols[i].id);
    td_release(j.symbols);
    td_release(j.heap.items);
    td_ids_free(&spelt);
    return status;
}

const td_subword_kind td_subword_bpe = {"BPE", read, encode};
