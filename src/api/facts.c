#include "api/facts.h"

#include "platform/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACTS_MAX = 64, README_LIMIT = 1 << 20 };

struct td_facts {
    td_fact facts[FACTS_MAX];
    size_t count;
    bool failed;
};

static void add(td_facts *facts, const char *name, bool number, const char *from, const char *format, ...) TD_PRINTF(5, 6);
static void add(td_facts *facts, const char *name, bool number, const char *from, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (facts->count == FACTS_MAX)
        return;
    td_fact fact = {td_copy_string(name), td_copy_string(text), number, td_copy_string(from)};
    facts->failed = facts->failed || !fact.name || !fact.value || !fact.from;
    facts->facts[facts->count++] = fact;
}

/* Keys of config.json worth showing, under one name for all families; of rows with the same name the first found
 * counts. `part`: an object of config.json that holds the key; NULL: config.json itself. */
static const struct {
    const char *name, *part, *key;
} sizes[] = {
    {"encoder_layers", NULL, "encoder_layers"},
    {"encoder_layers", NULL, "num_layers"},
    {"encoder_layers", "encoder", "num_hidden_layers"},
    {"encoder_layers", "vision_config", "num_hidden_layers"},
    {"encoder_layers", NULL, "encoder_num_hidden_layers"},
    {"decoder_layers", NULL, "decoder_layers"},
    {"decoder_layers", NULL, "decoder_num_hidden_layers"},
    {"decoder_layers", NULL, "num_decoder_layers"},
    {"decoder_layers", "decoder", "num_hidden_layers"},
    {"decoder_layers", "decoder", "n_layer"},
    {"decoder_layers", "decoder", "decoder_layers"},
    {"decoder_layers", "text_config", "num_hidden_layers"},
    {"decoder_layers", NULL, "num_layers"},
    {"width", NULL, "d_model"},
    {"width", NULL, "hidden_size"},
    {"encoder_width", "encoder", "hidden_size"},
    {"encoder_width", "vision_config", "hidden_size"},
    {"decoder_width", "decoder", "hidden_size"},
    {"decoder_width", "decoder", "n_embd"},
    {"decoder_width", "decoder", "d_model"},
    {"decoder_width", "text_config", "hidden_size"},
    {"embedding_width", NULL, "embedding_size"},
    {"encoder_heads", NULL, "encoder_attention_heads"},
    {"encoder_heads", NULL, "num_heads"},
    {"encoder_heads", NULL, "encoder_num_attention_heads"},
    {"encoder_heads", "encoder", "num_attention_heads"},
    {"encoder_heads", "vision_config", "num_attention_heads"},
    {"decoder_heads", NULL, "decoder_attention_heads"},
    {"decoder_heads", NULL, "decoder_num_attention_heads"},
    {"decoder_heads", "decoder", "num_attention_heads"},
    {"decoder_heads", "decoder", "n_head"},
    {"decoder_heads", "decoder", "decoder_attention_heads"},
    {"decoder_heads", "text_config", "num_attention_heads"},
    {"encoder_feed_forward", NULL, "encoder_ffn_dim"},
    {"encoder_feed_forward", NULL, "d_ff"},
    {"encoder_feed_forward", NULL, "intermediate_size"},
    {"encoder_feed_forward", "encoder", "intermediate_size"},
    {"encoder_feed_forward", "vision_config", "intermediate_size"},
    {"decoder_feed_forward", NULL, "decoder_ffn_dim"},
    {"decoder_feed_forward", "decoder", "intermediate_size"},
    {"decoder_feed_forward", "text_config", "intermediate_size"},
    {"encoder", "encoder", "model_type"},
    {"decoder", "decoder", "model_type"},
    {"activation", NULL, "activation_function"},
    {"activation", NULL, "feed_forward_proj"},
    {"picture_side", "encoder", "image_size"},
    {"picture_side", "vision_config", "image_size"},
    {"patch_side", "encoder", "patch_size"},
    {"patch_side", "vision_config", "patch_size"},
    {"mel_bins", NULL, "num_mel_bins"},
    {"filters", NULL, "input_feat_per_channel"},
    {"attention", NULL, "attention"},
    {"cell", NULL, "cell"},
    {"bidirectional", NULL, "bidirectional"},
};

/* What sets a model apart from what most of its kind do: key, the value that is worth a word, and the word. */
static const struct {
    const char *part, *key, *value, *word;
} unusual[] = {
    {NULL, "tie_word_embeddings", "false", "a table of its own for the output"},
    {"decoder", "tie_word_embeddings", "false", "a table of its own for the output"},
    {NULL, "share_encoder_decoder_embeddings", "false", "a vocabulary for each side"},
    {NULL, "scale_embedding", "true", "embeddings scaled by the root of the width"},
    {"decoder", "scale_embedding", "true", "embeddings scaled by the root of the width"},
    {"encoder", "qkv_bias", "false", "queries, keys and values without bias"},
    {"decoder", "use_learned_position_embeddings", "false", "sinusoidal positions in the decoder"},
    {NULL, "is_gated_act", "true", "gated feed-forward layers"},
    {"encoder", "model_type", "\"deit\"", "a distillation token before the picture"},
    {"encoder", "model_type", "\"roberta\"", "positions counted from after the padding's"},
    {"decoder", "model_type", "\"roberta\"", "positions counted from after the padding's"},
};

static const json_t *part_of(const json_t *config, const char *part)
{
    return part ? json_object_get(config, part) : config;
}

static void add_unusual(td_facts *facts, const td_model *model)
{
    td_buffer words = TD_BUFFER_INIT;
    for (size_t i = 0; i < sizeof unusual / sizeof *unusual; i++) {
        const json_t *found = json_object_get(part_of(model->config, unusual[i].part), unusual[i].key);
        json_t *wanted = json_loads(unusual[i].value, JSON_DECODE_ANY, NULL);
        if (!unusual[i].part && json_object_get(model->config, "decoder")) /* the part's own value counts */
            found = NULL;
        if (found && json_equal(found, wanted))
            td_buffer_format(&words, "%s%s", words.length ? "; " : "", unusual[i].word);
        json_decref(wanted);
    }
    if (model->generation.suppress_tokens.count)
        td_buffer_format(&words, "%s%zu tokens never written", words.length ? "; " : "", model->generation.suppress_tokens.count);
    if (model->generation.bad_words_count)
        td_buffer_format(&words, "%s%zu sequences never written", words.length ? "; " : "", model->generation.bad_words_count);
    if (words.length)
        add(facts, "unusual", false, "config.json, generation_config.json", "%s", td_buffer_text(&words));
    td_buffer_free(&words);
}

static void add_source(td_facts *facts, const td_model *model)
{
    static const char *const names[] = {[TD_TEXT] = "text", [TD_AUDIO] = "sound", [TD_IMAGE] = "pictures"};
    td_modality source = model->network.architecture->source;
    add(facts, "source", false, "the family", "%s", names[source]);
    if (source != TD_TEXT && !model->frontend.kind)
        add(facts, "front_end", false, model->frontend_error.message, "none");
}

static bool known(const td_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->count; i++)
        if (facts->facts[i].name && strcmp(facts->facts[i].name, name) == 0)
            return true;
    return false;
}

static void add_sizes(td_facts *facts, const json_t *config)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const json_t *value = json_object_get(part_of(config, sizes[i].part), sizes[i].key);
        char from[96];
        snprintf(from, sizeof from, "config.json: %s%s%s", sizes[i].part ? sizes[i].part : "", sizes[i].part ? "." : "", sizes[i].key);
        if (known(facts, sizes[i].name))
            continue;
        if (json_is_integer(value))
            add(facts, sizes[i].name, true, from, "%lld", (long long)json_integer_value(value));
        else if (json_is_string(value))
            add(facts, sizes[i].name, false, from, "%s", json_string_value(value));
        else if (json_is_boolean(value))
            add(facts, sizes[i].name, false, from, "%s", json_is_true(value) ? "yes" : "no");
    }
}

static void add_tokenizer(td_facts *facts, const td_model *model)
{
    if (!model->tokenizer) {
        add(facts, "tokenizer", false, model->tokenizer_error.message, "none");
        return;
    }
    add(facts, "tokenizer", false, "the tokenizer's files", "%s", td_tokenizer_kind_name(model->tokenizer));
    add(facts, "tokenizer_size", true, "the tokenizer's files", "%zu", td_tokenizer_size(model->tokenizer));
    if (!model->languages[0])
        return;
    td_buffer names = TD_BUFFER_INIT;
    for (size_t i = 0; model->languages[i]; i++)
        td_buffer_format(&names, "%s%s", i ? " " : "", model->languages[i]);
    add(facts, "target_languages", false, "the vocabulary", "%s", td_buffer_text(&names));
    td_buffer_free(&names);
}

/* A number among the facts already collected; 0: unknown. */
static double known_number(const td_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->count; i++)
        if (facts->facts[i].name && facts->facts[i].value && facts->facts[i].number && strcmp(facts->facts[i].name, name) == 0)
            return strtod(facts->facts[i].value, NULL);
    return 0;
}

/* Rows that attention looks at, at most. */
static double longest_source(const td_facts *facts, const td_model *model)
{
    double side = known_number(facts, "picture_side"), patch = known_number(facts, "patch_side");
    if (side > 0 && patch > 0)
        return side / patch * (side / patch) + 2;
    double frames = json_number_value(json_object_get(model->config, "max_source_positions"));
    return frames > 0 ? frames : (double)model->network.max_positions;
}

static void add_memory(td_facts *facts, const td_model *model)
{
    size_t weights = td_parameters_bytes(&model->network.parameters);
    add(facts, "memory_weights", true, "computed: weights as held in memory, in bytes", "%zu", weights);
    double width = known_number(facts, known(facts, "decoder_width") ? "decoder_width" : "width"),
           layers = known_number(facts, "decoder_layers");
    double beam = (double)model->generation.num_beams;
    double length = model->generation.max_length ? (double)model->generation.max_length : (double)model->network.max_positions;
    double source = longest_source(facts, model);
    if (width > 0 && layers > 0 && length > 0 && source > 0)
        add(facts, "memory_per_sentence", true,
            "computed: keys and values of the longest source and target and the beam's logits, in bytes", "%.0f",
            4 * (2 * layers * width * (source + beam * length) + beam * (double)model->network.vocabulary));
}

static void add_generation(td_facts *facts, const td_model *model)
{
    const char *from = "generation_config.json";
    add(facts, "beam", true, from, "%zu", model->generation.num_beams);
    add(facts, "length_penalty", true, from, "%g", model->generation.length_penalty);
    if (model->generation.max_new_tokens)
        add(facts, "max_new_tokens", true, from, "%zu", model->generation.max_new_tokens);
    else if (model->generation.max_length)
        add(facts, "max_length", true, from, "%zu", model->generation.max_length);
}

/* The value of "key:" in the block between two lines "---" at the beginning of a model card. */
static bool card_value(const char *text, const char *key, char *value, size_t size)
{
    if (strncmp(text, "---\n", 4) != 0)
        return false;
    for (const char *line = text + 4; *line && strncmp(line, "---", 3) != 0;) {
        size_t length = strcspn(line, "\n"), name = strlen(key);
        if (length > name && strncmp(line, key, name) == 0 && line[name] == ':') {
            const char *at = line + name + 1;
            at += strspn(at, " \t");
            snprintf(value, size, "%.*s", (int)(length - (size_t)(at - line)), at);
            return *value != 0;
        }
        line += length + (line[length] != 0);
    }
    return false;
}

static void add_card(td_facts *facts, const td_model *model)
{
    char value[256];
    td_buffer text = TD_BUFFER_INIT;
    char *path = td_path_join(model->directory, "README.md");
    if (path && td_file_exists(path) && td_file_read(path, README_LIMIT, &text, NULL) == TD_OK) {
        if (card_value(td_buffer_text(&text), "license", value, sizeof value))
            add(facts, "licence", false, "README.md", "%s", value);
        if (card_value(td_buffer_text(&text), "language", value, sizeof value))
            add(facts, "language", false, "README.md", "%s", value);
    }
    td_buffer_free(&text);
    td_release(path);
}

td_status td_facts_collect(const td_model *model, td_facts **ret_facts, td_error *error)
{
    td_facts *facts = td_allocate_array(1, sizeof *facts);
    if (!facts)
        return td_fail_memory(error, sizeof *facts);
    add(facts, "family", false, "config.json: model_type", "%s", model->network.architecture->model_type);
    add_sizes(facts, model->config);
    add_source(facts, model);
    add(facts, "vocabulary", true, "config.json: vocab_size", "%zu", model->network.vocabulary);
    if (model->max_source)
        add(facts, "max_source", true,
            model->max_source == model->network.max_positions ? "config.json: max_position_embeddings"
                                                              : "config.json: tandem.max_source_length, what it was trained on",
            "%zu", model->max_source);
    add(facts, "parameters", true, "counted: trained weights", "%zu", td_parameters_trained_count(&model->network.parameters));
    add(facts, "precision", false, "model.safetensors: type of most elements", "%s", model->stored.precision);
    add(facts, "file_bytes", true, "model.safetensors: all tensors", "%zu", model->stored.bytes);
    add_memory(facts, model);
    add_tokenizer(facts, model);
    add_generation(facts, model);
    add_unusual(facts, model);
    add_card(facts, model);
    if (facts->failed) {
        td_facts_free(facts);
        return td_fail_memory(error, 0);
    }
    *ret_facts = facts;
    return TD_OK;
}

void td_facts_free(td_facts *facts)
{
    for (size_t i = 0; facts && i < facts->count; i++) {
        td_release((char *)facts->facts[i].name);
        td_release((char *)facts->facts[i].value);
        td_release((char *)facts->facts[i].from);
    }
    td_release(facts);
}

const td_fact *td_model_fact(const td_model *model, size_t index)
{
    return index < model->facts->count ? &model->facts->facts[index] : NULL;
}
