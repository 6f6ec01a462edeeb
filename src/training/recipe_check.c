/* What no single key can be checked for: keys that need, bound or imply one another. */
#include "training/recipe_table.h"

#include <stdlib.h>
#include <string.h>

bool td_recipe_given(const td_recipe *recipe, const char *key)
{
    int row = td_recipe_find(key);
    return row >= 0 && recipe->lines[row] != 0;
}

static td_status fail(const td_recipe *recipe, const char *key, td_error *error, const char *problem)
{
    int row = td_recipe_find(key);
    int line = row >= 0 ? recipe->lines[row] : 0;
    if (!*recipe->path || line < 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: %s", key, problem);
    if (line == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: %s: %s", recipe->path, key, problem);
    return td_fail(error, TD_ERROR_ARGUMENT, "%s:%d: %s: %s", recipe->path, line, key, problem);
}

static bool has_ending(const char *name, const char *ending)
{
    size_t length = strlen(name), wanted = strlen(ending);
    if (length > 3 && strcmp(name + length - 3, ".gz") == 0)
        length -= 3;
    return length >= wanted && strncmp(name + length - wanted, ending, wanted) == 0;
}

/* Both sides in one file. */
static bool is_paired(const td_string_list *files)
{
    for (size_t i = 0; i < files->count; i++)
        if (!has_ending(files->items[i], ".jsonl") && !has_ending(files->items[i], ".tsv"))
            return false;
    return true;
}

static td_status check_corpus(const td_recipe *recipe, const td_recipe_corpus *corpus, const char *source_key, const char *target_key,
                              td_error *error)
{
    size_t sources = corpus->source.count, targets = corpus->target.count;
    if (sources == targets || (targets == 0 && is_paired(&corpus->source)))
        return TD_OK;
    if (targets == 0)
        return fail(recipe, target_key, error, "missing; give the file that holds the targets line by line");
    if (sources == 0)
        return fail(recipe, source_key, error, "missing; give the file that holds the sources line by line");
    return fail(recipe, target_key, error, "as many files are needed as sources are given");
}

static td_status check_data(const td_recipe *recipe, td_error *error)
{
    if (!*recipe->output)
        return fail(recipe, "output", error, "missing; give the directory to write to");
    if (recipe->data.train.source.count == 0)
        return fail(recipe, "data.train.source", error, "missing; give the file or files to learn from");
    TD_TRY(check_corpus(recipe, &recipe->data.train, "data.train.source", "data.train.target", error));
    TD_TRY(check_corpus(recipe, &recipe->data.validation, "data.validation.source", "data.validation.target", error));
    if (recipe->data.languages.count != 0 && recipe->data.languages.count != recipe->data.train.source.count)
        return fail(recipe, "data.languages", error, "one code is needed for each file of data.train.source");
    if (recipe->data.languages.count != 0 && recipe->data.validation.source.count > recipe->data.languages.count)
        return fail(recipe, "data.validation.source", error, "more files than data.languages has codes: file i has code i");
    if ((*recipe->data.source_language || *recipe->data.target_language) && !*recipe->model.from && !*recipe->data.vocabulary.from)
        return fail(recipe, *recipe->data.source_language ? "data.source_language" : "data.target_language", error,
                    "needs model.from; a new vocabulary takes data.languages");
    if (*recipe->data.target_language && recipe->data.languages.count)
        return fail(recipe, "data.target_language", error, "does not go with data.languages");
    if (!*recipe->data.keys.source != !*recipe->data.keys.target)
        return fail(recipe, "data.keys.source", error, "data.keys.source and data.keys.target are given together");
    if (recipe->data.validation.source.count != 0)
        return TD_OK;
    if (recipe->training.patience != 0)
        return fail(recipe, "training.patience", error, "needs data.validation to measure progress on");
    if (recipe->training.schedule == TD_RECIPE_PLATEAU)
        return fail(recipe, "training.schedule", error, "plateau needs data.validation to measure progress on");
    if (recipe->training.validation_metric != TD_RECIPE_METRIC_LOSS)
        return fail(recipe, "training.validation_metric", error, "needs data.validation");
    return TD_OK;
}

/* Keys that follow others unless given. */
static void fill_dependent(td_recipe *recipe)
{
    td_recipe_stack *encoder = &recipe->model.encoder, *decoder = &recipe->model.decoder;
    if (!td_recipe_given(recipe, "model.decoder.layers"))
        decoder->layers = encoder->layers;
    if (!td_recipe_given(recipe, "model.decoder.width"))
        decoder->width = encoder->width;
    if (!td_recipe_given(recipe, "model.decoder.heads"))
        decoder->heads = encoder->heads;
    if (!td_recipe_given(recipe, "model.decoder.feed_forward"))
        decoder->feed_forward = encoder->feed_forward;
    if (recipe->model.type != TD_RECIPE_TRANSFORMER && !td_recipe_given(recipe, "model.attention"))
        recipe->model.attention = TD_RECIPE_ATTENTION_ADDITIVE;
    if (recipe->training.ctc_weight == 1 && !td_recipe_given(recipe, "generation.ctc_weight"))
        recipe->generation.ctc_weight = 1;
    if (recipe->task == TD_TASK_TRANSCRIBE && !td_recipe_given(recipe, "model.norm"))
        recipe->model.norm = TD_RECIPE_NORM_PRE; /* the speech_to_text layout has no other */
    bool text_source = td_recipe_reads_text(recipe);
    if ((!recipe->data.vocabulary.shared || !text_source) && !td_recipe_given(recipe, "model.tie_embeddings"))
        recipe->model.tie_embeddings = TD_RECIPE_TIE_TWO_WAY;
    if (!text_source && !td_recipe_given(recipe, "data.max_source_length"))
        recipe->data.max_source_length = recipe->task == TD_TASK_TRANSCRIBE ? 6000 : INT32_MAX;
}

static td_status check_speech(const td_recipe *recipe, td_error *error)
{
    const td_recipe_stack *encoder = &recipe->model.encoder;
    bool sound = recipe->task == TD_TASK_TRANSCRIBE;
    if (recipe->training.ctc_weight > 0 && !sound)
        return fail(recipe, "training.ctc_weight", error, "is for task: transcribe");
    if (recipe->generation.ctc_weight > 0 && recipe->training.ctc_weight <= 0 && !*recipe->model.from)
        return fail(recipe, "generation.ctc_weight", error, "needs training.ctc_weight");
    if (recipe->training.ctc_weight == 1 && recipe->generation.ctc_weight < 1)
        return fail(recipe, "generation.ctc_weight", error, "must be 1 where training.ctc_weight is: there is no trained decoder");
    if ((encoder->subsampling.count || encoder->pyramid_layers) && !(sound && recipe->model.type != TD_RECIPE_TRANSFORMER))
        return fail(recipe, encoder->pyramid_layers ? "model.encoder.pyramid_layers" : "model.encoder.subsampling", error,
                    "is for task: transcribe with a recurrent model");
    if (encoder->pyramid_layers && encoder->pyramid_layers >= encoder->layers)
        return fail(recipe, "model.encoder.pyramid_layers", error, "must be below model.encoder.layers");
    for (size_t i = 0; i < encoder->subsampling.count; i++)
        if (encoder->subsampling.count > 4 || strlen(encoder->subsampling.items[i]) != 1 ||
            !strchr("12345678", encoder->subsampling.items[i][0]))
            return fail(recipe, "model.encoder.subsampling", error, "must be at most 4 strides from 1 to 8, like [2, 2]");
    return TD_OK;
}

/* Every entry a whole number from 1 to `most`, without a sign. */
static bool are_sizes(const td_string_list *list, long most)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i];
        if (strlen(text) == 0 || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text) || strtol(text, NULL, 10) < 1 ||
            strtol(text, NULL, 10) > most)
            return false;
    }
    return true;
}

static td_status check_pictures(const td_recipe *recipe, td_error *error)
{
    const td_string_list *channels = &recipe->model.encoder.cnn.channels, *strides = &recipe->model.encoder.cnn.strides;
    bool pictures = recipe->task == TD_TASK_CAPTION;
    if (*recipe->model.encoder.from && !pictures)
        return fail(recipe, "model.encoder.from", error, "is for task: caption");
    if (recipe->model.encoder.trained_blocks > 0 && (!pictures || (!*recipe->model.encoder.from && !*recipe->model.from)))
        return fail(recipe, "model.encoder.trained_blocks", error, "is for task: caption with model.encoder.from or model.from");
    if (recipe->model.encoder.trained_blocks > 0 && !recipe->model.encoder.frozen)
        return fail(recipe, "model.encoder.trained_blocks", error, "needs model.encoder.frozen: true; else all blocks are trained");
    if (channels->count && (!pictures || *recipe->model.encoder.from))
        return fail(recipe, "model.encoder.cnn.channels", error, "is for task: caption without model.encoder.from");
    if (channels->count > 16 || !are_sizes(channels, 16384))
        return fail(recipe, "model.encoder.cnn.channels", error, "must be at most 16 numbers of channels, like [32, 64, 128]");
    if (strides->count && strides->count != channels->count)
        return fail(recipe, "model.encoder.cnn.strides", error, "needs one stride for each of model.encoder.cnn.channels");
    if (!are_sizes(strides, 8))
        return fail(recipe, "model.encoder.cnn.strides", error, "must be strides from 1 to 8, like [2, 2, 1]");
    return TD_OK;
}

/* Keys that only one kind of source has. */
static td_status check_source(const td_recipe *recipe, td_error *error)
{
    TD_TRY(check_speech(recipe, error));
    TD_TRY(check_pictures(recipe, error));
    if (recipe->data.audio.speed_perturbation && recipe->task != TD_TASK_TRANSCRIBE)
        return fail(recipe, "data.audio.speed_perturbation", error, "is for task: transcribe");
    if (recipe->training.spec_augment.time_masks + recipe->training.spec_augment.frequency_masks > 0 && recipe->task != TD_TASK_TRANSCRIBE)
        return fail(recipe, "training.spec_augment.time_masks", error, "is for task: transcribe");
    if (td_recipe_reads_text(recipe))
        return TD_OK;
    if (recipe->model.tie_embeddings == TD_RECIPE_TIE_THREE_WAY)
        return fail(recipe, "model.tie_embeddings", error, "three-way needs text on both sides");
    if (!is_paired(&recipe->data.train.source) || !is_paired(&recipe->data.validation.source))
        return fail(recipe, "data.train.source", error, "sound and pictures are listed in .tsv files (name, tab, text) or .jsonl");
    return TD_OK;
}

static td_status check_transformer(const td_recipe *recipe, td_error *error)
{
    const td_recipe_stack *encoder = &recipe->model.encoder, *decoder = &recipe->model.decoder;
    if (recipe->model.attention != TD_RECIPE_ATTENTION_MULTI_HEAD)
        return fail(recipe, "model.attention", error, "a transformer has multi-head");
    if (encoder->width % encoder->heads != 0)
        return fail(recipe, "model.encoder.heads", error, "must divide model.encoder.width");
    if (decoder->width % decoder->heads != 0)
        return fail(recipe, "model.decoder.heads", error, "must divide model.decoder.width");
    if (encoder->width != decoder->width)
        return fail(recipe, "model.decoder.width", error, "a transformer's must equal model.encoder.width");
    if (recipe->task == TD_TASK_TRANSCRIBE && recipe->model.norm != TD_RECIPE_NORM_PRE)
        return fail(recipe, "model.norm", error, "must be pre in a transformer for speech");
    if (recipe->task == TD_TASK_TRANSCRIBE && recipe->model.positions != TD_RECIPE_SINUSOIDAL)
        return fail(recipe, "model.positions", error, "must be sinusoidal in a transformer for speech");
    if (recipe->model.coverage)
        return fail(recipe, "model.coverage", error, "is for recurrent models");
    if (recipe->model.input_feeding)
        return fail(recipe, "model.input_feeding", error, "is for recurrent models");
    if (recipe->model.context_feeding)
        return fail(recipe, "model.context_feeding", error, "is for recurrent models");
    if (recipe->model.attention_size)
        return fail(recipe, "model.attention_size", error, "is for recurrent models");
    return TD_OK;
}

static td_status check_model(const td_recipe *recipe, td_error *error)
{
    if (*recipe->model.from)
        return TD_OK; /* the model's own configuration counts */
    if (recipe->model.tie_embeddings == TD_RECIPE_TIE_THREE_WAY && !recipe->data.vocabulary.shared)
        return fail(recipe, "model.tie_embeddings", error, "three-way needs data.vocabulary.shared: true");
    if (recipe->model.copy && !recipe->data.vocabulary.shared)
        return fail(recipe, "model.copy", error, "needs data.vocabulary.shared: true, so that a source piece has an id in the target");
    if (recipe->model.type == TD_RECIPE_TRANSFORMER)
        return check_transformer(recipe, error);
    if (recipe->model.attention == TD_RECIPE_ATTENTION_MULTI_HEAD)
        return fail(recipe, "model.attention", error, "recurrent models have none, additive, dot, general or concat");
    bool attends = recipe->model.attention != TD_RECIPE_ATTENTION_NONE;
    if (recipe->model.coverage && !attends)
        return fail(recipe, "model.coverage", error, "needs attention; set model.attention");
    if (recipe->model.input_feeding && !attends)
        return fail(recipe, "model.input_feeding", error, "needs attention; set model.attention");
    if (recipe->model.copy && !attends)
        return fail(recipe, "model.copy", error, "needs attention; set model.attention");
    if (recipe->model.context_feeding && attends)
        return fail(recipe, "model.context_feeding", error, "is for model.attention: none; attention feeds its own context");
    if (recipe->model.encoder.bidirectional && recipe->model.encoder.width % 2 != 0)
        return fail(recipe, "model.encoder.width", error, "must be even for a bidirectional encoder");
    return TD_OK;
}

static td_status check_minimum_risk(const td_recipe *recipe, td_error *error)
{
    if (recipe->training.minimum_risk.weight <= 0)
        return TD_OK;
    if (recipe->training.label_smoothing > 0)
        return fail(recipe, "training.label_smoothing", error,
                    "must be 0 with training.minimum_risk: what is worse than the mean is unlearned");
    if (recipe->training.r_drop > 0)
        return fail(recipe, "training.r_drop", error, "does not go with training.minimum_risk");
    if (recipe->training.ctc_weight > 0)
        return fail(recipe, "training.ctc_weight", error, "does not go with training.minimum_risk");
    if (recipe->data.bpe_dropout > 0 && recipe->model.copy)
        return fail(recipe, "data.bpe_dropout", error,
                    "does not go with training.minimum_risk and model.copy: samples name pieces of the source");
    return TD_OK;
}

static td_status check_training(const td_recipe *recipe, td_error *error)
{
    bool ends = recipe->training.max_steps > 0 || recipe->training.max_epochs > 0 || recipe->training.max_minutes > 0 ||
                recipe->training.patience > 0;
    if (!ends)
        return fail(recipe, "training.max_steps", error, "nothing ends the run; set max_steps, max_epochs, max_minutes or patience");
    bool planned = recipe->training.schedule == TD_RECIPE_LINEAR || recipe->training.schedule == TD_RECIPE_COSINE;
    if (planned && recipe->training.max_steps == 0)
        return fail(recipe, "training.schedule", error, "linear and cosine need training.max_steps");
    if (recipe->training.minimum_learning_rate > recipe->training.learning_rate)
        return fail(recipe, "training.minimum_learning_rate", error, "is above training.learning_rate");
    if (recipe->training.coverage_loss > 0 && !recipe->model.copy && !recipe->model.coverage && !*recipe->model.from)
        return fail(recipe, "training.coverage_loss", error, "needs model.copy or model.coverage");
    bool attends = recipe->model.type != TD_RECIPE_TRANSFORMER && recipe->model.attention != TD_RECIPE_ATTENTION_NONE;
    if (recipe->training.doubly_stochastic > 0 && !attends && !*recipe->model.from)
        return fail(recipe, "training.doubly_stochastic", error, "needs a recurrent model with attention");
    if (recipe->training.r_drop > 0 && recipe->model.copy)
        return fail(recipe, "training.r_drop", error, "does not go with model.copy");
    TD_TRY(check_minimum_risk(recipe, error));
    if (recipe->generation.min_length > recipe->generation.max_length)
        return fail(recipe, "generation.min_length", error, "is above generation.max_length");
    return TD_OK;
}

td_status td_recipe_check(td_recipe *recipe, td_error *error)
{
    fill_dependent(recipe);
    TD_TRY(check_data(recipe, error));
    TD_TRY(check_source(recipe, error));
    TD_TRY(check_model(recipe, error));
    return check_training(recipe, error);
}
