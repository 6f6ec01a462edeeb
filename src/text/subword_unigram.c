/* Unigram segmentation (Kudo 2018): of all ways to write a word with the pieces, the one whose scores add up to the most. */
#include "text/subword.h"

#include "base/utf8.h"
#include "io/json.h"

#include <math.h>
#include <string.h>

static const double unknown_penalty = 10; /* an unknown character scores this much less than the worst piece */

static td_status read(td_subword *model, const json_t *object, const char *file, td_error *error)
{
    const json_t *list = json_object_get(object, "vocab");
    size_t count = json_array_size(list);
    int64_t unknown;
    if (count == 0 || count > TD_VOCABULARY_LIMIT)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"vocab\" must be an array of pieces and their scores", file);
    TD_TRY(td_json_get_integer(object, file, "unk_id", -1, &unknown, error));
    if (unknown < -1 || unknown >= (int64_t)count)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"unk_id\" must be below the number of pieces, %zu", file, count);
    model->unknown = (int32_t)unknown;
    model->scores = td_allocate_array(count, sizeof *model->scores);
    if (!model->scores)
        return td_fail_memory(error, count * sizeof *model->scores);
    double worst = INFINITY;
    for (size_t i = 0; i < count; i++) {
        const json_t *piece = json_array_get(json_array_get(list, i), 0), *score = json_array_get(json_array_get(list, i), 1);
        if (!json_is_string(piece) || !json_is_number(score))
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"vocab\" %zu must be a piece and its score", file, i);
        TD_TRY(td_vocabulary_set(&model->vocabulary, json_string_value(piece), json_string_length(piece), (int32_t)i, error));
        model->scores[i] = json_number_value(score);
        worst = fmin(worst, model->scores[i]);
    }
    model->unknown_score = worst - unknown_penalty;
    return TD_OK;
}

/* The best way to a byte of the word. */
typedef struct node {
    double score;
    size_t begin; /* of its last piece; NONE: no way yet */
    int32_t id;
} node;

#define NONE SIZE_MAX

static void consider(node *to, size_t begin, double score, int32_t id)
{
    if (to->begin == NONE || score > to->score)
        *to = (node){score, begin, id};
}

static void search(const td_subword *model, const char *word, size_t length, node *nodes)
{
    for (size_t at = 0; at < length;) {
        uint32_t code;
        size_t used = td_utf8_decode(word + at, length - at, &code);
        used = used ? used : 1;
        bool single = false;
        for (size_t size = 1; size <= model->longest && at + size <= length; size++) {
            if (at + size < length && ((uint8_t)word[at + size] & 0xc0) == 0x80)
                continue;
            int32_t id = td_vocabulary_find(&model->vocabulary, word + at, size);
            if (id < 0)
                continue;
            consider(&nodes[at + size], at, nodes[at].score + model->scores[id], id);
            single |= size == used;
        }
        if (!single)
            consider(&nodes[at + used], at, nodes[at].score + model->unknown_score, model->unknown);
        at += used;
    }
}

/* Appends from the end; unknown neighbours become one token, or their bytes. */
static td_status trace(const td_subword *model, const char *word, size_t length, const node *nodes, td_ids *ids, td_error *error)
{
    size_t *ends = td_allocate_array(length + 1, sizeof *ends), count = 0;
    if (!ends)
        return td_fail_memory(error, length * sizeof *ends);
    for (size_t end = length; end > 0; end = nodes[end].begin)
        if (!(count && nodes[end].id == model->unknown && nodes[ends[count - 1]].id == model->unknown))
            ends[count++] = end;
    td_status status = TD_OK;
    for (size_t begin = 0; status == TD_OK && count-- > 0; begin = ends[count]) {
        int32_t id = nodes[ends[count]].id;
        if (id == model->unknown) {
            int32_t whole = td_vocabulary_find(&model->vocabulary, word + begin, ends[count] - begin);
            if (whole < 0 && model->byte_fallback && td_subword_append_bytes(model, word + begin, ends[count] - begin, ids))
                continue;
            id = whole >= 0 ? whole : model->unknown;
        }
        if (id < 0)
            status = td_fail(error, TD_ERROR_FORMAT, "the vocabulary cannot spell \"%.*s\" and has no unknown token",
                             (int)(ends[count] - begin), word + begin);
        else
            td_ids_append(ids, id);
    }
    td_release(ends);
    return status;
}

static td_status encode(const td_subword *model, const char *word, size_t length, double dropout, td_random *random, td_ids *ids,
                        td_error *error)
{
    (void)dropout;
    (void)random;
    node *nodes = td_allocate_array(length + 1, sizeof *nodes);
    if (!nodes)
        return td_fail_memory(error, length * sizeof *nodes);
    for (size_t i = 1; i <= length; i++)
        nodes[i].begin = NONE;
    search(model, word, length, nodes);
    td_status status = trace(model, word, length, nodes, ids, error);
    td_release(nodes);
    return status;
}

const td_subword_kind td_subword_unigram = {"Unigram", read, encode};
