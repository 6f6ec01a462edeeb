#include "models/configuration.h"

#include "io/json.h"

#include <string.h>

td_status td_config_size_or(const json_t *config, const char *file, const char *key, size_t limit, size_t fallback, size_t *ret_size,
                            td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, (int64_t)fallback, &value, error));
    if (value < 1 || (uint64_t)value > limit)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be an integer from 1 to %zu", file, key, limit);
    *ret_size = (size_t)value;
    return TD_OK;
}

td_status td_config_size(const json_t *config, const char *file, const char *key, size_t limit, size_t *ret_size, td_error *error)
{
    return td_config_size_or(config, file, key, limit, 0, ret_size, error);
}

td_status td_config_real(const json_t *config, const char *file, const char *key, double fallback, td_real *ret_value, td_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (value && !(json_is_number(value) && json_number_value(value) > 0))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a number above 0", file, key);
    *ret_value = (td_real)(value ? json_number_value(value) : fallback);
    return TD_OK;
}

bool td_activation_find(const char *name, td_activation *ret_activation)
{
    static const struct {
        const char *name;
        td_activation activation;
    } names[] = {{"relu", TD_RELU},  {"relu6", TD_RELU6}, {"gelu", TD_GELU},          {"swish", TD_SWISH},
                 {"silu", TD_SWISH}, {"tanh", TD_TANH},   {"gelu_new", TD_GELU_TANH}, {"gelu_pytorch_tanh", TD_GELU_TANH}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *ret_activation = names[i].activation;
            return true;
        }
    }
    return false;
}

td_status td_config_activation(const json_t *config, const char *file, const char *key, const char *fallback, td_activation *ret_activation,
                               td_error *error)
{
    const char *name;
    TD_TRY(td_json_get_string(config, file, key, fallback, &name, error));
    if (!td_activation_find(name, ret_activation))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": \"%s\" is not supported (" TD_ACTIVATION_NAMES ")", file, key, name);
    return TD_OK;
}

td_status td_config_id(const json_t *config, const char *file, const char *key, int32_t *ret_id, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, key, -1, &value, error));
    if (value < -1 || value > INT32_MAX)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a token id", file, key);
    *ret_id = (int32_t)value;
    return TD_OK;
}

/* Token ids of families (and of decoders within larger ones) whose configuration does not have the key; -1: none. */
static const struct usual_ids {
    const char *model_type;
    int32_t pad, eos, bos, start;
} usual[] = {
    {"marian", 58100, 0, -1, 58100}, {"bart", 1, 2, 0, 2},     {"mbart", 1, 2, 0, -1},         {"pegasus", 0, 1, -1, 0},
    {"m2m_100", 1, 2, 0, 2},         {"t5", 0, 1, -1, 0},      {"mt5", 0, 1, -1, 0},           {"whisper", 50256, 50256, 50256, 50257},
    {"moonshine", -1, 2, 1, 1},      {"trocr", 1, 2, 0, 2},    {"speech_to_text", 1, 2, 0, 2}, {"gpt2", -1, 50256, 50256, -1},
    {"bert", 0, -1, -1, -1},         {"roberta", 1, 2, 0, -1},
};

static const struct usual_ids *find_usual(const json_t *config)
{
    static const struct usual_ids none = {"", -1, -1, -1, -1};
    const char *model_type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; model_type && i < sizeof usual / sizeof *usual; i++)
        if (strcmp(usual[i].model_type, model_type) == 0)
            return &usual[i];
    return &none;
}

/* A key that is null says that there is no such token; one that is missing means the family's, where the vocabulary has it: Marian's 58100
 * is no token of a smaller model. */
td_status td_config_ids(const json_t *config, const char *file, td_network *network, td_error *error)
{
    const struct usual_ids *ids = find_usual(config);
    const struct {
        const char *key;
        int32_t *id, usual;
    } keys[] = {{"pad_token_id", &network->pad_id, ids->pad},
                {"eos_token_id", &network->eos_id, ids->eos},
                {"bos_token_id", &network->bos_id, ids->bos},
                {"decoder_start_token_id", &network->decoder_start_id, ids->start}};
    int64_t words;
    TD_TRY(td_json_get_integer(config, file, "vocab_size", INT32_MAX, &words, error));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        TD_TRY(td_config_id(config, file, keys[i].key, keys[i].id, error));
        if (!json_object_get(config, keys[i].key) && keys[i].usual < words)
            *keys[i].id = keys[i].usual;
    }
    return TD_OK;
}

td_status td_config_counted_start(const char *file, int32_t pad, const td_network *network, td_error *error)
{
    if (pad < 0 || pad != network->decoder_start_id)
        return TD_OK;
    return td_fail(error, TD_ERROR_UNSUPPORTED,
                   "%s: \"pad_token_id\" %d must not be \"decoder_start_token_id\" too: padding has no position", file, pad);
}

td_status td_config_nested_ids(const json_t *config, const json_t *decoder, const char *file, td_network *network, td_error *error)
{
    TD_TRY(td_config_ids(decoder, file, network, error));
    td_network whole = {.pad_id = -1};
    TD_TRY(td_config_ids(config, file, &whole, error));
    network->pad_id = whole.pad_id >= 0 ? whole.pad_id : network->pad_id;
    network->eos_id = whole.eos_id >= 0 ? whole.eos_id : network->eos_id;
    network->bos_id = whole.bos_id >= 0 ? whole.bos_id : network->bos_id;
    network->decoder_start_id = whole.decoder_start_id >= 0 ? whole.decoder_start_id : network->decoder_start_id;
    return TD_OK;
}

td_status td_config_flag(const json_t *config, const char *file, const char *model_type, const char *key, bool wanted, td_error *error)
{
    bool value;
    TD_TRY(td_json_get_bool(config, file, key, wanted, &value, error));
    if (value != wanted)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": %s is not supported for model type %s (%s is)", file, key,
                       value ? "true" : "false", model_type, wanted ? "true" : "false");
    return TD_OK;
}
