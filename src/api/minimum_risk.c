#include "api/minimum_risk.h"

#include "tandem/metrics.h"

#include <math.h>
#include <string.h>

/* Probabilities of a beam's candidates count to this power: they are far apart because sums of log-probabilities are, and a few candidates
 * say little about how much of the distribution each stands for. */
#define BEAM_POWER 0.3

typedef td_status (*td_agreement)(const char *candidate, const char *other, double *ret_agreement, td_error *error);

static td_status agree_bleu(const char *candidate, const char *other, double *ret_agreement, td_error *error)
{
    td_bleu_options options = TD_BLEU_OPTIONS_INIT;
    options.smoothing = TD_SMOOTHING_ADD_K; /* a sentence without a common 4-gram is not worthless */
    td_bleu_result result;
    const char *const *references[] = {&other};
    TD_TRY(td_bleu(&options, &candidate, references, 1, 1, &result, error));
    *ret_agreement = result.score;
    return TD_OK;
}

static td_status agree_chrf(const char *candidate, const char *other, double *ret_agreement, td_error *error)
{
    const char *const *references[] = {&other};
    return td_chrf(NULL, &candidate, references, 1, 1, ret_agreement, error);
}

static td_status agree_rouge(const char *candidate, const char *other, double *ret_agreement, td_error *error)
{
    td_rouge_result result;
    const char *const *references[] = {&other};
    TD_TRY(td_rouge(NULL, &candidate, references, 1, 1, &result, error));
    *ret_agreement = (result.rouge1.f + result.rouge2.f + result.rougeL.f) / 3;
    return TD_OK;
}

static td_status agree_errors(bool characters, const char *candidate, const char *other, double *ret_agreement, td_error *error)
{
    td_error_rate_options options = TD_ERROR_RATE_OPTIONS_INIT;
    options.characters = characters;
    td_error_rate_result result;
    TD_TRY(td_error_rate(&options, &candidate, &other, 1, &result, error));
    *ret_agreement = -(double)(result.substitutions + result.deletions + result.insertions);
    return TD_OK;
}

static td_status agree_wer(const char *candidate, const char *other, double *ret_agreement, td_error *error)
{
    return agree_errors(false, candidate, other, ret_agreement, error);
}

static td_status agree_cer(const char *candidate, const char *other, double *ret_agreement, td_error *error)
{
    return agree_errors(true, candidate, other, ret_agreement, error);
}

static td_agreement find_agreement(const char *metric)
{
    static const struct {
        const char *name;
        td_agreement agreement;
    } metrics[] = {{"bleu", agree_bleu}, {"chrf", agree_chrf}, {"rouge", agree_rouge}, {"wer", agree_wer}, {"cer", agree_cer}};
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (strcmp(metrics[i].name, metric) == 0)
            return metrics[i].agreement;
    return NULL;
}

bool td_minimum_risk_known(const char *metric)
{
    return find_agreement(metric) != NULL;
}

static double sum_of_logprobs(const td_result_output *output)
{
    double sum = 0;
    for (size_t i = 0; i < output->count; i++)
        sum += output->logprobs[i];
    return sum;
}

/* Samples come as often as they are probable; a beam's candidates come once each. */
static void weigh(const td_result_input *input, bool sampled, double *weights)
{
    double largest = -INFINITY;
    for (size_t i = 0; i < input->output_count; i++) {
        weights[i] = sampled ? 0 : BEAM_POWER * sum_of_logprobs(&input->outputs[i]);
        largest = fmax(largest, weights[i]);
    }
    for (size_t i = 0; i < input->output_count; i++)
        weights[i] = exp(weights[i] - largest);
}

static td_status agree(const td_result_input *input, td_agreement agreement, const double *weights, double *totals, td_error *error)
{
    for (size_t i = 0; i < input->output_count; i++) {
        totals[i] = 0;
        for (size_t j = 0; j < input->output_count; j++) {
            double one;
            TD_TRY(agreement(input->outputs[i].text, input->outputs[j].text, &one, error));
            totals[i] += weights[j] * one;
        }
    }
    return TD_OK;
}

/* Insertion, so that of equals the more probable one stays in front. */
static void order(td_result_input *input, double *totals)
{
    for (size_t i = 1; i < input->output_count; i++) {
        td_result_output output = input->outputs[i];
        double total = totals[i];
        size_t place = i;
        for (; place > 0 && totals[place - 1] < total; place--) {
            input->outputs[place] = input->outputs[place - 1];
            totals[place] = totals[place - 1];
        }
        input->outputs[place] = output;
        totals[place] = total;
    }
}

td_status td_minimum_risk_choose(const td_request *request, td_result *result, size_t index, td_error *error)
{
    td_result_input *input = &result->inputs[index];
    if (!request->options.minimum_risk || input->output_count < 2)
        return TD_OK;
    double *numbers = td_allocate_array(2 * input->output_count, sizeof *numbers);
    if (!numbers)
        return td_fail_memory(error, 2 * input->output_count * sizeof *numbers);
    double *weights = numbers, *totals = numbers + input->output_count;
    weigh(input, request->generation.do_sample, weights);
    td_status status = agree(input, find_agreement(request->options.minimum_risk), weights, totals, error);
    if (status == TD_OK) {
        order(input, totals);
        td_result_keep(result, index, request->options.nbest > 0 ? (size_t)request->options.nbest : 1);
    }
    td_release(numbers);
    return status;
}
