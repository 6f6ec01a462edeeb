/* Two BERTs as one model (BERT2BERT; Rothe 2020): the first reads, the second writes with cross-attention to it. Either may be RoBERTa. */
#include "models/bert.h"

#include "io/json.h"
#include "models/configuration.h"

#include <string.h>

typedef struct encoder_decoder {
    td_two_stacks stacks; /* first: the shared functions look for it there */
    size_t encoder_offset;
    td_parameter *bridge_weight, *bridge_bias; /* from the encoder's width to the decoder's; NULL: they are the same */
} encoder_decoder;

static td_status find_kind(const json_t *config, const char *file, const char *part, const td_bert_kind **ret_kind, td_error *error)
{
    const char *model_type;
    TD_TRY(td_json_get_string(config, file, "model_type", "", &model_type, error));
    *ret_kind = td_bert_kind_find(model_type);
    return *ret_kind ? TD_OK
                     : td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": \"model_type\": \"%s\" is not supported (bert, roberta)", file,
                               part, model_type);
}

static td_status configure_encoder(const json_t *config, const char *file, td_network *network, encoder_decoder *model, td_error *error)
{
    const td_bert_kind *kind;
    td_bert_sizes sizes;
    TD_TRY(find_kind(config, file, "encoder", &kind, error));
    TD_TRY(td_config_flag(config, file, "encoder-decoder", "is_decoder", false, error));
    TD_TRY(td_bert_read(kind, config, file, &model->stacks.encoder, &sizes, error));
    model->encoder_offset = sizes.offset;
    network->max_positions = sizes.positions - sizes.offset;
    return td_bert_declare(&network->parameters, kind, &sizes, &model->stacks.encoder, "encoder", error);
}

/* transformers puts a projection between two widths unless the decoder says that its cross-attention takes the encoder's. */
static td_status declare_bridge(const json_t *decoder, const char *file, td_network *network, encoder_decoder *model, td_error *error)
{
    size_t from = model->stacks.encoder.width, to = model->stacks.decoder.stack.width;
    if (from == to)
        return TD_OK;
    if (td_json_has(decoder, "cross_attention_hidden_size"))
        return td_fail(error, TD_ERROR_UNSUPPORTED,
                       "%s: \"cross_attention_hidden_size\" is not supported where \"hidden_size\" of encoder and decoder differ", file);
    model->bridge_weight = td_parameters_declare(&network->parameters, to, from, TD_INIT_XAVIER, 1, "enc_to_dec_proj.weight");
    td_parameters_product(&network->parameters);
    model->bridge_bias = td_parameters_declare(&network->parameters, to, 0, TD_INIT_ZERO, 0, "enc_to_dec_proj.bias");
    return TD_OK;
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    const json_t *encoder = json_object_get(config, "encoder"), *decoder = json_object_get(config, "decoder");
    const td_bert_kind *kind;
    encoder_decoder *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    if (!json_is_object(encoder) || !json_is_object(decoder))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"encoder\" and \"decoder\" must be objects", file);
    TD_TRY(td_config_flag(config, file, "encoder-decoder", "tie_encoder_decoder", false, error));
    TD_TRY(td_config_nested_ids(config, decoder, file, network, error));
    TD_TRY(configure_encoder(encoder, file, network, model, error));
    TD_TRY(find_kind(decoder, file, "decoder", &kind, error));
    TD_TRY(td_bert_decoder_configure(kind, decoder, file, "decoder", 0, network, &model->stacks.decoder, error));
    return declare_bridge(decoder, file, network, model, error);
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const encoder_decoder *model = network->family;
    td_tensor *x = td_text_encode(&model->stacks.encoder, network, graph, 1, model->encoder_offset, source);
    if (model->bridge_weight)
        x = td_linear_apply(graph, x, model->bridge_weight, model->bridge_bias);
    *ret_memory = (td_memory){source->ragged, x, NULL, source->ids};
    return graph->error.status;
}

extern const td_architecture td_architecture_encoder_decoder;
const td_architecture td_architecture_encoder_decoder = {
    .model_type = "encoder-decoder",
    .source = TD_TEXT,
    .configure = configure,
    .release = td_two_stacks_release,
    .encode = encode,
    TD_TEXT_DECODER_FUNCTIONS,
};
