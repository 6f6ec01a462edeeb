#include "decoding/ctc_joint.h"

#include <math.h>

#define CHOICES 64 /* labels that a prefix may be extended by at one frame */

td_status td_ctc_joint_check(const td_search *search, td_error *error)
{
    const td_network *network = search->network;
    if (search->rules.generation->ctc_weight == 0)
        return TD_OK;
    if (!td_network_has_ctc(network))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "generation: ctc_weight: this model has no CTC output; set it to 0");
    for (size_t i = 0; i < search->rules.eos_count; i++)
        if ((size_t)search->rules.eos[i] >= network->vocabulary)
            return td_fail(error, TD_ERROR_ARGUMENT, "generation: the end token, id %d, is none of the model's %zu", search->rules.eos[i],
                           network->vocabulary);
    return TD_OK;
}

static td_status start_sentence(td_search *search, td_sentence *sentence, const td_tensor *logits, td_ragged frames, size_t index,
                                td_error *error)
{
    if (!sentence->ctc)
        TD_TRY(td_ctc_scorer_new(&sentence->ctc, error));
    TD_TRY(td_ctc_scorer_start(sentence->ctc, logits->data + (size_t)frames.offsets[index] * logits->stride, logits->stride,
                               td_ragged_length(frames, index), logits->columns, search->network->pad_id, sentence->width, error));
    td_ctc_scorer_ban(sentence->ctc, search->rules.eos, search->rules.eos_count);
    for (size_t p = 1; p < sentence->lengths.prompt; p++) {
        td_ctc_scorer_extend(sentence->ctc, 0, 0, sentence->prefix[p - 1]);
        td_ctc_scorer_turn(sentence->ctc);
    }
    return TD_OK;
}

td_status td_ctc_joint_admit(td_search *search, size_t first, const td_memory *memory, td_error *error)
{
    if (search->rules.generation->ctc_weight == 0)
        return TD_OK;
    td_tensor *logits = td_project_ctc(search->network, &search->graph, memory->states);
    if (!logits)
        return td_search_failure(search, TD_OK, "CTC output", error);
    for (size_t i = 0; i < memory->ragged.count; i++)
        TD_TRY(start_sentence(search, search->live[first + i], logits, memory->ragged, i, error));
    return TD_OK;
}

void td_ctc_joint_row(td_search *search, td_sentence *sentence, size_t row, td_real *scores)
{
    double weight = search->rules.generation->ctc_weight;
    if (weight > 0)
        td_ctc_scorer_mix(sentence->ctc, row, weight, search->rules.eos, search->rules.eos_count, scores);
}

void td_ctc_joint_advance(const td_search *search, td_sentence *sentence, const int32_t *parents)
{
    if (search->rules.generation->ctc_weight == 0 || sentence->done)
        return;
    for (size_t i = 0; i < sentence->rows; i++) {
        const td_path *path = &sentence->running[i];
        td_ctc_scorer_extend(sentence->ctc, i, (size_t)parents[i], path->tokens[path->count - 1].id);
    }
    td_ctc_scorer_turn(sentence->ctc);
}

/* ---- CTC alone ---- */

/* The hypothesis of a labelling, end token included, in the step's memory. */
static td_status make_hypothesis(td_search *search, const td_sentence *sentence, const td_ctc_labelling *labelling,
                                 td_hypothesis *ret_hypothesis, td_error *error)
{
    td_ctc_scorer *scorer = sentence->ctc;
    size_t limit = sentence->lengths.maximum - sentence->lengths.prompt, count = labelling->count < limit ? labelling->count : limit;
    bool ended = count < limit && search->rules.eos_count > 0;
    int32_t *ids = td_arena_allocate_array(&search->arena, count + 1, sizeof *ids);
    td_real *logprobs = td_arena_allocate_array(&search->arena, count + 1, sizeof *logprobs);
    if (!ids || !logprobs)
        return td_fail_memory(error, (count + 1) * sizeof *ids);
    td_ctc_scorer_empty(scorer);
    double score = 0;
    for (size_t i = 0; i < count; i++) {
        double logprob = td_ctc_scorer_extend(scorer, 0, 0, labelling->ids[i]);
        td_ctc_scorer_turn(scorer);
        ids[i] = labelling->ids[i];
        logprobs[i] = (td_real)logprob;
        score += logprob;
    }
    if (ended) {
        ids[count] = search->rules.eos[0];
        logprobs[count] = (td_real)(td_ctc_scorer_whole(scorer, 0) - score);
        score = td_ctc_scorer_whole(scorer, 0);
    }
    *ret_hypothesis = (td_hypothesis){.ids = ids, .count = count + ended, .score = score, .logprobs = logprobs, .ended = ended};
    return TD_OK;
}

static td_status deliver(td_search *search, const td_sentence *sentence, const td_ctc_labelling *labellings, size_t count, td_error *error)
{
    td_hypothesis *hypotheses = td_arena_allocate_array(&search->arena, count, sizeof *hypotheses);
    if (!hypotheses)
        return td_fail_memory(error, count * sizeof *hypotheses);
    for (size_t i = 0; i < count; i++)
        TD_TRY(make_hypothesis(search, sentence, &labellings[i], &hypotheses[i], error));
    td_output output = {count, hypotheses, sentence->memory_length};
    return search->callbacks->finished(search->callbacks->context, sentence->index, &output, error);
}

static td_status read_sentence(td_search *search, const td_sentence *sentence, td_error *error)
{
    const td_generation *generation = search->rules.generation;
    td_ctc_frames frames = td_ctc_scorer_frames(sentence->ctc);
    if (sentence->lengths.prompt > 1)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: CTC alone (ctc_weight 1) takes no prefix_ids");
    if (generation->num_beams == 1) {
        td_ctc_labelling best = {.ids = td_arena_allocate_array(&search->arena, frames.count, sizeof(int32_t))};
        if (!best.ids)
            return td_fail_memory(error, frames.count * sizeof(int32_t));
        best.count = td_ctc_best_path(&frames, best.ids);
        return deliver(search, sentence, &best, 1, error);
    }
    td_ctc_labelling *labellings;
    size_t found, wanted = generation->num_return_sequences;
    TD_TRY(td_ctc_prefix_search(&frames, generation->num_beams, CHOICES, &labellings, &found, error));
    td_status status = deliver(search, sentence, labellings, found < wanted ? found : wanted, error);
    td_ctc_labellings_free(labellings, found);
    return status;
}

td_status td_ctc_alone(td_search *search, td_error *error)
{
    td_status status = search->network->architecture->reorder(search->state, NULL, 0, error);
    for (size_t s = 0; status == TD_OK && s < search->live_count; s++) {
        td_search_step(search);
        status = read_sentence(search, search->live[s], error);
        search->cost -= search->live[s]->cost;
    }
    while (status == TD_OK && search->live_count > 0)
        search->spare[search->spare_count++] = search->live[--search->live_count];
    return status;
}
