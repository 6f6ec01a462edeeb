#include "training/sources.h"

#include "io/json.h"
#include "training/manifest.h"
#include "training/model_config.h"
#include "training/pairs.h"

#include <math.h>
#include <string.h>

/* ---- mean and deviation of the training data ---- */

enum { REPORT = 64 }; /* files between reports of progress */

typedef struct moments {
    double *sum, *square; /* [width] */
    size_t width;
    uint64_t rows;
} moments;

static td_status add_features(moments *sums, const td_features *features, const char *path, td_error *error)
{
    if (!sums->width) {
        sums->width = features->width;
        sums->sum = td_allocate_array(sums->width, sizeof *sums->sum);
        sums->square = td_allocate_array(sums->width, sizeof *sums->square);
        if (!sums->sum || !sums->square)
            return td_fail_memory(error, sums->width * sizeof *sums->sum);
    }
    if (features->width != sums->width)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu features a row, where the files before have %zu", path, features->width,
                       sums->width);
    for (size_t i = 0; i < features->rows * features->width; i++) {
        double value = (double)features->data[i];
        sums->sum[i % sums->width] += value;
        sums->square[i % sums->width] += value * value;
    }
    sums->rows += features->rows;
    return TD_OK;
}

static td_status add_all(const td_frontend *frontend, const td_corpus_options *options, moments *sums, td_error *error)
{
    td_pairs *pairs;
    td_text_pair pair;
    td_status status;
    uint64_t read = 0;
    TD_TRY(td_pairs_open(options, &pairs, error));
    while ((status = td_pairs_next(pairs, &pair, error)) == TD_OK && pair.source) {
        if (options->watch.progress && ++read % REPORT == 0)
            options->watch.progress(options->watch.context, read);
        char *name = td_copy_bytes(pair.source, pair.source_bytes);
        td_text_pair named = pair;
        named.source = name;
        char *path = name ? td_source_path(options, &named) : NULL;
        td_release(name);
        td_features features = {0};
        status = path ? frontend->kind->read(frontend->state, path, NULL, 0, &features, error) : td_fail_memory(error, pair.source_bytes);
        if (status == TD_OK)
            status = add_features(sums, &features, path, error);
        td_features_free(&features);
        td_release(path);
        if (status != TD_OK) {
            td_pairs_where(pairs, error);
            break;
        }
    }
    td_pairs_close(pairs);
    return status;
}

static td_status write_moments(const moments *sums, json_t *config, td_error *error)
{
    json_t *means = json_array(), *deviations = json_array();
    for (size_t i = 0; i < sums->width; i++) {
        double mean = sums->sum[i] / (double)sums->rows, variance = sums->square[i] / (double)sums->rows - mean * mean;
        json_array_append_new(means, json_real(mean));
        json_array_append_new(deviations, json_real(sqrt(variance > 1e-10 ? variance : 1e-10)));
    }
    bool made = means && deviations && json_array_size(means) == sums->width && json_array_size(deviations) == sums->width;
    int failed = json_object_set_new(config, "mean", means) | json_object_set_new(config, "std", deviations);
    return made && !failed ? TD_OK : td_fail_memory(error, sums->width);
}

/* `config` says "global": adds what that is. */
static td_status measure(const td_recipe *recipe, const td_corpus_watch *watch, json_t *config, const char *file, td_error *error)
{
    td_frontend frontend = {0};
    moments sums = {0};
    td_corpus_options options = {.files = &recipe->data.train,
                                 .source_key = recipe->data.keys.source,
                                 .target_key = recipe->data.keys.target,
                                 .folder = recipe->data.folder,
                                 .watch = *watch};
    json_t *plain = json_copy(config);
    td_status status = plain && json_object_set_new(plain, "normalize", json_string("none")) == 0 ? TD_OK : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = td_frontend_configure(plain, file, TD_AUDIO, &frontend, error);
    if (status == TD_OK)
        status = add_all(&frontend, &options, &sums, error);
    if (status == TD_OK && sums.rows == 0)
        status = td_fail(error, TD_ERROR_ARGUMENT, "the training data holds no sound");
    if (status == TD_OK)
        status = write_moments(&sums, config, error);
    td_frontend_close(&frontend);
    json_decref(plain);
    td_release(sums.sum);
    td_release(sums.square);
    return status;
}

/* Takes the measured figures of an earlier run with the same settings. */
static bool take_earlier(const char *path, json_t *config)
{
    json_t *earlier = NULL;
    if (!td_file_exists(path) || td_json_load_file(path, &earlier, NULL) != TD_OK)
        return false;
    json_t *mean = json_incref(json_object_get(earlier, "mean")), *deviation = json_incref(json_object_get(earlier, "std"));
    json_object_del(earlier, "mean");
    json_object_del(earlier, "std");
    bool same = mean && deviation && json_equal(earlier, config);
    if (same)
        same = json_object_set(config, "mean", mean) == 0 && json_object_set(config, "std", deviation) == 0;
    json_decref(mean);
    json_decref(deviation);
    json_decref(earlier);
    return same;
}

static td_status write_config(const td_recipe *recipe, const td_corpus_watch *watch, td_error *error)
{
    json_t *config = NULL;
    char *path = td_path_join(recipe->output, "preprocessor_config.json");
    td_status status = path ? td_model_preprocessor_config(recipe, &config, error) : td_fail_memory(error, 0);
    bool global = recipe->task == TD_TASK_TRANSCRIBE && recipe->data.audio.normalize == TD_RECIPE_NORM_GLOBAL;
    if (status == TD_OK && global && !json_object_get(config, "mean") && !take_earlier(path, config))
        status = measure(recipe, watch, config, path, error);
    if (status == TD_OK)
        status = td_json_save_file(path, config, error);
    json_decref(config);
    td_release(path);
    return status;
}

/* ---- features ---- */

static td_status run_frozen(const td_sources *sources, size_t thread, const td_features *pixels, td_features *ret_features, td_error *error)
{
    td_graph graph;
    td_memory kept;
    td_features features = {0};
    int32_t offsets[2] = {0, (int32_t)pixels->rows};
    td_batch batch = {.ragged = {1, offsets}, .features = pixels->data, .width = pixels->width};
    td_arena_reset(&sources->arenas[thread]);
    td_graph_begin(&graph, &sources->arenas[thread], false);
    if (sources->network->architecture->frozen(sources->network, &graph, &batch, &kept) != TD_OK)
        return td_fail(error, graph.error.status, "%s", graph.error.message);
    features =
        (td_features){td_allocate_array(kept.states->rows * kept.states->columns, sizeof(float)), kept.states->rows, kept.states->columns};
    if (!features.data)
        return td_fail_memory(error, kept.states->rows * kept.states->columns * sizeof(float));
    for (size_t row = 0; row < features.rows; row++)
        memcpy(features.data + row * features.width, kept.states->data + row * kept.states->stride, features.width * sizeof(float));
    *ret_features = features;
    return TD_OK;
}

static td_status read_features(void *context, const char *path, double speed, size_t thread, td_features *ret_features, td_error *error)
{
    const td_sources *sources = context;
    const td_frontend_kind *kind = sources->frontend.kind;
    if (speed != 1)
        return kind->read_at_speed(sources->frontend.state, path, speed, ret_features, error);
    if (!sources->network)
        return kind->read(sources->frontend.state, path, NULL, 0, ret_features, error);
    td_features pixels;
    TD_TRY(sources->frontend.kind->read(sources->frontend.state, path, NULL, 0, &pixels, error));
    td_status status = run_frozen(sources, thread, &pixels, ret_features, error);
    td_features_free(&pixels);
    return status;
}

static td_status describe(td_sources *sources, const td_recipe *recipe, td_error *error)
{
    td_buffer config = TD_BUFFER_INIT;
    char *path = td_path_join(recipe->output, "preprocessor_config.json");
    td_status status = path ? td_file_read(path, 0, &config, error) : td_fail_memory(error, 0);
    td_buffer_format(&sources->signature, "%s", td_buffer_text(&config));
    if (status == TD_OK && !td_buffer_ok(&sources->signature))
        status = td_fail_memory(error, config.length);
    sources->reader.signature = td_buffer_text(&sources->signature);
    td_buffer_free(&config);
    td_release(path);
    return status;
}

td_status td_sources_open(const td_recipe *recipe, td_pool *pool, const td_corpus_watch *watch, td_sources *ret_sources, td_error *error)
{
    td_sources sources = {.threads = td_pool_threads(pool)};
    td_modality modality = recipe->task == TD_TASK_TRANSCRIBE ? TD_AUDIO : TD_IMAGE;
    TD_TRY(write_config(recipe, watch, error));
    TD_TRY(td_frontend_open(recipe->output, modality, &sources.frontend, error));
    sources.arenas = td_allocate_array(sources.threads, sizeof *sources.arenas);
    td_status status = sources.arenas ? TD_OK : td_fail_memory(error, sources.threads * sizeof *sources.arenas);
    for (size_t i = 0; status == TD_OK && i < sources.threads; i++)
        td_arena_init(&sources.arenas[i]);
    sources.reader = (td_feature_reader){.width = td_sources_width(&sources), .read = read_features, .pool = pool};
    if (status == TD_OK)
        status = describe(&sources, recipe, error);
    if (status != TD_OK) {
        td_sources_close(&sources);
        return status;
    }
    *ret_sources = sources;
    ret_sources->reader.context = ret_sources;
    return TD_OK;
}

td_status td_sources_use_frozen(td_sources *sources, const td_recipe *recipe, const td_network *network, td_error *error)
{
    const char *from = *recipe->model.from ? recipe->model.from : recipe->model.encoder.from;
    char *weights = td_path_join(from, "model.safetensors");
    if (!weights)
        return td_fail_memory(error, 0);
    sources->network = network;
    sources->reader.width = network->frozen_width;
    td_buffer_format(&sources->signature, " frozen %s but %lld\n", from, (long long)recipe->model.encoder.trained_blocks);
    td_manifest_add_file(&sources->signature, weights);
    td_release(weights);
    sources->reader.signature = td_buffer_text(&sources->signature);
    return td_buffer_ok(&sources->signature) ? TD_OK : td_fail_memory(error, sources->signature.length);
}

void td_sources_close(td_sources *sources)
{
    td_frontend_close(&sources->frontend);
    for (size_t i = 0; sources->arenas && i < sources->threads; i++)
        td_arena_free(&sources->arenas[i]);
    td_release(sources->arenas);
    td_buffer_free(&sources->signature);
    *sources = (td_sources){0};
}

size_t td_sources_width(const td_sources *sources)
{
    return sources->frontend.kind->width(sources->frontend.state);
}
