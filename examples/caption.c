/* Captions of a picture: what a model says about it, best first, with the logarithm of each caption's probability.
 *
 *     build/example_caption DIRECTORY PICTURE
 *
 * DIRECTORY is a captioner: trained here (docs/train-captions.md) or one of Hugging Face's (docs/families.md). */
#include <stdio.h>
#include <tandem/tandem.h>

enum { CAPTIONS = 3 };

static td_status say(td_model *model, const char *picture, td_error *error)
{
    td_session *session = NULL;
    td_result *result = NULL;
    td_generate_options options = TD_GENERATE_OPTIONS_INIT;
    options.beam = options.nbest = CAPTIONS;
    td_status status = td_session_new(model, NULL, &session, error);
    if (status == TD_OK)
        status = td_generate_text(session, picture, &options, &result, error);
    for (size_t i = 0; status == TD_OK && i < td_result_outputs(result, 0); i++)
        printf("%8.4f  %s\n", td_result_score(result, 0, i), td_result_text(result, 0, i));
    td_result_free(result);
    td_session_free(session);
    return status;
}

int main(int argc, char **argv)
{
    td_model *model = NULL;
    td_error error;
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PICTURE\n", argv[0]);
        return 2;
    }
    td_status status = td_model_open(argv[1], NULL, &model, &error);
    if (status == TD_OK)
        status = say(model, argv[2], &error);
    if (status != TD_OK)
        fprintf(stderr, "%s\n", error.message);
    td_model_close(model);
    return status != TD_OK;
}
