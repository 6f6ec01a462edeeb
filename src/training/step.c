#include "training/step.h"

#include "base/array.h"
#include "kernels/gemm.h"
#include "ops/ops.h"
#include "ops/product.h"
#include "training/copy_labels.h"
#include "training/ctc_share.h"

#include <math.h>
#include <string.h>

typedef struct step_worker {
    td_arena arena;
    td_decoder_state *state;
    td_gemm_cache *products;
    td_recorder *recorder;
    td_real *statistics; /* [step_size - trained_size] of the shard in hand */
    td_ids sampled, sampled_target;
    td_local_pieces local; /* of a copying model's pair in hand */
} step_worker;

typedef struct step_shard {
    size_t first, count; /* of the step's pairs */
    td_step_result result;
    td_error error;
    bool refused; /* memory, for the limit */
} step_shard;

struct td_stepper {
    td_step_options options;
    td_pool *pool;
    td_gradient_sums sums; /* turns: one more place, for the statistics */
    size_t *offsets;       /* [weights + 1] */
    uint16_t *rounded;     /* [parameters.size] the weights in bfloat16, made anew each step; NULL in float32 */
    td_rounded_weights rounded_weights;
    void *panels; /* of the output weight, made anew each step; NULL: products have no use for them */
    size_t panel_bytes;
    td_laid_weight laid_weight;
    step_worker *workers; /* [threads]; another stepper's where options.beside is one */
    size_t threads;
    step_shard *shards;
    size_t shard_capacity;
    /* of the step in hand */
    int64_t step;
    const uint64_t *indices;
    size_t shard_count, pair_count;
    bool refused;
    uint64_t target_tokens;
    td_real *gradient;
    double *ctc_losses; /* of each pair of the step */
    size_t ctc_capacity;
};

static td_status worker_init(step_worker *worker, const td_step_options *options, td_error *error)
{
    td_arena_init(&worker->arena);
    worker->recorder = td_recorder_attach(options->network->profile);
    TD_TRY(options->network->architecture->state_new(options->network, &worker->state, error));
    if (options->bfloat16)
        TD_TRY(td_gemm_cache_create(&worker->products, error));
    size_t statistics = options->network->parameters.step_size - options->network->parameters.trained_size;
    worker->statistics = td_allocate_array(statistics, sizeof *worker->statistics);
    return worker->statistics ? TD_OK : td_fail_memory(error, statistics * sizeof(td_real));
}

/* Weights lie in order of declaration, the trained ones first. */
static td_status sums_init(td_stepper *stepper, td_error *error)
{
    const td_parameters *parameters = &stepper->options.network->parameters;
    stepper->offsets = td_allocate_array(parameters->count + 1, sizeof *stepper->offsets);
    if (!stepper->offsets)
        return td_fail_memory(error, (parameters->count + 1) * sizeof *stepper->offsets);
    size_t end = parameters->trained_size;
    stepper->offsets[parameters->count] = end;
    for (size_t i = parameters->count; i-- > 0;) {
        const td_parameter *weight = &parameters->entries[i]->parameter;
        stepper->offsets[i] = end = weight->constant ? end : weight->offset;
    }
    stepper->sums = (td_gradient_sums){.weights = parameters->count, .offsets = stepper->offsets};
    return td_turns_new(parameters->count + 1, &stepper->sums.turns, error);
}

static td_status rounded_init(td_stepper *stepper, td_error *error)
{
    const td_parameters *parameters = &stepper->options.network->parameters;
    stepper->rounded = td_allocate_array(parameters->size, sizeof *stepper->rounded);
    if (!stepper->rounded)
        return td_fail_memory(error, parameters->size * sizeof *stepper->rounded);
    stepper->rounded_weights = (td_rounded_weights){parameters->data, stepper->rounded, parameters->size};
    return TD_OK;
}

td_status td_stepper_new(const td_step_options *options, td_pool *pool, td_stepper **ret_stepper, td_error *error)
{
    td_stepper *stepper = td_allocate_array(1, sizeof *stepper);
    if (!stepper)
        return td_fail_memory(error, sizeof *stepper);
    stepper->options = *options;
    bool fits = !options->network->copies || td_tokenizer_size(options->tokenizer) == options->network->vocabulary;
    stepper->pool = pool;
    stepper->threads = td_pool_threads(pool);
    stepper->workers = options->beside ? options->beside->workers : td_allocate_array(stepper->threads, sizeof *stepper->workers);
    td_status status = stepper->workers ? sums_init(stepper, error) : td_fail_memory(error, sizeof(step_worker));
    if (status == TD_OK && !fits)
        status = td_fail(error, TD_ERROR_ARGUMENT, "a copying model of %zu words has a tokenizer of %zu", options->network->vocabulary,
                         td_tokenizer_size(options->tokenizer));
    for (size_t i = 0; status == TD_OK && !options->beside && i < stepper->threads; i++)
        status = worker_init(&stepper->workers[i], options, error);
    if (status == TD_OK && options->bfloat16)
        status = rounded_init(stepper, error);
    if (status != TD_OK) {
        td_stepper_free(stepper);
        return status;
    }
    *ret_stepper = stepper;
    return TD_OK;
}

void td_stepper_free(td_stepper *stepper)
{
    if (!stepper)
        return;
    bool own = stepper->workers && !stepper->options.beside;
    for (size_t i = 0; own && i < stepper->threads; i++) {
        step_worker *worker = &stepper->workers[i];
        td_arena_free(&worker->arena);
        td_recorder_release(worker->recorder);
        if (worker->state)
            stepper->options.network->architecture->state_free(worker->state);
        td_gemm_cache_free(worker->products);
        td_release(worker->statistics);
        td_ids_free(&worker->sampled);
        td_ids_free(&worker->sampled_target);
        td_local_pieces_free(&worker->local);
    }
    if (own)
        td_release(stepper->workers);
    td_release(stepper->shards);
    td_release(stepper->ctc_losses);
    td_release(stepper->rounded);
    td_release_aligned(stepper->panels);
    td_release(stepper->offsets);
    td_turns_free(stepper->sums.turns);
    td_release(stepper);
}

size_t td_stepper_peak_memory(const td_stepper *stepper)
{
    size_t bytes = stepper->panel_bytes;
    bytes += stepper->rounded ? stepper->rounded_weights.size * sizeof *stepper->rounded : 0;
    for (size_t i = 0; i < stepper->threads; i++)
        bytes += stepper->workers[i].arena.peak;
    return bytes;
}

void td_stepper_limit_memory(td_stepper *stepper, size_t bytes)
{
    size_t share = bytes / stepper->threads;
    for (size_t i = 0; i < stepper->threads; i++)
        stepper->workers[i].arena.limit = share ? share : 1;
}

bool td_stepper_refused(const td_stepper *stepper)
{
    return stepper->refused;
}

/* ---- one shard ---- */

typedef struct step_sides {
    int32_t *source_offsets, *target_offsets;
    int32_t *source, *target_in, *target_out;
    td_real *features; /* in the place of source, for sound and pictures */
    int32_t *copied;   /* `source` before words were dropped */
    td_real *weights;  /* of target tokens; NULL: all alike */
    size_t source_length, target_length, width;
} step_sides;

static td_batch source_batch(const step_sides *sides, size_t rows)
{
    return (td_batch){.ragged = {rows, sides->source_offsets}, .ids = sides->source, .features = sides->features, .width = sides->width};
}

/* Room for a sampled segmentation, which is longer than the plain one: a token a byte. Normalization may make more bytes of few (one
 * ligature, eighteen letters), so it is checked. */
static size_t bound_of(size_t length, size_t bytes)
{
    return length + bytes + 2;
}

static td_status sample_pair(const td_step_options *options, step_worker *worker, const td_pair *pair, td_random *random, td_error *error)
{
    size_t limit = options->max_source_length, cut;
    if (options->network->copies)
        return td_copy_encode_pair(options->tokenizer, pair->source_text, pair->source_bytes, pair->target_text, pair->target_bytes,
                                   options->bpe_dropout, random, &worker->local, limit, &worker->sampled, &worker->sampled_target, &cut,
                                   error);
    if (!pair->features)
        TD_TRY(td_tokenizer_encode_sampled(options->tokenizer, TD_SOURCE, pair->source_text, pair->source_bytes, options->bpe_dropout,
                                           random, &worker->sampled, error));
    td_cut_source(&worker->sampled, limit);
    return td_tokenizer_encode_sampled(options->tokenizer, TD_TARGET, pair->target_text, pair->target_bytes, options->bpe_dropout, random,
                                       &worker->sampled_target, error);
}

/* The ids of a pair, segmented anew when sampling is on. */
static td_status pair_ids(td_stepper *stepper, step_worker *worker, uint64_t index, td_pair *pair, td_error *error)
{
    const td_step_options *options = &stepper->options;
    *pair = td_corpus_get(options->corpus, index);
    if (options->bpe_dropout <= 0 || !stepper->gradient)
        return TD_OK;
    td_random random = {td_random_key(options->seed, (uint64_t)stepper->step, td_mix64(index)), 0};
    td_ids_clear(&worker->sampled);
    td_ids_clear(&worker->sampled_target);
    TD_TRY(sample_pair(options, worker, pair, &random, error));
    size_t source = worker->sampled.length, target = worker->sampled_target.length, limit = options->network->max_positions;
    bool fits = source <= bound_of(pair->source_length, pair->source_bytes) && target <= bound_of(pair->target_length, pair->target_bytes);
    if (fits && (!limit || (source <= limit && target <= limit))) { /* else keep the plain segmentation */
        if (!pair->features) {
            pair->source = worker->sampled.data;
            pair->source_length = source;
        }
        pair->target = worker->sampled_target.data;
        pair->target_length = target;
    }
    return TD_OK;
}

static void drop_words(const td_stepper *stepper, uint64_t index, int32_t *ids, size_t count)
{
    int32_t unknown = td_tokenizer_unknown_id(stepper->options.tokenizer);
    td_random random = {td_random_key(stepper->options.seed ^ 0xd209, (uint64_t)stepper->step, index), 0};
    for (size_t i = 0; unknown >= 0 && i + 1 < count; i++) /* the end token stays */
        if (td_random_uniform(&random) < stepper->options.word_dropout && !td_tokenizer_is_special(stepper->options.tokenizer, ids[i]))
            ids[i] = unknown;
}

static td_status append_features(td_stepper *stepper, uint64_t index, const td_pair *pair, step_sides *sides, td_error *error)
{
    const td_mask_policy *masks = &stepper->options.masks;
    td_features rows = {sides->features + sides->source_length * sides->width, pair->source_length, sides->width};
    memcpy(rows.data, pair->features, rows.rows * rows.width * sizeof *rows.data);
    if (!stepper->gradient || masks->time_masks + masks->frequency_masks == 0)
        return TD_OK;
    td_random random = {td_random_key(stepper->options.seed ^ 0x57ec, (uint64_t)stepper->step, index), 0};
    return td_mask_features(masks, &random, &rows, error);
}

/* mBART is trained with the targets turned by one: their last token, the language, is what the decoder starts with. */
static int32_t decoder_start(const td_stepper *stepper, const td_pair *pair)
{
    int32_t start = stepper->options.network->decoder_start_id;
    bool turned = td_tokenizer_language_use(stepper->options.tokenizer) == TD_LANGUAGE_STARTS;
    return turned || start < 0 ? pair->target[pair->target_length - 1] : start;
}

/* The first copies of a shard's pairs have the candidates for targets; the last one has the pairs' own. */
static void use_candidate(const td_stepper *stepper, const step_shard *shard, size_t row, td_pair *pair, step_sides *sides)
{
    const td_step_options *options = &stepper->options;
    size_t samples = td_candidates_samples(options->candidates), sample = row / shard->count;
    td_real weight = (td_real)(1 - options->risk_weight);
    if (sample < samples) {
        td_candidate_target candidate = td_candidates_get(options->candidates, shard->first + row % shard->count, sample);
        pair->target = candidate.ids;
        pair->target_length = candidate.length;
        weight = (td_real)(options->risk_weight / (double)samples) * candidate.advantage;
    }
    for (size_t i = 0; i < pair->target_length; i++)
        sides->weights[sides->target_length + i] = weight;
}

static td_status append_pair(td_stepper *stepper, step_worker *worker, const step_shard *shard, size_t row, step_sides *sides,
                             td_error *error)
{
    td_pair pair;
    uint64_t index = stepper->indices[shard->first + row % shard->count];
    TD_TRY(pair_ids(stepper, worker, index, &pair, error));
    if (pair.features)
        TD_TRY(append_features(stepper, index, &pair, sides, error));
    else
        memcpy(sides->source + sides->source_length, pair.source, pair.source_length * sizeof *pair.source);
    if (sides->copied)
        memcpy(sides->copied + sides->source_length, pair.source, pair.source_length * sizeof *pair.source);
    if (!pair.features && stepper->gradient && stepper->options.word_dropout > 0)
        drop_words(stepper, index, sides->source + sides->source_length, pair.source_length);
    sides->target_in[sides->target_length] = decoder_start(stepper, &pair);
    if (sides->weights)
        use_candidate(stepper, shard, row, &pair, sides);
    memcpy(sides->target_in + sides->target_length + 1, pair.target, (pair.target_length - 1) * sizeof *pair.target);
    memcpy(sides->target_out + sides->target_length, pair.target, pair.target_length * sizeof *pair.target);
    sides->source_length += pair.source_length;
    sides->target_length += pair.target_length;
    sides->source_offsets[row + 1] = (int32_t)sides->source_length;
    sides->target_offsets[row + 1] = (int32_t)sides->target_length;
    return TD_OK;
}

static bool uses_candidates(const td_stepper *stepper)
{
    return stepper->options.candidates && stepper->gradient;
}

/* How often each pair is in the step. */
static size_t copies_of(const td_stepper *stepper)
{
    if (uses_candidates(stepper))
        return td_candidates_samples(stepper->options.candidates) + (stepper->options.risk_weight < 1);
    return stepper->gradient && stepper->options.r_drop > 0 ? 2 : 1;
}

/* Upper bounds of the tokens of a shard, all copies together. */
static void bound_tokens(const td_stepper *stepper, const step_shard *shard, size_t copies, size_t *ret_source, size_t *ret_target)
{
    *ret_source = *ret_target = 0;
    for (size_t i = 0; i < shard->count; i++) {
        td_pair pair = td_corpus_get(stepper->options.corpus, stepper->indices[shard->first + i]);
        *ret_source += copies * (pair.features ? pair.source_length : bound_of(pair.source_length, pair.source_bytes));
        *ret_target += copies * bound_of(pair.target_length, pair.target_bytes);
        for (size_t k = 0; uses_candidates(stepper) && k < td_candidates_samples(stepper->options.candidates); k++)
            *ret_target += td_candidates_get(stepper->options.candidates, shard->first + i, k).length;
    }
}

static td_status gather_shard(td_stepper *stepper, step_worker *worker, td_graph *graph, step_shard *shard, size_t copies,
                              step_sides *sides)
{
    size_t source, target, rows = shard->count * copies;
    bound_tokens(stepper, shard, copies, &source, &target);
    sides->source_offsets = td_graph_allocate(graph, rows + 1, sizeof(int32_t));
    sides->target_offsets = td_graph_allocate(graph, rows + 1, sizeof(int32_t));
    sides->width = stepper->options.corpus->feature_width;
    if (sides->width)
        sides->features = td_graph_allocate(graph, source, sides->width * sizeof(td_real));
    else
        sides->source = td_graph_allocate(graph, source, sizeof(int32_t));
    if (stepper->options.network->copies)
        sides->copied = td_graph_allocate(graph, source, sizeof(int32_t));
    sides->target_in = td_graph_allocate(graph, target, sizeof(int32_t));
    sides->target_out = td_graph_allocate(graph, target, sizeof(int32_t));
    if (uses_candidates(stepper))
        sides->weights = td_graph_allocate(graph, target, sizeof *sides->weights);
    if (!td_graph_ok(graph))
        return graph->error.status;
    sides->source_offsets[0] = sides->target_offsets[0] = 0;
    for (size_t row = 0; row < rows; row++)
        TD_TRY(append_pair(stepper, worker, shard, row, sides, &graph->error));
    return TD_OK;
}

/* ---- scheduled sampling ---- */

static double sampling_rate(const td_stepper *stepper)
{
    double rate = stepper->options.scheduled_sampling, last = (double)stepper->options.max_steps, at = (double)stepper->step;
    return stepper->gradient ? rate * (last > 0 && at < last ? at / last : 1) : 0;
}

static void choose_best(const td_tensor *logits, int32_t *best)
{
    for (size_t row = 0; row < logits->rows; row++) {
        const td_real *values = logits->data + row * logits->stride;
        size_t at = 0;
        for (size_t i = 1; i < logits->columns; i++)
            at = values[i] > values[at] ? i : at;
        best[row] = (int32_t)at;
    }
}

/* The most probable token at every target position, the targets given: a pass without dropout or gradients. */
static void predict(td_stepper *stepper, step_worker *worker, td_graph *graph, const td_batch *source, const td_batch *target,
                    const td_copy_source *rows, int32_t *best)
{
    enum { BLOCK = 128 };
    const td_network *network = stepper->options.network;
    const td_architecture *architecture = network->architecture;
    td_memory memory;
    td_tensor *hidden;
    if (architecture->encode(network, graph, source, &memory) != TD_OK ||
        architecture->begin(network, graph, &memory, worker->state) != TD_OK ||
        architecture->decode(network, graph, worker->state, target, &hidden, NULL) != TD_OK)
        return;
    td_copying copying = td_network_copying(network, worker->state);
    for (size_t first = 0; first < hidden->rows; first += BLOCK) {
        td_arena_mark mark = td_arena_get_mark(graph->arena);
        size_t count = hidden->rows - first < BLOCK ? hidden->rows - first : BLOCK, extended = 0;
        int32_t index[BLOCK];
        for (size_t i = 0; i < count; i++) {
            index[i] = (int32_t)(first + i);
            size_t own = rows ? td_extended_count(network, &rows[first + i]) : 0;
            extended = own > extended ? own : extended;
        }
        td_tensor *logits = td_next_scores(network, graph, hidden, &copying, index, count, rows ? rows + first : NULL, extended);
        if (!logits)
            return;
        choose_best(logits, best + first);
        td_arena_release_to(graph->arena, mark);
    }
}

/* Puts predictions in the place of gold inputs (Bengio 2015), all positions at once (Mihaylova, Martins 2019): what the model predicts
 * for position t is what position t + 1 may be fed. */
static void mix_predictions(td_stepper *stepper, step_worker *worker, td_graph *graph, const step_shard *shard, step_sides *sides,
                            size_t rows)
{
    double rate = sampling_rate(stepper);
    int32_t *best = rate > 0 ? td_graph_allocate(graph, sides->target_length, sizeof *best) : NULL;
    if (!best)
        return;
    td_batch source = source_batch(sides, rows);
    td_batch target = {.ragged = {rows, sides->target_offsets}, .ids = sides->target_in};
    td_arena_mark mark = td_arena_get_mark(graph->arena);
    td_graph first_pass;
    td_graph_begin(&first_pass, graph->arena, true); /* recording, so that the decoder keeps no cache; no gradient is asked for */
    first_pass.products = graph->products;
    first_pass.recorder = graph->recorder;
    first_pass.rounded_weights = graph->rounded_weights;
    td_copy_source *copied = sides->copied ? td_copy_rows(&first_pass, sides->copied, source.ragged, target.ragged) : NULL;
    predict(stepper, worker, &first_pass, &source, &target, copied, best);
    graph->error = first_pass.error;
    td_arena_release_to(graph->arena, mark);
    for (size_t row = 0; td_graph_ok(graph) && row < rows; row++) {
        uint64_t index = stepper->indices[shard->first + row % shard->count];
        td_random random = {td_random_key(stepper->options.seed ^ 0x5a3b, (uint64_t)stepper->step, index), 0};
        for (int32_t at = sides->target_offsets[row] + 1; at < sides->target_offsets[row + 1]; at++)
            if (td_random_uniform(&random) < rate)
                sides->target_in[at] = best[at - 1];
    }
}

/* Adds CTC's share to the result. */
static bool add_ctc(td_stepper *stepper, td_graph *graph, const step_shard *shard, const td_memory *memory, const step_sides *sides,
                    size_t rows, td_step_result *result)
{
    double weight = stepper->options.ctc_weight, *losses = td_graph_allocate(graph, rows, sizeof *losses);
    td_ragged targets = {rows, sides->target_offsets};
    td_tensor *loss = losses ? td_ctc_share(stepper->options.network, graph, memory, sides->target_out, targets,
                                            weight / (double)stepper->target_tokens, losses)
                             : NULL;
    if (!loss)
        return false;
    memcpy(stepper->ctc_losses + shard->first, losses, shard->count * sizeof *losses); /* a second copy has the same lengths */
    result->loss = weight * (double)loss->data[0];
    result->nll = (double)loss->data[0]; /* the decoder's, where one is trained, takes its place */
    return true;
}

static void forward_backward(td_stepper *stepper, step_worker *worker, td_graph *graph, const step_shard *shard, const step_sides *sides,
                             size_t rows, td_step_result *result)
{
    const td_step_options *options = &stepper->options;
    const td_architecture *architecture = options->network->architecture;
    td_batch source = source_batch(sides, rows);
    td_batch target = {.ragged = {rows, sides->target_offsets}, .ids = sides->target_in};
    td_memory memory;
    td_tensor *hidden;
    result->source_tokens = sides->source_length;
    result->target_tokens = sides->target_length;
    if (architecture->encode(options->network, graph, &source, &memory) != TD_OK)
        return;
    if (options->ctc_weight > 0 && !add_ctc(stepper, graph, shard, &memory, sides, rows, result))
        return;
    if (options->ctc_weight == 1) {
        if (stepper->gradient)
            td_backward(graph, NULL, 0, NULL);
        return;
    }
    if (architecture->begin(options->network, graph, &memory, worker->state) != TD_OK ||
        architecture->decode(options->network, graph, worker->state, &target, &hidden, NULL) != TD_OK)
        return;
    td_projection projection = architecture->projection(options->network);
    if (projection.scale != 0 && projection.scale != 1)
        hidden = td_scale(graph, hidden, projection.scale);
    td_cross_entropy_options loss_options = {.label_smoothing = (td_real)options->label_smoothing,
                                             .gradient_scale = (td_real)((1 - options->ctc_weight) / (double)stepper->target_tokens),
                                             .r_drop = stepper->gradient ? (td_real)options->r_drop : 0,
                                             .weights = sides->weights};
    td_copying copying = td_network_copying(options->network, worker->state);
    td_copy_loss copy = {copying.weights, copying.gate, NULL};
    if (sides->copied) {
        copy.sources = td_copy_rows(graph, sides->copied, source.ragged, target.ragged);
        loss_options.copy = &copy;
    }
    td_tensor *overlap = NULL;
    if (stepper->gradient && options->coverage_loss > 0)
        overlap = td_coverage_loss(graph, copying.weights, target.ragged, (td_real)options->coverage_loss * loss_options.gradient_scale);
    td_tensor *spread = NULL;
    if (stepper->gradient && options->doubly_stochastic > 0)
        spread = copying.weights
                     ? td_doubly_stochastic_loss(graph, copying.weights, target.ragged, memory.ragged,
                                                 (td_real)options->doubly_stochastic * loss_options.gradient_scale)
                     : td_graph_fail(graph, TD_ERROR_UNSUPPORTED, "training.doubly_stochastic: this model has no such attention");
    td_tensor *loss = td_projected_cross_entropy(graph, hidden, td_graph_parameter(graph, projection.weight),
                                                 projection.bias ? td_graph_parameter(graph, projection.bias) : NULL, sides->target_out,
                                                 &loss_options, &result->nll);
    if (!loss)
        return;
    result->loss += (1 - options->ctc_weight) * ((double)loss->data[0] + (overlap ? options->coverage_loss * (double)overlap->data[0] : 0) +
                                                 (spread ? options->doubly_stochastic * (double)spread->data[0] : 0));
    if (stepper->gradient)
        td_backward(graph, NULL, 0, NULL);
}

/* In order of index, as the sums of the weights. */
static void add_statistics(td_stepper *stepper, const step_worker *worker, size_t index)
{
    const td_parameters *parameters = &stepper->options.network->parameters;
    size_t first = parameters->trained_size, count = parameters->step_size - first, place = stepper->sums.weights;
    if (!count)
        return;
    td_turns_wait(stepper->sums.turns, place, index);
    if (index == 0)
        memcpy(stepper->gradient + first, worker->statistics, count * sizeof *worker->statistics);
    else
        td_kernels_get()->add(stepper->gradient + first, worker->statistics, count);
    td_turns_done(stepper->sums.turns, place);
}

static void prepare_sums(td_stepper *stepper, step_worker *worker, td_graph *graph, size_t index)
{
    const td_parameters *parameters = &stepper->options.network->parameters;
    graph->gradients = worker->statistics;
    graph->gradients_begin = parameters->trained_size;
    memset(worker->statistics, 0, (parameters->step_size - parameters->trained_size) * sizeof *worker->statistics);
    td_graph_sum_begin(graph, &stepper->sums, index);
}

static void compute_shard(void *context, size_t index, size_t thread)
{
    td_stepper *stepper = context;
    step_worker *worker = &stepper->workers[thread];
    step_shard *shard = &stepper->shards[index];
    size_t copies = copies_of(stepper);
    td_graph graph;
    td_graph_begin(&graph, &worker->arena, true);
    graph.training = stepper->gradient != NULL;
    graph.share = (td_real)((double)shard->count / (double)stepper->pair_count);
    graph.products = stepper->options.bfloat16 ? worker->products : NULL;
    graph.recorder = worker->recorder;
    graph.rounded_weights = stepper->rounded ? &stepper->rounded_weights : NULL;
    graph.laid_weight = stepper->panels && stepper->gradient ? &stepper->laid_weight : NULL;
    graph.dropout_key = td_random_key(stepper->options.seed, (uint64_t)stepper->step, index);
    if (stepper->gradient)
        prepare_sums(stepper, worker, &graph, index);
    step_sides sides = {0};
    if (gather_shard(stepper, worker, &graph, shard, copies, &sides) == TD_OK)
        mix_predictions(stepper, worker, &graph, shard, &sides, shard->count * copies);
    if (td_graph_ok(&graph))
        forward_backward(stepper, worker, &graph, shard, &sides, shard->count * copies, &shard->result);
    shard->error = graph.error;
    shard->refused = worker->arena.refused;
    if (stepper->gradient) {
        td_graph_sum_finish(&graph);
        add_statistics(stepper, worker, index);
    }
    td_arena_reset(&worker->arena);
}

static void run_shard(void *context, size_t index, size_t thread)
{
    td_stepper *stepper = context;
    TD_PROFILE(stepper->workers[thread].recorder, "other");
    compute_shard(context, index, thread);
}

/* ---- the step ---- */

/* Contiguous runs of about equal target tokens. */
static td_status cut_shards(td_stepper *stepper, size_t count, td_error *error)
{
    size_t wanted = stepper->options.shards < count ? stepper->options.shards : count;
    TD_TRY(td_reserve_array(&stepper->shards, &stepper->shard_capacity, wanted, sizeof *stepper->shards, error));
    uint64_t total = 0, passed = 0;
    size_t source, target, next = 0;
    for (size_t i = 0; i < count; i++) {
        td_corpus_lengths(stepper->options.corpus, stepper->indices[i], &source, &target);
        total += target;
    }
    for (size_t i = 0; i < wanted; i++) {
        size_t first = next;
        do {
            td_corpus_lengths(stepper->options.corpus, stepper->indices[next++], &source, &target);
            passed += target;
        } while (next < count - (wanted - 1 - i) && (i + 1 == wanted || passed * wanted < total * (i + 1)));
        stepper->shards[i] = (step_shard){.first = first, .count = next - first};
    }
    stepper->shard_count = wanted;
    stepper->target_tokens = total;
    return TD_OK;
}

td_status td_stepper_largest_shard(td_stepper *stepper, const uint64_t *indices, size_t count, double *ret_size, td_error *error)
{
    const double even = 1000; /* tokens of a pair at which the two are about alike */
    double most = 0;
    stepper->indices = indices;
    TD_TRY(cut_shards(stepper, count, error));
    for (size_t i = 0; i < stepper->shard_count; i++) {
        double size = 0;
        for (size_t k = 0; k < stepper->shards[i].count; k++) {
            size_t source, target;
            td_corpus_lengths(stepper->options.corpus, indices[stepper->shards[i].first + k], &source, &target);
            double tokens = (double)(source + target);
            size += tokens * (1 + tokens / even);
        }
        most = size > most ? size : most;
    }
    *ret_size = most;
    return TD_OK;
}

static td_status reserve_ctc(td_stepper *stepper, size_t count, td_error *error)
{
    if (stepper->options.ctc_weight <= 0)
        return TD_OK;
    return td_reserve_array(&stepper->ctc_losses, &stepper->ctc_capacity, count, sizeof *stepper->ctc_losses, error);
}

static void report_unaligned(const td_stepper *stepper, size_t count)
{
    const td_step_options *options = &stepper->options;
    if (options->ctc_weight <= 0 || !options->unaligned || !stepper->gradient || stepper->step == 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (stepper->ctc_losses[i] == INFINITY)
            options->unaligned(options->unaligned_context, stepper->indices[i]);
}

/* Any thread may take the largest shard next time. */
static void even_arenas(td_stepper *stepper)
{
    size_t peak = 0;
    for (size_t i = 0; i < stepper->threads; i++)
        peak = stepper->workers[i].arena.peak > peak ? stepper->workers[i].arena.peak : peak;
    for (size_t i = 0; i < stepper->threads; i++)
        td_arena_expect(&stepper->workers[i].arena, peak);
}

/* Shards were divided by the tokens of the plain segmentation, known before any of them ran. */
static void divide_by_tokens_seen(td_stepper *stepper, uint64_t seen)
{
    td_real factor = (td_real)((double)stepper->target_tokens / (double)seen);
    size_t count = stepper->options.network->parameters.trained_size;
    if (!stepper->gradient || seen == stepper->target_tokens)
        return;
    for (size_t i = 0; i < count; i++)
        stepper->gradient[i] *= factor;
}

/* ---- weights in the form that products take, for all shards ---- */

typedef struct weight_parts {
    td_stepper *stepper;
    const td_panel_kernels *kernels;
    const td_parameter *weight;
} weight_parts;

enum { ROUNDED_PART = 1 << 18, LAID_PART = 16 * TD_PANEL_COLUMNS };

static void round_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    const td_stepper *stepper = ((weight_parts *)context)->stepper;
    size_t first = index * ROUNDED_PART, size = stepper->rounded_weights.size;
    td_kernels_get()->to_bfloat16(stepper->rounded + first, stepper->rounded_weights.data + first,
                                  size - first < ROUNDED_PART ? size - first : ROUNDED_PART);
}

static void lay_part(void *context, size_t index, size_t thread)
{
    (void)thread;
    const weight_parts *parts = context;
    const td_parameter *weight = parts->weight;
    const td_stepper *stepper = parts->stepper;
    size_t first = index * LAID_PART, count = weight->rows - first < LAID_PART ? weight->rows - first : LAID_PART, inner = weight->columns;
    const void *data = stepper->rounded ? (const void *)(stepper->rounded + weight->offset + first * inner) : weight->data + first * inner;
    parts->kernels->pack((char *)stepper->panels + parts->kernels->bytes(inner, first), (td_panel_matrix){data, inner, true}, inner, count);
}

/* The output weight is multiplied by every block of rows of every shard; only where it is trained is that worth the memory. */
static td_status lay_output_weight(td_stepper *stepper, td_error *error)
{
    const td_step_options *options = &stepper->options;
    const td_panel_kernels *kernels =
        stepper->rounded ? td_gemm_cache_panels(stepper->workers[0].products) : td_panels_float32(td_kernels_get()->isa);
    if (!stepper->gradient || options->ctc_weight == 1 || !kernels)
        return TD_OK;
    const td_parameter *weight = options->network->architecture->projection(options->network).weight;
    if (weight->columns % kernels->group != 0)
        return TD_OK;
    stepper->panel_bytes = kernels->bytes(weight->columns, weight->rows);
    if (!stepper->panels)
        stepper->panels = td_allocate_aligned(stepper->panel_bytes);
    if (!stepper->panels)
        return td_fail_memory(error, stepper->panel_bytes);
    stepper->laid_weight = (td_laid_weight){weight->data, stepper->panels};
    weight_parts parts = {stepper, kernels, weight};
    td_pool_run(stepper->pool, (weight->rows + LAID_PART - 1) / LAID_PART, lay_part, &parts);
    return TD_OK;
}

static td_status prepare_weights(td_stepper *stepper, td_error *error)
{
    weight_parts parts = {.stepper = stepper};
    if (stepper->rounded)
        td_pool_run(stepper->pool, (stepper->rounded_weights.size + ROUNDED_PART - 1) / ROUNDED_PART, round_part, &parts);
    return lay_output_weight(stepper, error);
}

/* Between weights lie numbers that align them, to which no graph adds. */
static void clear_gaps(const td_stepper *stepper)
{
    const td_parameters *parameters = &stepper->options.network->parameters;
    for (size_t i = 0; stepper->gradient && i < parameters->count; i++) {
        const td_parameter *weight = &parameters->entries[i]->parameter;
        size_t end = stepper->offsets[i] + weight->rows * weight->columns;
        if (!weight->constant)
            memset(stepper->gradient + end, 0, (stepper->offsets[i + 1] - end) * sizeof *stepper->gradient);
    }
}

td_status td_stepper_run(td_stepper *stepper, int64_t step, const uint64_t *indices, size_t count, td_real *gradient,
                         td_step_result *ret_result, td_error *error)
{
    stepper->step = step;
    stepper->indices = indices;
    stepper->pair_count = count;
    stepper->gradient = gradient;
    stepper->refused = false;
    TD_TRY(cut_shards(stepper, count, error));
    TD_TRY(reserve_ctc(stepper, count, error));
    stepper->target_tokens *= copies_of(stepper); /* all count */
    double score = 0;
    if (uses_candidates(stepper))
        TD_TRY(td_candidates_draw(stepper->options.candidates, step, indices, count, &score, error));
    td_turns_reset(stepper->sums.turns);
    stepper->sums.sums = gradient;
    clear_gaps(stepper);
    TD_TRY(prepare_weights(stepper, error));
    td_pool_run(stepper->pool, stepper->shard_count, run_shard, stepper);
    even_arenas(stepper);
    td_step_result result = {0};
    for (size_t i = 0; i < stepper->shard_count; i++) {
        const step_shard *shard = &stepper->shards[i];
        if (shard->error.status != TD_OK) {
            stepper->refused = shard->refused;
            if (error)
                *error = shard->error;
            return shard->error.status;
        }
        result.loss += shard->result.loss;
        result.nll += shard->result.nll;
        result.source_tokens += shard->result.source_tokens;
        result.target_tokens += shard->result.target_tokens;
    }
    divide_by_tokens_seen(stepper, result.target_tokens);
    report_unaligned(stepper, count);
    if (uses_candidates(stepper))
        result.loss = -score * (double)result.target_tokens;
    *ret_result = result;
    return TD_OK;
}
