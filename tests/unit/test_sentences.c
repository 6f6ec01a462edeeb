/* Paragraphs into sentences: where they are cut and where they are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "text/sentences.h"

/* `marked` has a | at the end of every sentence but the last; what follows it up to the next sentence is a space. */
static void expect_cut(const char *marked)
{
    char text[1024], got[1024] = "";
    size_t length = 0, count = 0, at = 0;
    for (const char *from = marked; *from; from++)
        if (*from != '|')
            text[length++] = *from;
    text[length] = 0;
    td_span *spans = NULL;
    td_error error;
    assert_int_equal(td_sentences_cut(text, length, &spans, &count, &error), TD_OK);
    for (size_t i = 0; i < count; i++) {
        strncat(got, text + at, spans[i].end - at);
        strcat(got, i + 1 < count ? "|" : "");
        at = spans[i].end;
    }
    strcat(got, text + at);
    assert_string_equal(got, marked);
    td_release(spans);
}

static void cuts(void **state)
{
    (void)state;
    static const char *const paragraphs[] = {
        "One boat.| Two boats.",
        "Is it late?| No!|  \"It is not.\"| Good.",
        "A line|\nthat ends.|\nThen another.",
        "Das Boot liegt am Kai.| Es gehört Dr. Meier, z. B. am 3. Oktober.| Danach nicht.",
        "Mr. Hill and J. R. Stone paid 3.50 for it.| They left.",
        "Il est tard.| Mme Petit rentre.| Et vous ?",
        "船が来た。|人が降りた。",
        "Лодка пришла.| Люди вышли.",
        "no end at all",
        "  spaces around.  ",
        "It was I.| They knew.",
    };
    for (size_t i = 0; i < sizeof paragraphs / sizeof *paragraphs; i++)
        expect_cut(paragraphs[i]);
}

static void nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "   ", "\n\n"};
    for (size_t i = 0; i < 3; i++) {
        td_span *spans = NULL;
        size_t count = 7;
        td_error error;
        assert_int_equal(td_sentences_cut(texts[i], strlen(texts[i]), &spans, &count, &error), TD_OK);
        assert_int_equal(count, 0);
        td_release(spans);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cuts), cmocka_unit_test(nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
