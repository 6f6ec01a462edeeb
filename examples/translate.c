/* Translates one sentence: translate MODEL SENTENCE. */
#include <stdio.h>
#include <tandem/tandem.h>

int main(int argc, char **argv)
{
    td_model *model = NULL;
    td_session *session = NULL;
    td_result *result = NULL;
    td_error error;
    if (argc != 3)
        return fprintf(stderr, "usage: %s MODEL SENTENCE\n", argv[0]), 2;
    if (td_model_open(argv[1], NULL, &model, &error) || td_session_new(model, NULL, &session, &error) ||
        td_generate_text(session, argv[2], NULL, &result, &error))
        return fprintf(stderr, "%s\n", error.message), 1;
    puts(td_result_text(result, 0, 0));
    td_result_free(result);
    td_session_free(session);
    td_model_close(model);
    return 0;
}
