/* Beam search as transformers 5 defines it (generation/utils.py, _beam_search), one sentence at a time. Scores are
 * float32 and a path that may not go on is pushed down by 1e9 rather than removed, as there: the order of the n-best
 * hangs on it. */
#include "decoding/sentence.h"

#include <math.h>
#include <string.h>

#define FAR (-1.0e9f)

/* Empties the sentence, with room for `width` paths of `length` tokens and one more. */
static td_status set_room(td_sentence *sentence, size_t width, size_t length, td_error *error)
{
    size_t capacity = sentence->capacity ? sentence->capacity : 32, total;
    if (width <= sentence->storage_width && length < capacity)
        return TD_OK;
    while (capacity <= length)
        capacity *= 2;
    width = width > sentence->storage_width ? width : sentence->storage_width;
    if (td_multiply_overflows(3 * width, capacity, &total))
        return td_fail_memory(error, SIZE_MAX);
    td_path *paths = td_allocate_array(3 * width, sizeof *paths);
    td_token *storage = td_allocate_array(total, sizeof *storage);
    if (!paths || !storage) {
        td_release(paths);
        td_release(storage);
        return td_fail_memory(error, total * sizeof *storage);
    }
    td_release(sentence->running < sentence->next ? sentence->running : sentence->next);
    td_release(sentence->storage);
    sentence->running = paths;
    sentence->next = paths + width;
    sentence->finished = paths + 2 * width;
    sentence->storage = storage;
    sentence->storage_width = width;
    sentence->capacity = capacity;
    td_path *kinds[3] = {sentence->running, sentence->next, sentence->finished};
    for (size_t i = 0; i < 3 * width; i++)
        kinds[i / width][i % width].tokens = storage + i * capacity;
    return TD_OK;
}

td_status td_sentence_reserve(td_sentence *sentence, td_error *error)
{
    size_t longest = 0;
    for (size_t i = 0; i < sentence->running_count; i++)
        longest = sentence->running[i].count > longest ? sentence->running[i].count : longest;
    if (longest < sentence->capacity)
        return TD_OK;
    size_t capacity = sentence->capacity, bytes;
    while (capacity <= longest)
        capacity *= 2;
    if (td_multiply_overflows(capacity, 3 * sentence->storage_width, &bytes))
        return td_fail_memory(error, SIZE_MAX);
    td_token *storage = td_allocate_array(bytes, sizeof *storage), *old = sentence->storage;
    if (!storage)
        return td_fail_memory(error, bytes * sizeof *storage);
    td_path *paths[3] = {sentence->running, sentence->next, sentence->finished};
    size_t counts[3] = {sentence->running_count, 0, sentence->finished_count};
    for (size_t kind = 0; kind < 3; kind++)
        for (size_t i = 0; i < sentence->storage_width; i++) {
            td_token *place = storage + (kind * sentence->storage_width + i) * capacity;
            if (i < counts[kind])
                memcpy(place, paths[kind][i].tokens, paths[kind][i].count * sizeof *place);
            paths[kind][i].tokens = place;
        }
    sentence->storage = storage;
    sentence->capacity = capacity;
    td_release(old);
    return TD_OK;
}

/* Every path begins with the prompt; all but the first are pushed down so that the first step does not choose the same
 * token for each beam. Samples are all alike and draw differently. */
static void fill_prompts(td_sentence *sentence, const td_rules *rules)
{
    size_t prompt = sentence->lengths.prompt;
    for (size_t i = 0; i < sentence->width; i++) {
        td_path *path = &sentence->running[i];
        path->tokens[0] = (td_token){sentence->start, 0, 0};
        for (size_t p = 1; p < prompt; p++)
            path->tokens[p] = (td_token){sentence->prefix[p - 1], 0, 0};
        path->count = prompt;
        path->score = rules->beams && i > 0 ? FAR : 0;
        path->sample = i;
        path->ended = false;
    }
    sentence->running_count = sentence->width;
}

td_status td_sentence_start(td_sentence *sentence, const td_rules *rules, size_t index, const td_source *source, td_error *error)
{
    const td_generation *generation = rules->generation;
    td_id_list prefix = generation->prefix;
    if (source->prefix)
        prefix = (td_id_list){(int32_t *)source->prefix, source->prefix_count};
    if (source->length == 0 || source->length > INT32_MAX || (!source->ids && !source->features))
        return td_fail(error, TD_ERROR_ARGUMENT, "source %zu is empty or too long; it needs 1 to 2^31 - 1 elements", index);
    for (size_t i = 0; i < prefix.count; i++)
        if (prefix.ids[i] < 0 || (size_t)prefix.ids[i] >= rules->vocabulary)
            return td_fail(error, TD_ERROR_ARGUMENT, "source %zu: prefix id %d is none of this model; ids are 0 to %zu", index,
                           (int)prefix.ids[i], rules->vocabulary - 1);
    sentence->start = rules->start;
    if (source->starts && prefix.count > 0) {
        sentence->start = prefix.ids[0];
        prefix = (td_id_list){prefix.ids + 1, prefix.count - 1};
    }
    TD_TRY(td_rules_lengths(rules, prefix.count, &sentence->lengths, error));
    sentence->index = index;
    sentence->source = *source;
    sentence->prefix = prefix.ids;
    sentence->width = rules->beams ? generation->num_beams : generation->num_return_sequences;
    sentence->rows = 1;
    sentence->fresh = true;
    sentence->done = false;
    sentence->running_count = sentence->finished_count = sentence->attention_positions = 0;
    TD_TRY(set_room(sentence, sentence->width, sentence->lengths.prompt, error));
    fill_prompts(sentence, rules);
    return TD_OK;
}

void td_sentence_free(td_sentence *sentence)
{
    td_release(sentence->running < sentence->next ? sentence->running : sentence->next);
    td_release(sentence->storage);
    td_release(sentence->attention);
    td_ctc_scorer_free(sentence->ctc);
    *sentence = (td_sentence){0};
}

td_status td_sentence_attention(td_sentence *sentence, size_t positions, td_real **ret_place, td_error *error)
{
    size_t each = sentence->width * sentence->memory_length, wanted = sentence->attention_positions + positions, size;
    if (td_multiply_overflows(each, wanted, &size))
        return td_fail_memory(error, SIZE_MAX);
    if (size > sentence->attention_capacity) {
        size_t capacity = size + size / 2;
        if (!td_grow_array(&sentence->attention, capacity, sizeof *sentence->attention))
            return td_fail_memory(error, capacity * sizeof *sentence->attention);
        sentence->attention_capacity = capacity;
    }
    *ret_place = sentence->attention + sentence->attention_positions * each;
    sentence->attention_positions = wanted;
    return TD_OK;
}

/* Path `to` becomes `from` and one more token. */
static void extend(td_path *to, const td_path *from, td_token token)
{
    memcpy(to->tokens, from->tokens, from->count * sizeof *to->tokens);
    to->tokens[from->count] = token;
    to->count = from->count + 1;
    to->sample = from->sample;
}

/* Keeps the best `width` finished paths, earlier ones first when equal. An empty place counts as one of score FAR. */
static void finish(td_sentence *sentence, const td_path *from, td_token token, float score, bool ended)
{
    td_path *finished = sentence->finished;
    bool full = sentence->finished_count == sentence->width;
    if (!(score > (full ? finished[sentence->width - 1].score : FAR)))
        return;
    size_t at = full ? sentence->width - 1 : sentence->finished_count++;
    td_path place = finished[at];
    for (; at > 0 && finished[at - 1].score < score; at--)
        finished[at] = finished[at - 1];
    extend(&place, from, token);
    place.score = score;
    place.ended = ended;
    finished[at] = place;
}

static float length_penalty(double length, double exponent)
{
    return (float)pow(length, exponent);
}

/* Whether an open path could still beat a finished one, by the estimate that early_stopping asks for. */
static bool can_improve(const td_sentence *sentence, const td_generation *generation, size_t length)
{
    size_t best_length = length - sentence->lengths.prompt;
    if (generation->early_stopping == TD_EARLY_STOPPING_NEVER && generation->length_penalty > 0)
        best_length = sentence->lengths.maximum - sentence->lengths.prompt;
    float best = sentence->running[0].score / length_penalty((double)best_length, generation->length_penalty);
    bool full = sentence->finished_count == sentence->width;
    return best > (full ? sentence->finished[sentence->width - 1].score : FAR);
}

/* The running paths of the next step: the best by score after those that ended were pushed down. */
static void choose_running(td_sentence *sentence, const td_rules *rules, const td_candidate *candidates, const int32_t *parents,
                           const td_real *logprobs, size_t count, int32_t *ret_parents)
{
    size_t length = sentence->running[0].count + 1, chosen = 0;
    for (size_t i = 0; i < count; i++) {
        bool hits = length >= sentence->lengths.maximum || td_rules_ends(rules, candidates[i].id);
        float score = candidates[i].value + (hits ? FAR : 0.0f);
        if (chosen == sentence->width && !(score > sentence->next[chosen - 1].score))
            continue;
        size_t at = chosen < sentence->width ? chosen++ : chosen - 1;
        td_path place = sentence->next[at];
        for (; at > 0 && sentence->next[at - 1].score < score; at--) {
            sentence->next[at] = sentence->next[at - 1];
            ret_parents[at] = ret_parents[at - 1];
        }
        int32_t origin = sentence->rows == 1 ? 0 : parents[i];
        place.score = score;
        extend(&place, &sentence->running[parents[i]], (td_token){candidates[i].id, logprobs[i], origin});
        sentence->next[at] = place;
        ret_parents[at] = origin;
    }
    td_path *running = sentence->running;
    sentence->running = sentence->next;
    sentence->next = running;
    sentence->running_count = chosen;
}

void td_sentence_extend_beams(td_sentence *sentence, const td_rules *rules, const td_candidate *candidates, const int32_t *parents,
                              const td_real *logprobs, size_t count, int32_t *ret_parents)
{
    const td_generation *generation = rules->generation;
    size_t length = sentence->running[0].count + 1;
    float penalty = length_penalty((double)(length - sentence->lengths.prompt), generation->length_penalty);
    bool all_hit = true;
    for (size_t i = 0; i < count; i++) {
        bool ends = td_rules_ends(rules, candidates[i].id), hits = ends || length >= sentence->lengths.maximum;
        all_hit = all_hit && hits;
        if (!hits || i >= sentence->width)
            continue;
        int32_t origin = sentence->rows == 1 ? 0 : parents[i];
        finish(sentence, &sentence->running[parents[i]], (td_token){candidates[i].id, logprobs[i], origin}, candidates[i].value / penalty,
               ends);
    }
    choose_running(sentence, rules, candidates, parents, logprobs, count, ret_parents);
    bool full = sentence->finished_count == sentence->width;
    sentence->done =
        all_hit || (full && generation->early_stopping == TD_EARLY_STOPPING_TRUE) || !can_improve(sentence, generation, length);
    sentence->rows = sentence->running_count = sentence->done ? 0 : sentence->running_count;
}

void td_sentence_append(td_sentence *sentence, const td_rules *rules, size_t which, int32_t id, td_real logprob, bool stop)
{
    td_path *path = &sentence->running[which];
    path->tokens[path->count++] = (td_token){id, logprob, sentence->rows == 1 ? 0 : (int32_t)which};
    path->score += logprob;
    path->ended = td_rules_ends(rules, id);
    if (!path->ended && !stop && path->count < sentence->lengths.maximum)
        return;
    td_path place = sentence->finished[sentence->finished_count];
    sentence->finished[sentence->finished_count] = *path;
    float length = length_penalty((double)(path->count - sentence->lengths.prompt), rules->generation->length_penalty);
    sentence->finished[sentence->finished_count++].score = path->score / length;
    *path = place; /* keeps its storage; an empty path is one that is over */
    path->count = 0;
}

void td_sentence_compact(td_sentence *sentence, int32_t *ret_parents)
{
    size_t kept = 0;
    for (size_t i = 0; i < sentence->running_count; i++) {
        if (sentence->running[i].count == 0)
            continue;
        td_path place = sentence->running[kept];
        sentence->running[kept] = sentence->running[i];
        sentence->running[i] = place;
        ret_parents[kept++] = sentence->rows == 1 ? 0 : (int32_t)i;
    }
    sentence->running_count = sentence->rows = kept;
    sentence->done = kept == 0;
}
