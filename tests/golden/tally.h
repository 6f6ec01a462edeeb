/* What a comparison with a reference directory counts, and how it complains. For tests that include cmocka.h and
 * io/json.h. */
#ifndef TESTS_GOLDEN_TALLY_H
#define TESTS_GOLDEN_TALLY_H

typedef struct tally {
    const char *name; /* of the directory */
    size_t cases, searches, failures;
    double worst_encoder, worst_logprob, worst_score;
} tally;

static void complain(tally *t, const json_t *one, const char *format, ...) TD_PRINTF(3, 4);
static void complain(tally *t, const json_t *one, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_error("%s, %s: %s\n", t->name, json_string_value(json_object_get(one, "name")), text);
    t->failures++;
}

#endif
