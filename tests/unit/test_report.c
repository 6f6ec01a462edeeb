/* The log survives crashes and restarts, the progress line fits its terminal, and a run's log becomes a picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "platform/file.h"
#include "training/plot.h"
#include "training/report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void write_text(const char *path, const char *text)
{
    assert_int_equal(td_file_write(path, text, strlen(text), NULL), TD_OK);
}

static void assert_file(const char *path, const char *expected)
{
    td_buffer text = TD_BUFFER_INIT;
    assert_int_equal(td_file_read(path, 0, &text, NULL), TD_OK);
    assert_string_equal(td_buffer_text(&text), expected);
    td_buffer_free(&text);
}

static void test_log_append(void **state)
{
    (void)state;
    td_log *log = NULL;
    td_error error;
    assert_int_equal(td_log_open("new.jsonl", 0, &log, &error), TD_OK);
    json_t *object = json_pack("{s:i, s:f, s:s}", "step", 50, "loss", 0.1, "note", "a\nb");
    assert_int_equal(td_log_append(log, object, &error), TD_OK);
    assert_file("new.jsonl", "{\"step\":50,\"loss\":0.1,\"note\":\"a\\nb\"}\n"); /* on disk while open */
    json_decref(object);
    td_log_close(log);
}

static void test_log_resume(void **state)
{
    (void)state;
    static const struct {
        int64_t last_step;
        const char *before, *after;
    } cases[] = {
        {100, "{\"step\":50}\n{\"step\":100}\n{\"step\":150}\n", "{\"step\":50}\n{\"step\":100}\n"},
        {100, "{\"step\":50}\n{\"step\":150}\n{\"step\":60}\n", "{\"step\":50}\n{\"step\":60}\n"},
        {100, "{\"step\":50}\n{\"step\":60,\"lo", "{\"step\":50}\n"},
        {100, "{\"step\":50}\n{\"step\":60,\"lo\n{\"step\":70}\n", "{\"step\":50}\n{\"step\":70}\n"},
        {0, "{\"step\":50}\n", ""},
        {INT64_MAX, "{\"begin\": true}\n{\"step\":50}\n", "{\"begin\": true}\n{\"step\":50}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_log *log = NULL;
        td_error error;
        write_text("old.jsonl", cases[i].before);
        assert_int_equal(td_log_open("old.jsonl", cases[i].last_step, &log, &error), TD_OK);
        assert_file("old.jsonl", cases[i].after);
        json_t *object = json_pack("{s:i}", "step", 101);
        assert_int_equal(td_log_append(log, object, &error), TD_OK);
        json_decref(object);
        td_log_close(log);
        char expected[256];
        snprintf(expected, sizeof expected, "%s{\"step\":101}\n", cases[i].after);
        assert_file("old.jsonl", expected);
    }
}

static void test_log_unwritable(void **state)
{
    (void)state;
    td_log *log = NULL;
    td_error error;
    assert_int_equal(td_log_open("/nonexistent/log.jsonl", 0, &log, &error), TD_ERROR_IO);
    assert_string_equal(error.message, "/nonexistent/log.jsonl: cannot write: No such file or directory");
    /* A full disk, as far as a process can make one: no file may grow past 16 bytes. */
    struct rlimit before, little;
    getrlimit(RLIMIT_FSIZE, &before);
    little = before;
    little.rlim_cur = 16;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(td_log_open("full.jsonl", 0, &log, &error), TD_OK);
    json_t *object = json_pack("{s:i, s:s}", "step", 1, "note", "longer than the room that is left");
    setrlimit(RLIMIT_FSIZE, &little);
    td_status status = td_log_append(log, object, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, TD_ERROR_IO);
    assert_string_equal(error.message, "full.jsonl: cannot write: File too large");
    json_decref(object);
    td_log_close(log);
}

static void test_progress(void **state)
{
    (void)state;
    static const struct {
        td_progress progress;
        size_t columns;
        const char *line;
    } cases[] = {
        {{.step = 5000, .total_steps = 8000, .first_step = 3000, .elapsed = 100, .tokens_per_second = 15230, .loss = 2.3141, .epoch = 12},
         120,
         "[##################............]  62% step 5000/8000, epoch 12, loss 2.314, 15.2k tokens/s, 2m30s left"},
        {{.step = 5000, .total_steps = 8000, .first_step = 3000, .elapsed = 100, .tokens_per_second = 15230, .loss = 2.3141, .epoch = 12},
         83,
         "[######.....]  62% step 5000/8000, epoch 12, loss 2.314, 15.2k tokens/s, 2m30s left"},
        {{.step = 5000, .total_steps = 8000, .first_step = 3000, .elapsed = 100, .tokens_per_second = 15230, .loss = 2.3141, .epoch = 12},
         20,
         "step 5000/8000, epoc"},
        {{.step = 7, .elapsed = 3, .tokens_per_second = 999.4, .loss = 9, .epoch = 1}, 120, "step 7, epoch 1, loss 9.000, 999 tokens/s"},
        {{.step = 7, .elapsed = 900, .total_seconds = 3600 * 3, .tokens_per_second = 10, .loss = 9, .epoch = 1},
         80,
         "[#...................]   8% step 7, epoch 1, loss 9.000, 10 tokens/s, 2h45m left"},
        {{.step = 10, .total_steps = 10, .elapsed = 5, .loss = 1, .epoch = 1},
         70,
         "[##########] 100% step 10/10, epoch 1, loss 1.000, 0 tokens/s, 0s left"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        td_buffer line = TD_BUFFER_INIT;
        td_progress_render(&cases[i].progress, cases[i].columns, &line);
        assert_true(line.length <= cases[i].columns);
        assert_string_equal(td_buffer_text(&line), cases[i].line);
        td_buffer_free(&line);
    }
}

static const char *plot_text(td_buffer *svg)
{
    td_error error = {TD_OK, ""};
    td_status status = td_plot_run("run", "run/plot.svg", &error);
    if (status != TD_OK)
        return strcpy(td_buffer_extend(svg, strlen(error.message) + 1), error.message);
    assert_int_equal(td_file_read("run/plot.svg", 0, svg, NULL), TD_OK);
    return td_buffer_text(svg);
}

static void test_plot(void **state)
{
    (void)state;
    assert_int_equal(td_directory_create("run", NULL), TD_OK);
    write_text("run/log.jsonl", "{\"step\":0,\"loss\":8,\"learning_rate\":0}\n"
                                "{\"step\":500,\"loss\":4,\"learning_rate\":0.001}\n"
                                "{\"step\":500,\"validation_loss\":5,\"validation_bleu\":12.5}\n"
                                "{\"step\":1000,\"loss\":2,\"learning_rate\":0.0005}\n"
                                "{\"step\":1000,\"validation_loss\":3,\"validation_bleu\":25}\n");
    td_buffer svg = TD_BUFFER_INIT;
    const char *text = plot_text(&svg);
    assert_memory_equal(text, "<svg ", 5);
    assert_non_null(strstr(text, ">loss<"));
    assert_non_null(strstr(text, ">learning rate<"));
    assert_non_null(strstr(text, ">validation BLEU<"));
    /* Steps 0 to 1000 span x 70 to 700; loss 8 stands at the top of its panel, 2 at the bottom. */
    assert_non_null(strstr(text, "points=\"70.0,40.0 385.0,133.3 700.0,180.0\""));
    td_buffer_free(&svg);
}

static void test_plot_errors(void **state)
{
    (void)state;
    td_buffer text = TD_BUFFER_INIT;
    assert_int_equal(td_directory_create("run", NULL), TD_OK);
    write_text("run/log.jsonl", "{\"begin\":1}\n");
    assert_string_equal(plot_text(&text), "run/log.jsonl: no reports to draw; a run writes one every "
                                          "training.report_every steps");
    td_buffer_clear(&text);
    write_text("run/log.jsonl", "{\"step\":1,\"loss\":2}\nnonsense\n{\"step\":3,\"loss\":1}\n");
    assert_string_equal(plot_text(&text), "run/log.jsonl:2: not a JSON object");
    td_buffer_free(&text);
}

static void test_chart(void **state)
{
    (void)state;
    static const double x[] = {1, 2, 3}, y[] = {5, 5, 5};
    const td_chart_line line = {"flat", "#000", x, y, 3};
    const td_chart_panel panel = {"a <b> & \"c\"", &line, 1};
    td_buffer svg = TD_BUFFER_INIT;
    td_chart_svg("title", "step", &panel, 1, &svg);
    assert_true(td_buffer_ok(&svg));
    assert_non_null(strstr(td_buffer_text(&svg), "a &lt;b&gt; &amp; &quot;c&quot;"));
    assert_null(strstr(td_buffer_text(&svg), "nan"));
    td_buffer_free(&svg);
}

static int enter_directory(void **state)
{
    static char directory[] = "/tmp/tandem-report-XXXXXX";
    *state = mkdtemp(directory);
    return *state ? chdir(*state) : -1;
}

static int leave_directory(void **state)
{
    return chdir("/") || td_directory_remove(*state, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_append), cmocka_unit_test(test_log_resume), cmocka_unit_test(test_log_unwritable),
        cmocka_unit_test(test_progress),   cmocka_unit_test(test_plot),       cmocka_unit_test(test_plot_errors),
        cmocka_unit_test(test_chart),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
