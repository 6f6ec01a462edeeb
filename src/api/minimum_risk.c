#include "api/minimum_risk.h"

#include "metrics/sentence_score.h"

#include <math.h>
#include <string.h>

/* Probabilities of a beam's candidates count to this power: they are far apart because sums of log-probabilities are, and a few candidates
 * say little about how much of the distribution each stands for. */
#define BEAM_POWER 0.3

bool td_minimum_risk_known(const char *metric)
{
    return td_sentence_score_find(metric) != NULL;
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

static td_status agree(const td_result_input *input, td_sentence_score score, const double *weights, double *totals, td_error *error)
{
    for (size_t i = 0; i < input->output_count; i++) {
        totals[i] = 0;
        for (size_t j = 0; j < input->output_count; j++) {
            double one;
            const char *other = input->outputs[j].text;
            TD_TRY(score(input->outputs[i].text, &other, 1, TD_TOKENIZER_13A, &one, error));
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
    td_status status = agree(input, td_sentence_score_find(request->options.minimum_risk), weights, totals, error);
    if (status == TD_OK) {
        order(input, totals);
        td_result_keep(result, index, request->options.nbest > 0 ? (size_t)request->options.nbest : 1);
    }
    td_release(numbers);
    return status;
}
