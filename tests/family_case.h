/* Cases of tests/golden/families: a tiny model's directory, its expected.json, and the path through the network that gives logits. */
#ifndef TD_TESTS_FAMILY_CASE_H
#define TD_TESTS_FAMILY_CASE_H

#include "io/json.h"
#include "models/architecture.h"

#include <math.h>
#include <stdio.h>

#define FAMILIES TD_TEST_DATA "/golden/families"
enum { TOKENS = 512, FEATURES = 4096 };

typedef struct subject {
    bool packed; /* weights of products, as inference has them */
    const char *directory;
    td_network network;
    td_decoder_state *state;
    td_arena arena;
    td_graph graph;
    double worst, worst_encoder, tolerance;
} subject;

static inline json_t *read_json(const char *directory, const char *name)
{
    char path[4096];
    td_error error;
    json_t *root = NULL;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (td_json_load_file(path, &root, &error) != TD_OK)
        fail_msg("%s", error.message);
    return root;
}

/* The network as `config` has it, with the directory's weights. After a failure nothing is held. */
static inline td_status try_load(subject *s, const json_t *config, td_error *error)
{
    td_safetensors *file = NULL;
    TD_TRY(td_network_configure(config, "config.json", &s->network, error));
    td_status status = td_safetensors_open_directory(s->directory, &file, error);
    if (status == TD_OK)
        status = s->packed ? td_parameters_load_packed(&s->network.parameters, file, TD_FLOAT32, error)
                           : td_parameters_load(&s->network.parameters, file, error);
    if (status == TD_OK)
        status = s->network.architecture->state_new(&s->network, &s->state, error);
    if (status == TD_OK)
        td_arena_init(&s->arena);
    else
        td_network_free(&s->network);
    td_safetensors_close(file);
    return status;
}

static inline void load(subject *s)
{
    td_error error;
    json_t *config = read_json(s->directory, "config.json");
    if (try_load(s, config, &error) != TD_OK)
        fail_msg("%s: %s", s->directory, error.message);
    json_decref(config);
}

static inline void unload(subject *s)
{
    s->network.architecture->state_free(s->state);
    td_network_free(&s->network);
    td_arena_free(&s->arena);
}

static inline size_t read_ids(const json_t *one, const char *key, int32_t *ids)
{
    const json_t *array = json_object_get(one, key);
    size_t count = json_array_size(array);
    assert_in_range(count, 1, TOKENS);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return count;
}

/* "feature_rows": that many rows of features, made by the rule of the script. */
static inline size_t make_features(const subject *s, const json_t *one, td_real *features)
{
    size_t rows = (size_t)json_integer_value(json_object_get(one, "feature_rows")), count = rows * s->network.feature_width;
    assert_in_range(count, 1, FEATURES);
    for (size_t i = 0; i < count; i++)
        features[i] = (td_real)(sin(1.7 * (double)i + 0.3) * 0.9 + 0.3 * cos(5.1 * (double)i));
    return rows;
}

static inline double log_probability(const td_real *logits, size_t words, int32_t id)
{
    double highest = -INFINITY, total = 0;
    for (size_t i = 0; i < words; i++)
        highest = fmax(highest, (double)logits[i]);
    for (size_t i = 0; i < words; i++)
        total += exp((double)logits[i] - highest);
    return (double)logits[id] - highest - log(total);
}

/* The logits of a case's targets; NULL after a failure, which the graph holds. recording: along the path that training takes, the other
 * keeps a state. */
static inline td_tensor *feed(subject *s, const json_t *one, bool recording, td_memory *ret_memory)
{
    const td_architecture *architecture = s->network.architecture;
    bool text = architecture->source == TD_TEXT;
    int32_t source[TOKENS], fed[TOKENS];
    td_real features[FEATURES];
    int32_t source_offsets[2] = {0, (int32_t)(text ? read_ids(one, "input_ids", source) : make_features(s, one, features))};
    int32_t fed_offsets[2] = {0, (int32_t)read_ids(one, "decoder_input_ids", fed)};
    td_batch sources = {{1, source_offsets}, text ? source : NULL, text ? NULL : features, s->network.feature_width};
    td_batch targets = {{1, fed_offsets}, fed, NULL, 0};
    td_tensor *hidden = NULL;
    td_arena_reset(&s->arena);
    td_graph_begin(&s->graph, &s->arena, recording);
    if (architecture->encode(&s->network, &s->graph, &sources, ret_memory) != TD_OK ||
        architecture->begin(&s->network, &s->graph, ret_memory, s->state) != TD_OK ||
        architecture->decode(&s->network, &s->graph, s->state, &targets, &hidden, NULL) != TD_OK)
        return NULL;
    return td_project(&s->network, &s->graph, hidden);
}

/* Leaves the state without rows. */
static inline void forget(subject *s)
{
    td_error error;
    assert_int_equal(s->network.architecture->reorder(s->state, NULL, 0, &error), TD_OK);
}

#endif
