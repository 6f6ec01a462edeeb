/* A search of one's own over the step-level interface: greedy, printing how sure the model was of each word.
 * own_search MODEL SENTENCE */
#include <math.h>
#include <stdio.h>
#include <tandem/tandem.h>

enum { LONGEST = 64 };

static int fail(const td_error *error)
{
    fprintf(stderr, "%s\n", error->message);
    return 1;
}

/* The most probable id, and its probability. */
static int32_t best(const float *logits, size_t count, double *ret_probability)
{
    size_t top = 0;
    double sum = 0;
    for (size_t i = 1; i < count; i++)
        top = logits[i] > logits[top] ? i : top;
    for (size_t i = 0; i < count; i++)
        sum += exp((double)(logits[i] - logits[top]));
    *ret_probability = 1 / sum;
    return (int32_t)top;
}

int main(int argc, char **argv)
{
    td_model *model = NULL;
    td_session *session = NULL;
    td_error error;
    int32_t ids[LONGEST];
    size_t count, length;
    char piece[256];
    if (argc != 3)
        return fprintf(stderr, "usage: %s MODEL SENTENCE\n", argv[0]), 2;
    if (td_model_open(argv[1], NULL, &model, &error) || td_session_new(model, NULL, &session, &error) ||
        td_model_tokenize(model, argv[2], ids, LONGEST, &count, &error))
        return fail(&error);
    if (td_encode_ids(session, ids, count < LONGEST ? count : LONGEST, 1, &error))
        return fail(&error);
    int32_t token = td_model_decoder_start(model);
    for (int step = 0; step < 20; step++) {
        const float *logits;
        double probability;
        if (td_decode_step(session, &token, &logits, &error))
            return fail(&error);
        token = best(logits, td_model_vocabulary_size(model), &probability);
        if (token == td_model_end(model))
            break;
        if (td_model_detokenize(model, &token, 1, piece, sizeof piece, &length, &error))
            return fail(&error);
        printf("%-20s %.3f\n", piece, probability);
    }
    td_session_free(session);
    td_model_close(model);
    return 0;
}
