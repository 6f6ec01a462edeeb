/* The fields of generation_config.json: one table says what each is called, what it holds and where it goes. */
#include "decoding/generate.h"

#include "base/memory.h"
#include "base/spelling.h"

#include <math.h>
#include <string.h>

typedef enum field_kind { COUNT, REAL, FLAG, SEED, ID, IDS, WORDS, STOPPING } field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    size_t offset;
} field;

#define FIELD(kind, name)                                                                                                                  \
    {                                                                                                                                      \
#name, kind, offsetof(td_generation, name)                                                                                         \
    }
static const field fields[] = {
    FIELD(COUNT, num_beams),
    FIELD(COUNT, num_return_sequences),
    FIELD(REAL, length_penalty),
    FIELD(STOPPING, early_stopping),
    FIELD(COUNT, max_length),
    FIELD(COUNT, max_new_tokens),
    FIELD(COUNT, min_length),
    FIELD(COUNT, min_new_tokens),
    FIELD(REAL, repetition_penalty),
    FIELD(COUNT, no_repeat_ngram_size),
    FIELD(COUNT, encoder_no_repeat_ngram_size),
    FIELD(FLAG, renormalize_logits),
    FIELD(FLAG, do_sample),
    FIELD(REAL, temperature),
    FIELD(COUNT, top_k),
    FIELD(REAL, top_p),
    FIELD(REAL, min_p),
    FIELD(SEED, seed),
    FIELD(ID, forced_bos_token_id),
    FIELD(IDS, forced_eos_token_id),
    FIELD(IDS, suppress_tokens),
    FIELD(IDS, begin_suppress_tokens),
    {"bad_words_ids", WORDS, offsetof(td_generation, bad_words)},
    FIELD(ID, decoder_start_token_id),
    FIELD(ID, pad_token_id),
    FIELD(ID, bos_token_id),
    FIELD(IDS, eos_token_id),
    {"prefix_ids", IDS, offsetof(td_generation, prefix)},
    FIELD(FLAG, return_timestamps),
    FIELD(ID, no_timestamps_token_id),
    FIELD(ID, max_initial_timestamp_index),
    FIELD(FLAG, output_attentions),
    FIELD(REAL, ctc_weight),
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

/* What transformers has and this library has not, with the value at which it does nothing (null always does). */
static const struct {
    const char *name;
    double neutral;
} unsupported[] = {
    {"num_beam_groups", 1},
    {"diversity_penalty", 0},
    {"typical_p", 1},
    {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},
    {"encoder_repetition_penalty", 1},
    {"penalty_alpha", 0},
    {"guidance_scale", 1},
    {"sequence_bias", NAN},
    {"force_words_ids", NAN},
    {"constraints", NAN},
    {"exponential_decay_length_penalty", NAN},
    {"top_h", NAN},
    {"stop_strings", NAN},
    {"max_time", NAN},
    {"dola_layers", NAN},
    {"watermarking_config", NAN},
};
#define UNSUPPORTED_COUNT (sizeof unsupported / sizeof *unsupported)

td_generation td_generation_default(void)
{
    return (td_generation){
        .num_beams = 1,
        .num_return_sequences = 1,
        .length_penalty = 1,
        .repetition_penalty = 1,
        .temperature = 1,
        .top_k = 50,
        .top_p = 1,
        .forced_bos_token_id = -1,
        .decoder_start_token_id = -1,
        .pad_token_id = -1,
        .bos_token_id = -1,
        .no_timestamps_token_id = -1,
        .max_initial_timestamp_index = -1,
    };
}

static void free_words(td_id_list *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        td_release(words[i].ids);
    td_release(words);
}

void td_generation_free(td_generation *generation)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (fields[i].kind == IDS)
            td_release(((td_id_list *)(void *)((char *)generation + fields[i].offset))->ids);
    free_words(generation->bad_words, generation->bad_words_count);
    *generation = td_generation_default();
}

static td_status copy_list(td_id_list from, td_id_list *ret_list, td_error *error)
{
    *ret_list = (td_id_list){NULL, 0};
    if (from.count == 0)
        return TD_OK;
    ret_list->ids = td_allocate_array(from.count, sizeof *from.ids);
    if (!ret_list->ids)
        return td_fail_memory(error, from.count * sizeof *from.ids);
    memcpy(ret_list->ids, from.ids, from.count * sizeof *from.ids);
    ret_list->count = from.count;
    return TD_OK;
}

td_status td_generation_copy(const td_generation *from, td_generation *ret_copy, td_error *error)
{
    td_generation copy = *from;
    copy.bad_words = NULL;
    copy.bad_words_count = 0;
    td_status status = TD_OK;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].kind != IDS)
            continue;
        const td_id_list *list = (const td_id_list *)(const void *)((const char *)from + fields[i].offset);
        td_id_list *place = (td_id_list *)(void *)((char *)&copy + fields[i].offset);
        *place = (td_id_list){NULL, 0};
        if (status == TD_OK)
            status = copy_list(*list, place, error);
    }
    if (status == TD_OK && from->bad_words_count > 0) {
        copy.bad_words = td_allocate_array(from->bad_words_count, sizeof *copy.bad_words);
        if (!copy.bad_words)
            status = td_fail_memory(error, from->bad_words_count * sizeof *copy.bad_words);
        for (; status == TD_OK && copy.bad_words_count < from->bad_words_count; copy.bad_words_count++)
            status = copy_list(from->bad_words[copy.bad_words_count], &copy.bad_words[copy.bad_words_count], error);
    }
    if (status != TD_OK) {
        td_generation_free(&copy);
        return status;
    }
    *ret_copy = copy;
    return TD_OK;
}

static td_status wrong(const char *file, const char *name, const char *right, td_error *error)
{
    return td_fail(error, TD_ERROR_ARGUMENT, "%s: \"%s\" must be %s", file, name, right);
}

static bool is_id(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= INT32_MAX;
}

/* A list of ids, or one id. */
static td_status read_list(const json_t *value, const char *file, const char *name, td_id_list *ret_list, td_error *error)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    td_id_list list = {NULL, count};
    if (count > 0) {
        list.ids = td_allocate_array(count, sizeof *list.ids);
        if (!list.ids)
            return td_fail_memory(error, count * sizeof *list.ids);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!is_id(item)) {
            td_release(list.ids);
            return wrong(file, name, "a token id or a list of them (integers from 0)", error);
        }
        list.ids[i] = (int32_t)json_integer_value(item);
    }
    *ret_list = list;
    return TD_OK;
}

static td_status set_list(const json_t *value, const char *file, const char *name, td_id_list *list, td_error *error)
{
    td_id_list read = {NULL, 0};
    if (!json_is_null(value))
        TD_TRY(read_list(value, file, name, &read, error));
    td_release(list->ids);
    *list = read;
    return TD_OK;
}

static td_status set_words(const json_t *value, const char *file, td_generation *generation, td_error *error)
{
    size_t count = json_array_size(value);
    td_id_list *words = NULL;
    if (!json_is_null(value) && !json_is_array(value))
        return wrong(file, "bad_words_ids", "a list of lists of token ids", error);
    if (count > 0) {
        words = td_allocate_array(count, sizeof *words);
        if (!words)
            return td_fail_memory(error, count * sizeof *words);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(value, i);
        td_status status = TD_OK;
        if (!json_is_array(item) || json_array_size(item) == 0)
            status = wrong(file, "bad_words_ids", "a list of lists of token ids, none empty", error);
        else
            status = read_list(item, file, "bad_words_ids", &words[i], error);
        if (status != TD_OK) {
            free_words(words, count);
            return status;
        }
    }
    free_words(generation->bad_words, generation->bad_words_count);
    generation->bad_words = words;
    generation->bad_words_count = count;
    return TD_OK;
}

static td_status set_stopping(const json_t *value, const char *file, td_early_stopping *stopping, td_error *error)
{
    if (json_is_boolean(value))
        *stopping = json_is_true(value) ? TD_EARLY_STOPPING_TRUE : TD_EARLY_STOPPING_FALSE;
    else if (json_is_string(value) && strcmp(json_string_value(value), "never") == 0)
        *stopping = TD_EARLY_STOPPING_NEVER;
    else if (!json_is_null(value))
        return wrong(file, "early_stopping", "true, false or \"never\"", error);
    return TD_OK;
}

/* null leaves a number at what it was and empties ids. */
static td_status set_field(td_generation *generation, const field *which, const json_t *value, const char *file, td_error *error)
{
    void *place = (char *)generation + which->offset;
    if (which->kind == IDS)
        return set_list(value, file, which->name, place, error);
    if (which->kind == WORDS)
        return set_words(value, file, generation, error);
    if (which->kind == STOPPING)
        return set_stopping(value, file, place, error);
    if (which->kind == ID && json_is_null(value)) {
        *(int32_t *)place = -1;
        return TD_OK;
    }
    if (json_is_null(value))
        return TD_OK;
    switch (which->kind) {
    case COUNT:
        if (!is_id(value))
            return wrong(file, which->name, "an integer from 0 to 2147483647", error);
        *(size_t *)place = (size_t)json_integer_value(value);
        return TD_OK;
    case SEED:
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return wrong(file, which->name, "an integer from 0", error);
        *(uint64_t *)place = (uint64_t)json_integer_value(value);
        return TD_OK;
    case ID:
        if (!is_id(value))
            return wrong(file, which->name, "a token id (an integer from 0)", error);
        *(int32_t *)place = (int32_t)json_integer_value(value);
        return TD_OK;
    case REAL:
        if (!json_is_number(value))
            return wrong(file, which->name, "a number", error);
        *(double *)place = json_number_value(value);
        return TD_OK;
    default:
        if (!json_is_boolean(value))
            return wrong(file, which->name, "true or false", error);
        *(bool *)place = json_is_true(value);
        return TD_OK;
    }
}

static td_status check_unsupported(size_t which, const json_t *value, const char *file, td_error *error)
{
    if (!value || json_is_null(value) || (json_is_number(value) && json_number_value(value) == unsupported[which].neutral))
        return TD_OK;
    return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\" is not supported; remove it", file, unsupported[which].name);
}

td_status td_generation_load(td_generation *generation, const json_t *object, const char *file, td_error *error)
{
    if (!json_is_object(object))
        return td_fail(error, TD_ERROR_FORMAT, "%s: must be a JSON object", file);
    td_generation copy;
    TD_TRY(td_generation_copy(generation, &copy, error));
    td_status status = TD_OK;
    for (size_t i = 0; status == TD_OK && i < UNSUPPORTED_COUNT; i++)
        status = check_unsupported(i, json_object_get(object, unsupported[i].name), file, error);
    for (size_t i = 0; status == TD_OK && i < FIELD_COUNT; i++) {
        const json_t *own = json_object_get(object, "tandem"), *value = json_object_get(object, fields[i].name);
        if (!value) /* where fields that transformers does not know are kept */
            value = json_object_get(own, fields[i].name);
        if (value)
            status = set_field(&copy, &fields[i], value, file, error);
    }
    if (status != TD_OK) {
        td_generation_free(&copy);
        return status;
    }
    td_generation_free(generation);
    *generation = copy;
    return TD_OK;
}

static json_t *list_json(td_id_list list)
{
    if (list.count == 1)
        return json_integer(list.ids[0]);
    json_t *array = json_array();
    for (size_t i = 0; array && i < list.count; i++)
        if (json_array_append_new(array, json_integer(list.ids[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *words_json(const td_generation *generation)
{
    json_t *words = json_array();
    for (size_t w = 0; words && w < generation->bad_words_count; w++) {
        json_t *word = json_array();
        for (size_t i = 0; word && i < generation->bad_words[w].count; i++)
            json_array_append_new(word, json_integer(generation->bad_words[w].ids[i]));
        json_array_append_new(words, word);
    }
    return words;
}

/* The JSON of a field, or NULL with ret_skip set when it holds what it would hold anyway. */
static json_t *field_json(const td_generation *generation, const td_generation *usual, const field *which, bool *ret_skip)
{
    const void *place = (const char *)generation + which->offset, *normal = (const char *)usual + which->offset;
    static const size_t sizes[] = {[COUNT] = sizeof(size_t),  [REAL] = sizeof(double), [FLAG] = sizeof(bool),
                                   [SEED] = sizeof(uint64_t), [ID] = sizeof(int32_t),  [STOPPING] = sizeof(td_early_stopping)};
    if (which->kind == WORDS)
        *ret_skip = generation->bad_words_count == 0;
    else if (which->kind == IDS)
        *ret_skip = ((const td_id_list *)place)->count == 0;
    else
        *ret_skip = memcmp(place, normal, sizes[which->kind]) == 0;
    if (*ret_skip)
        return NULL;
    switch (which->kind) {
    case COUNT:
        return json_integer((json_int_t) * (const size_t *)place);
    case SEED:
        return json_integer((json_int_t) * (const uint64_t *)place);
    case REAL:
        return json_real(*(const double *)place);
    case FLAG:
        return json_boolean(*(const bool *)place);
    case ID:
        return json_integer(*(const int32_t *)place);
    case IDS:
        return list_json(*(const td_id_list *)place);
    case WORDS:
        return words_json(generation);
    default:
        return generation->early_stopping == TD_EARLY_STOPPING_NEVER ? json_string("never") : json_boolean(generation->early_stopping);
    }
}

/* Fields that transformers does not know go into an object of their own. */
static int set_saved(json_t *object, const field *which, json_t *value)
{
    if (strcmp(which->name, "ctc_weight") != 0)
        return json_object_set_new(object, which->name, value);
    json_t *own = json_pack("{s:o}", which->name, value);
    return own ? json_object_set_new(object, "tandem", own) : -1;
}

json_t *td_generation_save(const td_generation *generation)
{
    td_generation usual = td_generation_default();
    json_t *object = json_object();
    for (size_t i = 0; object && i < FIELD_COUNT; i++) {
        bool skip = false;
        json_t *value = field_json(generation, &usual, &fields[i], &skip);
        if (!skip && set_saved(object, &fields[i], value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static td_status fail_unknown(const char *name, size_t length, td_error *error)
{
    size_t best = 0, least = SIZE_MAX;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        size_t far = td_edit_distance(name, length, fields[i].name);
        if (far < least) {
            least = far;
            best = i;
        }
    }
    bool near = least <= length / 2;
    return td_fail(error, TD_ERROR_ARGUMENT, "generation: there is no field \"%.*s\"%s%s%s", (int)length, name,
                   near ? "; did you mean \"" : "", near ? fields[best].name : "", near ? "\"?" : "");
}

td_status td_generation_set(td_generation *generation, const char *assignment, td_error *error)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment || equals - assignment > 255)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: \"%.200s\" is no FIELD=VALUE, as in max_new_tokens=20", assignment);
    size_t length = (size_t)(equals - assignment), known = 0, refused = 0;
    while (known < FIELD_COUNT && !(strncmp(fields[known].name, assignment, length) == 0 && !fields[known].name[length]))
        known++;
    while (refused < UNSUPPORTED_COUNT &&
           !(strncmp(unsupported[refused].name, assignment, length) == 0 && !unsupported[refused].name[length]))
        refused++;
    if (known == FIELD_COUNT && refused == UNSUPPORTED_COUNT)
        return fail_unknown(assignment, length, error);
    json_error_t ignored;
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &ignored);
    if (!value)
        value = json_string(equals + 1);
    if (!value)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: the value of \"%.200s\" is not UTF-8 text", assignment);
    td_status status = known < FIELD_COUNT ? set_field(generation, &fields[known], value, "generation", error)
                                           : check_unsupported(refused, value, "generation", error);
    json_decref(value);
    return status;
}
