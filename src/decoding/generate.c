/* The batch that is never full of the dead: sentences enter when the budget allows, each step reads one token for every
 * open path, and the state's rows follow the paths that go on. Everything a sentence needs is its own, so its company
 * cannot matter. */
#include "decoding/ctc_joint.h"

#include <math.h>
#include <string.h>

#define FEATURES_COST 64
#define ENCODED_TOGETHER 64 /* source rows: what a layer makes of them stays in the second cache */
#define SHORTEST_COST 8     /* even a one-word source costs decoder steps */

/* Grows the parallel arrays of candidates; they hold any row of any sentence under these rules. */
static td_status size_candidates(td_search *search, td_error *error)
{
    const td_generation *generation = search->rules.generation;
    size_t kept = (search->rules.eos_count > 1 ? 1 + search->rules.eos_count : 2) * generation->num_beams;
    size_t wanted = kept;
    if (generation->do_sample) {
        wanted = generation->top_k > 0 && generation->top_k < search->widest ? generation->top_k : search->widest;
        wanted = wanted > kept ? wanted : kept;
    }
    wanted += kept; /* a row's after those merged */
    if (wanted <= search->candidate_capacity)
        return TD_OK;
    td_candidate *candidates = td_resize_array(search->candidates, wanted, sizeof *candidates);
    search->candidates = candidates ? candidates : search->candidates;
    td_candidate *merged = td_resize_array(search->merged, wanted, sizeof *merged);
    search->merged = merged ? merged : search->merged;
    int32_t *parents = td_resize_array(search->merged_parents, wanted, sizeof *parents);
    search->merged_parents = parents ? parents : search->merged_parents;
    td_real *logprobs = td_resize_array(search->merged_logprobs, wanted, sizeof *logprobs);
    search->merged_logprobs = logprobs ? logprobs : search->merged_logprobs;
    double *weights = td_resize_array(search->weights, wanted, sizeof *weights);
    search->weights = weights ? weights : search->weights;
    if (!candidates || !merged || !parents || !logprobs || !weights)
        return td_fail_memory(error, wanted * sizeof *candidates);
    search->candidate_capacity = wanted;
    return TD_OK;
}

static td_status grow_lists(td_search *search, td_error *error)
{
    if (search->live_count + search->spare_count < search->capacity || search->spare_count > 0)
        return TD_OK;
    size_t capacity = search->capacity ? 2 * search->capacity : 16;
    td_sentence **live = td_resize_array(search->live, capacity, sizeof *live);
    search->live = live ? live : search->live;
    td_sentence **spare = td_resize_array(search->spare, capacity, sizeof *spare);
    search->spare = spare ? spare : search->spare;
    if (!live || !spare)
        return td_fail_memory(error, capacity * sizeof *live);
    search->capacity = capacity;
    return TD_OK;
}

static td_status take_sentence(td_search *search, size_t index, const td_source *source, td_error *error)
{
    TD_TRY(grow_lists(search, error));
    td_sentence *sentence = search->spare_count > 0 ? search->spare[--search->spare_count] : td_allocate_array(1, sizeof *sentence);
    if (!sentence)
        return td_fail_memory(error, sizeof *sentence);
    td_status status = td_sentence_start(sentence, &search->rules, index, source, error);
    if (status != TD_OK) {
        search->spare[search->spare_count++] = sentence;
        return status;
    }
    /* Of features, encoders make fewer rows by far. */
    size_t length = source->features ? FEATURES_COST : source->length > SHORTEST_COST ? source->length : SHORTEST_COST;
    td_copy_source copied = td_search_copied(source);
    sentence->ids = search->network->vocabulary + td_extended_count(search->network, &copied);
    sentence->cost = length * sentence->width;
    search->cost += sentence->cost;
    search->live[search->live_count++] = sentence;
    TD_TRY(td_search_widen(search, sentence->ids, error));
    return size_candidates(search, error);
}

/* Encodes live[first .. first + count) together. */
static td_status admit(td_search *search, size_t first, size_t count, td_error *error)
{
    td_search_step(search);
    const td_source **sources = td_arena_allocate_array(&search->arena, count, sizeof *sources);
    if (!sources)
        return td_fail_memory(error, count * sizeof *sources);
    for (size_t i = 0; i < count; i++)
        sources[i] = &search->live[first + i]->source;
    td_memory memory;
    TD_TRY(td_search_admit(search, sources, count, &memory, error));
    for (size_t i = 0; i < count; i++)
        search->live[first + i]->memory_length = td_ragged_length(memory.ragged, i);
    return td_ctc_joint_admit(search, first, &memory, error);
}

/* Encodes the new sentences a few at a time: the layers' scratch memory grows with rows, products gain nothing from
 * more than these. */
static td_status admit_all(td_search *search, size_t first, td_error *error)
{
    while (first < search->live_count) {
        size_t count = 0, rows = 0;
        do
            rows += search->live[first + count++]->source.length;
        while (first + count < search->live_count && rows + search->live[first + count]->source.length <= ENCODED_TOGETHER);
        TD_TRY(admit(search, first, count, error));
        first += count;
    }
    return TD_OK;
}

/* Takes waiting sources once a quarter of the budget is free: encoding few at a time would cost more than the wait. */
static td_status refill(td_search *search, td_error *error)
{
    size_t budget = search->options.batch_tokens, first = search->live_count;
    if (first > 0 && search->cost > budget - budget / 4)
        return TD_OK;
    while (search->live_count == 0 || search->cost < budget) {
        td_source source = {0};
        size_t index = 0;
        bool given = false;
        TD_TRY(search->callbacks->next(search->callbacks->context, &index, &source, &given, error));
        if (!given)
            break;
        TD_TRY(take_sentence(search, index, &source, error));
    }
    return admit_all(search, first, error);
}

/* One row of the state: whose it is and which of the fed positions gives its scores. */
typedef struct step_rows {
    size_t count;
    td_sentence **sentences;
    td_copy_source *sources;
    int32_t *last; /* row of hidden */
    td_batch targets;
} step_rows;

static td_status feed(td_search *search, step_rows *ret_rows, td_error *error)
{
    size_t count = 0, total = 0;
    for (size_t s = 0; s < search->live_count; s++) {
        td_sentence *sentence = search->live[s];
        TD_TRY(td_sentence_reserve(sentence, error));
        count += sentence->rows;
        total += sentence->fresh ? sentence->lengths.prompt : sentence->rows;
    }
    td_arena *arena = &search->arena;
    int32_t *offsets = td_arena_allocate_array(arena, count + 1, sizeof *offsets);
    int32_t *ids = td_arena_allocate_array(arena, total, sizeof *ids), *last = td_arena_allocate_array(arena, count, sizeof *last);
    td_sentence **sentences = td_arena_allocate_array(arena, count, sizeof(td_sentence *));
    td_copy_source *sources = td_arena_allocate_array(arena, count, sizeof *sources);
    if (!offsets || !ids || !last || !sentences || !sources)
        return td_fail_memory(error, total * sizeof *ids);
    size_t row = 0;
    int32_t at = 0;
    for (size_t s = 0; s < search->live_count; s++) {
        td_sentence *sentence = search->live[s];
        for (size_t r = 0; r < sentence->rows; r++, row++) {
            const td_path *path = &sentence->running[r];
            offsets[row] = at;
            for (size_t i = sentence->fresh ? 0 : path->count - 1; i < path->count; i++)
                ids[at++] = path->tokens[i].id;
            last[row] = at - 1;
            sentences[row] = sentence;
            sources[row] = td_search_copied(&sentence->source);
        }
    }
    offsets[count] = at;
    *ret_rows = (step_rows){count, sentences, sources, last, {.ragged = {count, offsets}, .ids = ids}};
    return TD_OK;
}

/* Files the attention of this step's rows with their sentences; a prompt brings several positions of its one row. */
static td_status keep_attention(td_search *search, const td_real *attention, td_error *error)
{
    for (size_t s = 0; s < search->live_count; s++) {
        td_sentence *sentence = search->live[s];
        size_t length = sentence->memory_length, positions = sentence->fresh ? sentence->lengths.prompt : 1;
        td_real *place;
        TD_TRY(td_sentence_attention(sentence, positions, &place, error));
        for (size_t p = 0; p < positions; p++) {
            memcpy(place, attention, sentence->rows * length * sizeof *place);
            attention += sentence->rows * length;
            place += sentence->width * length;
        }
    }
    return TD_OK;
}

static void subtract(td_real *row, td_real maximum, td_real log_sum, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row[i] = row[i] - maximum - log_sum;
}

/* Gumbel noise turns taking the largest into drawing without replacement by softmax (Vieira 2014, Kool 2019). The
 * stream is that of the source, position and path. */
static void add_noise(const td_search *search, const td_sentence *sentence, size_t path, td_candidate *candidates, size_t count)
{
    uint64_t key = td_random_key(search->rules.generation->seed, sentence->index, sentence->running[0].count);
    for (size_t i = 0; i < count; i++) {
        td_random random = {td_random_key(key, path, (uint64_t)candidates[i].id), 0};
        double uniform = td_random_uniform(&random) + 0x1.0p-54;
        candidates[i].key = (td_real)((double)candidates[i].value - log(-log(uniform)));
    }
}

static void heat(const td_search *search, td_real *row)
{
    td_real temperature = (td_real)search->rules.generation->temperature;
    for (size_t i = 0; temperature != 1 && i < search->rules.vocabulary; i++)
        row[i] /= temperature;
}

/* Temperature, top-k, top-p, min-p, in this order. Returns the candidates left, best first. */
static size_t warp(td_search *search, td_real *row, size_t least, td_candidate *ret_candidates)
{
    const td_generation *generation = search->rules.generation;
    size_t n = search->rules.vocabulary, wanted = n;
    heat(search, row);
    if (generation->top_k > 0 && generation->top_k < n)
        wanted = generation->top_k > least ? generation->top_k : least;
    size_t count = td_select_largest(row, n, wanted < n ? wanted : n, ret_candidates);
    if (count > 0 && (generation->top_p < 1 || generation->min_p > 0))
        count = td_select_nucleus(ret_candidates, count, generation->top_p, generation->min_p, least, search->weights);
    return count;
}

/* Softmax again over the candidates left (renormalize_logits after the warpers). */
static void renormalise(td_candidate *candidates, size_t count)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += exp((double)candidates[i].value - (double)candidates[0].value);
    td_real log_sum = (td_real)((double)candidates[0].value + log(total));
    for (size_t i = 0; i < count; i++)
        candidates[i].value -= log_sum;
}

/* Puts one candidate among the merged, best first; equal ones keep their order. */
static size_t merge(td_search *search, size_t merged, size_t kept, td_candidate candidate, int32_t parent, td_real logprob)
{
    if (merged == kept && !(candidate.key > search->merged[kept - 1].key))
        return merged;
    size_t at = merged < kept ? merged : kept - 1;
    for (; at > 0 && search->merged[at - 1].key < candidate.key; at--) {
        search->merged[at] = search->merged[at - 1];
        search->merged_parents[at] = search->merged_parents[at - 1];
        search->merged_logprobs[at] = search->merged_logprobs[at - 1];
    }
    search->merged[at] = candidate;
    search->merged_parents[at] = parent;
    search->merged_logprobs[at] = logprob;
    return merged < kept ? merged + 1 : kept;
}

/* Merges the best continuations of one path, given its row of log-probabilities after the processors. */
static size_t rank_path(td_search *search, const td_sentence *sentence, size_t path, td_candidate *candidates, size_t count, size_t merged,
                        size_t kept)
{
    if (search->rules.generation->do_sample)
        add_noise(search, sentence, path, candidates, count);
    float score = sentence->running[path].score;
    for (size_t i = 0; i < count; i++) {
        td_candidate total = candidates[i];
        total.key += score;
        total.value += score;
        merged = merge(search, merged, kept, total, (int32_t)path, candidates[i].value);
    }
    return merged;
}

/* Whether the best can be picked before log-probabilities are made of all. */
static bool selects_logits(const td_search *search, const td_sentence *sentence, const td_path *path)
{
    const td_generation *generation = search->rules.generation;
    return !generation->do_sample && !generation->renormalize_logits && !generation->processed_logprobs && generation->ctc_weight == 0 &&
           td_rules_only_ban(&search->rules, &sentence->lengths, path->count);
}

/* Continuations of one path that a beam search looks at: as many as there would be if all but the beams ended. */
static size_t kept_of(const td_search *search)
{
    size_t least = search->rules.eos_count + 1;
    return (least > 2 ? least : 2) * search->rules.generation->num_beams;
}

/* How many of the best of each of these rows are all that is looked at, those that rules may ban among them; 0: some row is needed whole,
 * or nearly. */
static size_t wanted_of(const td_search *search, const step_rows *rows, size_t start, size_t count)
{
    enum { FEW = 32 };
    size_t most = 0, wanted = search->rules.beams ? kept_of(search) : 1;
    for (size_t r = start; r < start + count; r++) {
        const td_sentence *sentence = rows->sentences[r];
        const td_path *path = &sentence->running[0]; /* the others are as long */
        if (!selects_logits(search, sentence, path))
            return 0;
        size_t banned = td_rules_most_banned(&search->rules, &sentence->lengths, &sentence->source, path->count);
        most = banned > most ? banned : most;
    }
    return wanted <= FEW && most <= FEW - wanted ? wanted + most : 0;
}

/* The best of a row of logits that rules may have banned some of. */
static size_t select_logits(const td_search *search, const td_score_row *logits, size_t wanted)
{
    size_t n = search->rules.vocabulary;
    if (logits->blocks)
        return td_select_in_blocks(logits->values, n, logits->blocks, logits->block_count, TD_LOGIT_BLOCK, wanted, search->candidates);
    return td_select_bounded(logits->values, n, logits->block_maxima, TD_LOGIT_BLOCK, wanted, search->candidates);
}

/* One row of logits in a beam search: processed, its best merged into the sentence's. The first row stands for every
 * beam. */
static td_status beam_row(td_search *search, td_sentence *sentence, size_t local, td_score_row logits, size_t *merged, td_error *error)
{
    const td_generation *generation = search->rules.generation;
    size_t n = search->rules.vocabulary, least = search->rules.eos_count + 1, kept = kept_of(search);
    td_real maximum = logits.maximum, log_sum = logits.log_sum, *row = logits.values;
    const td_path *path = &sentence->running[local];
    bool as_logits = selects_logits(search, sentence, path);
    if (!as_logits) {
        subtract(row, maximum, log_sum, n);
        td_ctc_joint_row(search, sentence, local, row);
    }
    if (search->rules.active)
        td_rules_apply(&search->rules, &sentence->lengths, &sentence->source, path->tokens, path->count, row);
    size_t count;
    if (as_logits) {
        count = select_logits(search, &logits, kept);
        for (size_t i = 0; i < count; i++)
            search->candidates[i].key = search->candidates[i].value = search->candidates[i].value - maximum - log_sum;
    } else if (generation->do_sample) {
        count = warp(search, row, least, search->candidates);
        if (generation->renormalize_logits && count > 0)
            renormalise(search->candidates, count);
    } else {
        if (generation->renormalize_logits && search->graph.kernels->maximum(row, n) > -INFINITY) {
            TD_TRY(td_search_normaliser(search, row, &maximum, &log_sum, error));
            subtract(row, maximum, log_sum, n);
        }
        count = td_select_largest(row, n, kept, search->candidates);
    }
    size_t first = local, end = local + 1;
    if (sentence->rows == 1 && sentence->fresh)
        end = sentence->running_count;
    for (size_t p = first; p < end; p++)
        *merged = rank_path(search, sentence, p, search->candidates, count, *merged, kept);
    return TD_OK;
}

/* Samples from what warping leaves; search->candidates[*ret_chosen] is it. Returns 0 where nothing may be written. */
static size_t sample(td_search *search, const td_sentence *sentence, const td_path *path, size_t *ret_chosen)
{
    const td_generation *generation = search->rules.generation;
    td_random random = {td_random_key(generation->seed, sentence->index, path->sample), path->count};
    *ret_chosen = 0;
    if (generation->top_k == 0 && !(generation->top_p < 1) && !(generation->min_p > 0)) {
        heat(search, search->row);
        return td_select_from_all(search->graph.kernels, search->row, search->rules.vocabulary, &random, search->candidates);
    }
    size_t count = warp(search, search->row, 1, search->candidates);
    if (count > 0)
        *ret_chosen = td_select_random(search->candidates, count, &random, search->weights);
    return count;
}

/* One path of greedy search or sampling takes its token from a row of logits. */
static td_status choose(td_search *search, td_sentence *sentence, size_t which, td_score_row logits, td_error *error)
{
    const td_generation *generation = search->rules.generation;
    td_path *path = &sentence->running[which];
    size_t n = search->rules.vocabulary, chosen = 0, count;
    bool as_logits = selects_logits(search, sentence, path);
    td_real *row = logits.values;
    if (!as_logits && !generation->processed_logprobs && (search->rules.active || generation->do_sample))
        row = memcpy(search->row, row, n * sizeof *row);
    if (search->rules.active)
        td_rules_apply(&search->rules, &sentence->lengths, &sentence->source, path->tokens, path->count, row);
    if (generation->processed_logprobs && search->graph.kernels->maximum(row, n) > -INFINITY) {
        TD_TRY(td_search_normaliser(search, row, &logits.maximum, &logits.log_sum, error));
        row = generation->do_sample ? memcpy(search->row, row, n * sizeof *row) : row;
    }
    if (as_logits) {
        count = select_logits(search, &logits, 1);
    } else if (generation->do_sample) {
        count = sample(search, sentence, path, &chosen);
    } else {
        count = td_select_largest(row, n, 1, search->candidates);
    }
    if (count == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: the options allow no token at position %zu of source %zu", path->count,
                       sentence->index);
    int32_t id = search->candidates[chosen].id;
    td_real logprob = logits.values[id] - logits.maximum - logits.log_sum;
    size_t which_sample = path->sample;
    const td_generate_callbacks *callbacks = search->callbacks;
    bool go_on = !callbacks->token || callbacks->token(callbacks->context, sentence->index, which_sample, id, logprob);
    td_sentence_append(sentence, &search->rules, which, id, logprob, !go_on);
    return TD_OK;
}

static td_status greedy_row(td_search *search, td_sentence *sentence, size_t local, td_score_row row, td_error *error)
{
    size_t end = sentence->rows == 1 && sentence->fresh ? sentence->running_count : local + 1;
    for (size_t path = local; path < end; path++)
        TD_TRY(choose(search, sentence, path, row, error));
    return TD_OK;
}

/* Goes through the rows in blocks of logits, as even as can be: a block of few rows reads the whole output layer for little. When a
 * sentence's last row is through, its paths move on. */
static td_status advance(td_search *search, const step_rows *rows, td_tensor *hidden, int32_t *parents, size_t *ret_parents,
                         td_error *error)
{
    TD_PROFILE(search->recorder, "search selection");
    size_t local = 0, merged = 0, new_rows = 0, first_row = 0, blocks = (rows->count + TD_PROJECTED_ROWS - 1) / TD_PROJECTED_ROWS;
    for (size_t block = 0; block < blocks; block++) {
        size_t start = rows->count * block / blocks, count = rows->count * (block + 1) / blocks - start;
        td_arena_mark mark = td_arena_get_mark(&search->arena);
        td_logits logits;
        size_t wanted = wanted_of(search, rows, start, count);
        if (!td_search_scores(search, hidden, rows->last + start, count, rows->sources + start, wanted, &logits))
            return td_search_failure(search, TD_OK, "output layer", error);
        for (size_t r = 0; r < count; r++) {
            td_sentence *sentence = rows->sentences[start + r];
            size_t sentence_rows = sentence->rows;
            search->rules.vocabulary = sentence->ids; /* its own, whatever its company has */
            td_score_row row;
            TD_TRY(td_search_row(search, &logits, r, &row, error));
            if (search->rules.beams)
                TD_TRY(beam_row(search, sentence, local, row, &merged, error));
            else
                TD_TRY(greedy_row(search, sentence, local, row, error));
            if (++local < sentence_rows)
                continue;
            int32_t *place = parents + new_rows;
            if (search->rules.beams) {
                td_sentence_extend_beams(sentence, &search->rules, search->merged, search->merged_parents, search->merged_logprobs, merged,
                                         place);
                td_ctc_joint_advance(search, sentence, place);
            } else {
                td_sentence_compact(sentence, place);
            }
            for (size_t i = 0; i < sentence->rows; i++)
                place[i] += (int32_t)first_row;
            new_rows += sentence->rows;
            first_row += sentence_rows;
            sentence->fresh = false;
            local = merged = 0;
        }
        td_arena_release_to(&search->arena, mark);
    }
    *ret_parents = new_rows;
    return TD_OK;
}

static td_status reorder(td_search *search, const int32_t *parents, size_t count, size_t old_count, td_error *error)
{
    TD_PROFILE(search->recorder, "reordering");
    bool same = count == old_count;
    for (size_t i = 0; same && i < count; i++)
        same = parents[i] == (int32_t)i;
    return same ? TD_OK : search->network->architecture->reorder(search->state, parents, count, error);
}

static td_status size_results(td_search *search, const td_sentence *sentence, size_t count, bool attention, td_error *error)
{
    size_t tokens = 0;
    for (size_t i = 0; i < count; i++)
        tokens += sentence->finished[i].count;
    if (count > search->hypothesis_capacity) {
        td_hypothesis *hypotheses = td_resize_array(search->hypotheses, count, sizeof *hypotheses);
        if (!hypotheses)
            return td_fail_memory(error, count * sizeof *hypotheses);
        search->hypotheses = hypotheses;
        search->hypothesis_capacity = count;
    }
    if (tokens > search->result_capacity) {
        size_t capacity = 2 * tokens;
        int32_t *ids = td_resize_array(search->result_ids, capacity, sizeof *ids);
        search->result_ids = ids ? ids : search->result_ids;
        td_real *logprobs = td_resize_array(search->result_logprobs, capacity, sizeof *logprobs);
        search->result_logprobs = logprobs ? logprobs : search->result_logprobs;
        if (!ids || !logprobs)
            return td_fail_memory(error, capacity * sizeof *ids);
        search->result_capacity = capacity;
    }
    size_t weights = attention ? tokens * sentence->memory_length : 0;
    if (weights > search->attention_capacity) {
        td_real *place = td_resize_array(search->result_attention, weights, sizeof *place);
        if (!place)
            return td_fail_memory(error, weights * sizeof *place);
        search->result_attention = place;
        search->attention_capacity = weights;
    }
    return TD_OK;
}

/* Samples end in any order and are given back in theirs. */
static void sort_samples(td_sentence *sentence)
{
    for (size_t i = 1; i < sentence->finished_count; i++) {
        td_path path = sentence->finished[i];
        size_t at = i;
        for (; at > 0 && sentence->finished[at - 1].sample > path.sample; at--)
            sentence->finished[at] = sentence->finished[at - 1];
        sentence->finished[at] = path;
    }
}

static void copy_hypothesis(td_search *search, const td_sentence *sentence, const td_path *path, size_t at, bool attention,
                            td_hypothesis *ret_hypothesis)
{
    size_t length = sentence->memory_length, count = path->count - 1;
    for (size_t i = 0; i < count; i++) {
        const td_token *token = &path->tokens[i + 1];
        search->result_ids[at + i] = token->id;
        search->result_logprobs[at + i] = token->logprob;
        if (attention)
            memcpy(search->result_attention + (at + i) * length,
                   sentence->attention + (i * sentence->width + (size_t)token->origin) * length, length * sizeof *search->result_attention);
    }
    *ret_hypothesis = (td_hypothesis){.ids = search->result_ids + at,
                                      .count = count,
                                      .prefix_count = sentence->lengths.prompt - 1,
                                      .score = (double)path->score,
                                      .logprobs = search->result_logprobs + at,
                                      .attention = attention ? search->result_attention + at * length : NULL,
                                      .ended = path->ended};
}

/* Hands over the n-best. A sentence for which the options allowed nothing gets one hypothesis with only its prefix. */
static td_status deliver(td_search *search, td_sentence *sentence, td_error *error)
{
    if (!search->rules.beams)
        sort_samples(sentence);
    if (sentence->finished_count == 0) {
        td_path *path = &sentence->finished[sentence->finished_count++];
        *path = (td_path){.tokens = path->tokens, .count = sentence->lengths.prompt, .score = -1.0e9f};
        for (size_t p = 1; p < path->count; p++)
            path->tokens[p] = (td_token){sentence->prefix[p - 1], 0, 0};
    }
    size_t count = search->rules.generation->num_return_sequences, at = 0;
    count = count < sentence->finished_count ? count : sentence->finished_count;
    bool attention = sentence->attention_positions > 0;
    TD_TRY(size_results(search, sentence, count, attention, error));
    for (size_t i = 0; i < count; i++) {
        copy_hypothesis(search, sentence, &sentence->finished[i], at, attention, &search->hypotheses[i]);
        at += search->hypotheses[i].count;
    }
    td_output output = {count, search->hypotheses, sentence->memory_length};
    return search->callbacks->finished(search->callbacks->context, sentence->index, &output, error);
}

static td_status remove_done(td_search *search, td_error *error)
{
    size_t kept = 0;
    td_status status = TD_OK;
    for (size_t s = 0; s < search->live_count; s++) {
        td_sentence *sentence = search->live[s];
        if (!sentence->done) {
            search->live[kept++] = sentence;
            continue;
        }
        if (status == TD_OK)
            status = deliver(search, sentence, error);
        search->cost -= sentence->cost;
        search->spare[search->spare_count++] = sentence;
    }
    search->live_count = kept;
    return status;
}

static td_status step(td_search *search, td_error *error)
{
    const td_architecture *architecture = search->network->architecture;
    td_search_step(search);
    step_rows rows;
    TD_TRY(feed(search, &rows, error));
    size_t most = 0, count = 0;
    for (size_t s = 0; s < search->live_count; s++)
        most += search->live[s]->width;
    int32_t *parents = td_arena_allocate_array(&search->arena, most, sizeof *parents);
    if (!parents)
        return td_fail_memory(error, most * sizeof *parents);
    td_tensor *hidden = NULL;
    const td_real *attention = NULL;
    bool wants_attention = search->rules.generation->output_attentions;
    td_status status =
        architecture->decode(search->network, &search->graph, search->state, &rows.targets, &hidden, wants_attention ? &attention : NULL);
    if (status != TD_OK || !hidden || !td_graph_ok(&search->graph))
        return td_search_failure(search, status, "decoder", error);
    if (attention)
        TD_TRY(keep_attention(search, attention, error));
    TD_TRY(advance(search, &rows, hidden, parents, &count, error));
    TD_TRY(reorder(search, parents, count, rows.count, error));
    return remove_done(search, error);
}

/* After a failure nothing of this call stays behind. */
static void clear(td_search *search)
{
    while (search->live_count > 0)
        search->spare[search->spare_count++] = search->live[--search->live_count];
    search->cost = 0;
    search->network->architecture->reorder(search->state, NULL, 0, NULL);
}

td_status td_generate(td_search *search, const td_generation *generation, const td_generate_callbacks *callbacks, td_error *error)
{
    TD_TRY(td_rules_init(&search->rules, generation, search->network, error));
    TD_TRY(td_ctc_joint_check(search, error));
    TD_TRY(size_candidates(search, error));
    search->callbacks = callbacks;
    clear(search);
    td_status status = TD_OK;
    while (status == TD_OK) {
        status = refill(search, error);
        if (status != TD_OK || search->live_count == 0)
            break;
        status = td_ctc_is_alone(search) ? td_ctc_alone(search, error) : step(search, error);
    }
    if (status != TD_OK)
        clear(search);
    return status;
}
