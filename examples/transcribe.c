/* Writes down a recording with times: transcribe MODEL SOUND. */
#include <stdio.h>
#include <tandem/transcribe.h>

static bool show(void *context, const td_transcript_segment *segment)
{
    (void)context;
    printf("%7.2f %7.2f  %s\n", segment->start, segment->end, segment->text);
    return fflush(stdout) == 0; /* false would end it here */
}

int main(int argc, char **argv)
{
    td_model *model = NULL;
    td_session *session = NULL;
    td_transcript *transcript = NULL;
    td_transcribe_options options = TD_TRANSCRIBE_OPTIONS_INIT;
    td_error error;
    if (argc != 3)
        return fprintf(stderr, "usage: %s MODEL SOUND\n", argv[0]), 2;
    options.timestamps = 1;
    options.on_segment = show;
    if (td_model_open(argv[1], NULL, &model, &error) || td_session_new(model, NULL, &session, &error) ||
        td_transcribe(session, argv[2], &options, &transcript, &error))
        return fprintf(stderr, "%s\n", error.message), 1;
    td_transcript_free(transcript);
    td_session_free(session);
    td_model_close(model);
    return 0;
}
