/* What config.json says counts. One key after the other gets another value: Tandem computes what transformers computes with it, or refuses
 * it by name (tools/reference/config_keys.py). Keys that say which tokens are special may be missing (tools/reference/default_ids.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "family_case.h"

static const char *const id_keys[] = {"pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id"};

/* ---- ids ---- */

/* The configuration of a directory of tests/golden/families without a word about special tokens, of a vocabulary that has them all. */
static void configure_without_ids(const char *directory, const char *part, td_network *network)
{
    char path[1024];
    td_error error;
    snprintf(path, sizeof path, FAMILIES "/%s", directory);
    json_t *config = read_json(path, "config.json"), *inner = part ? json_object_get(config, part) : config;
    for (size_t i = 0; i < 4; i++) {
        json_object_del(config, id_keys[i]);
        json_object_del(inner, id_keys[i]);
    }
    json_object_set_new(inner, "vocab_size", json_integer(60000));
    json_object_del(inner, "decoder_vocab_size");
    if (td_network_configure(config, "config.json", network, &error) != TD_OK)
        fail_msg("%s: %s", directory, error.message);
    json_decref(config);
}

static void check_ids(const json_t *all, const char *kind, const char *model_type, const char *directory)
{
    const json_t *expected = json_object_get(json_object_get(all, kind), model_type);
    bool nested = strcmp(kind, "decoders") == 0;
    td_network network = {0};
    configure_without_ids(directory, nested ? "decoder" : NULL, &network);
    const int32_t got[] = {network.pad_id, network.eos_id, network.bos_id, network.decoder_start_id};
    assert_int_equal(json_object_size(expected), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *id = json_object_get(expected, id_keys[i]);
        if (got[i] != (json_is_null(id) ? -1 : (int32_t)json_integer_value(id)))
            fail_msg("%s: %s is %d, expected %s", directory, id_keys[i], got[i], json_dumps(id, JSON_ENCODE_ANY));
    }
    td_network_free(&network);
}

static void missing_ids(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *model_type, *directory;
    } rows[] = {
        {"families", "marian", "marian-shared"}, {"families", "bart", "bart"},           {"families", "mbart", "mbart"},
        {"families", "pegasus", "pegasus"},      {"families", "m2m_100", "m2m_100"},     {"families", "mt5", "mt5"},
        {"families", "whisper", "whisper"},      {"families", "moonshine", "moonshine"}, {"families", "speech_to_text", "speech_to_text"},
        {"decoders", "gpt2", "vit-gpt2"},        {"decoders", "trocr", "vit-trocr"},     {"decoders", "bert", "vit-bert"},
        {"decoders", "bart", "swin-bart"},       {"decoders", "mbart", "donut"},         {"decoders", "roberta", "bert2roberta"},
    };
    json_t *all = read_json(TD_TEST_DATA "/golden", "default_ids.json");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_ids(all, rows[i].kind, rows[i].model_type, rows[i].directory);
    json_decref(all);
}

/* null is not missing; an id that the vocabulary lacks is no token. */
static void special_ids(void **state)
{
    (void)state;
    td_network network = {0};
    td_error error;
    json_t *config = read_json(FAMILIES "/marian-shared", "config.json");
    json_object_set_new(config, "eos_token_id", json_null());
    json_object_del(config, "decoder_start_token_id");
    assert_int_equal(td_network_configure(config, "config.json", &network, &error), TD_OK);
    assert_int_equal(network.eos_id, -1);
    assert_int_equal(network.decoder_start_id, -1);
    td_network_free(&network);
    json_decref(config);
}

/* ---- other keys ---- */

static const char *last_of(const json_t *path)
{
    return json_string_value(json_array_get(path, json_array_size(path) - 1));
}

static size_t failures;

static void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprint_error(format, arguments);
    va_end(arguments);
    failures++;
}

static void compare(const subject *s, const td_tensor *logits, const json_t *one, const json_t *expected, const char *what, double *worst)
{
    int32_t wanted[TOKENS];
    size_t count = read_ids(one, "target_ids", wanted);
    double largest = 0;
    if (!logits) {
        complain("%s: %s\n", what, s->graph.error.message);
        return;
    }
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(log_probability(logits->data + i * logits->stride, logits->columns, wanted[i]) -
                                     json_number_value(json_array_get(expected, i))));
    *worst = fmax(*worst, largest);
    if (!(largest <= 2e-4))
        complain("%s: a log-probability is off by %.3g\n", what, largest);
}

/* Returns whether the changed configuration was taken. */
static bool check_change(const json_t *row, double *worst)
{
    char directory[1024], what[2048];
    const json_t *path = json_object_get(row, "path"), *expected = json_object_get(row, "logprobs");
    snprintf(directory, sizeof directory, FAMILIES "/%s", json_string_value(json_object_get(row, "directory")));
    char *value = json_dumps(json_object_get(row, "value"), JSON_ENCODE_ANY);
    snprintf(what, sizeof what, "%s: \"%s\": %s", directory, last_of(path), value);
    free(value);
    json_t *config = read_json(directory, "config.json"), *cases = read_json(directory, "expected.json");
    json_t *part = json_array_size(path) > 1 ? json_object_get(config, json_string_value(json_array_get(path, 0))) : config;
    json_object_set(part, last_of(path), json_object_get(row, "value"));
    const json_t *list = json_object_get(cases, "cases"), *one = json_array_get(list, json_array_size(list) - 1);
    td_error error = {TD_OK, ""};
    td_memory memory;
    subject s = {.directory = directory};
    bool taken = try_load(&s, config, &error) == TD_OK;
    if (!taken && json_is_array(expected) && !strstr(error.message, last_of(path)))
        complain("%s is refused without being named: %s\n", what, error.message);
    if (taken) {
        td_tensor *logits = feed(&s, one, false, &memory);
        if (json_is_array(expected))
            compare(&s, logits, one, expected, what, worst);
        unload(&s);
    }
    json_decref(config);
    json_decref(cases);
    return taken;
}

static void changed_keys(void **state)
{
    (void)state;
    json_t *rows = read_json(TD_TEST_DATA "/golden", "config_keys.json");
    double worst = 0;
    size_t taken = 0, compared = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        bool expected = json_is_array(json_object_get(row, "logprobs"));
        bool good = check_change(row, &worst);
        compared += expected;
        taken += expected && good;
    }
    print_message("%zu changes, %zu of which transformers computes; %zu of these give its numbers (within %.1e), the others are refused\n",
                  json_array_size(rows), compared, taken, worst);
    assert_int_equal(failures, 0);
    assert_true(compared > 300 && taken > compared / 2);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(missing_ids), cmocka_unit_test(special_ids), cmocka_unit_test(changed_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
