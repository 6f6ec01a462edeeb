/* BLIP that writes captions (Li 2022): a ViT with one product for query, key and value, in front of a BERT that decodes. */
#include "models/bert.h"
#include "models/patch_encoder.h"

#include "io/json.h"

typedef struct blip {
    td_text_decoder decoder; /* first: the shared functions look for it there */
    td_patch_encoder encoder;
} blip;

/* Captions begin with "bos_token_id" and end with "sep_token_id" of the text decoder, as transformers has them whatever the files'
 * "eos_token_id" says. */
static td_status read_ids(const json_t *text, const char *file, td_network *network, td_error *error)
{
    int64_t bos, sep, pad;
    TD_TRY(td_json_get_integer(text, file, "bos_token_id", 30522, &bos, error));
    TD_TRY(td_json_get_integer(text, file, "sep_token_id", 102, &sep, error));
    TD_TRY(td_json_get_integer(text, file, "pad_token_id", 0, &pad, error));
    const struct {
        const char *key;
        int64_t value;
    } ids[] = {{"bos_token_id", bos}, {"sep_token_id", sep}, {"pad_token_id", pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].value < 0 || (uint64_t)ids[i].value >= network->vocabulary)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\" must be a token id from 0 to %zu", file, ids[i].key,
                           network->vocabulary - 1);
    network->bos_id = network->decoder_start_id = (int32_t)bos;
    network->eos_id = (int32_t)sep;
    network->pad_id = (int32_t)pad;
    network->own_ids = true;
    return TD_OK;
}

static td_status configure(const json_t *config, const char *file, td_network *network, td_error *error)
{
    const json_t *vision = json_object_get(config, "vision_config"), *text = json_object_get(config, "text_config");
    blip *model = td_allocate_array(1, sizeof *model);
    if (!model)
        return td_fail_memory(error, sizeof *model);
    network->family = model;
    if (!json_is_object(vision) || !json_is_object(text))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"vision_config\" and \"text_config\" must be objects", file);
    TD_TRY(td_patch_encoder_configure(&td_patch_names_blip, vision, file, "vision_model", &network->parameters, &model->encoder, error));
    TD_TRY(td_bert_decoder_configure(&td_bert_kind_blip, text, file, "text_decoder", model->encoder.stack.width, network, &model->decoder,
                                     error));
    network->feature_width = model->encoder.channels;
    return read_ids(text, file, network, error);
}

static void release(td_network *network)
{
    blip *model = network->family;
    td_release(model->encoder.stack.layer);
    td_release(model->decoder.stack.layer);
    td_release(model);
    network->family = NULL;
}

static td_status encode(const td_network *network, td_graph *graph, const td_batch *source, td_memory *ret_memory)
{
    const blip *model = network->family;
    td_ragged ragged = {0};
    td_tensor *x = td_patch_encode(&model->encoder, network, graph, source, &ragged);
    *ret_memory = (td_memory){ragged, x, NULL, NULL};
    return graph->error.status;
}

extern const td_architecture td_architecture_blip;
const td_architecture td_architecture_blip = {
    .model_type = "blip",
    .source = TD_IMAGE,
    .configure = configure,
    .release = release,
    .encode = encode,
    TD_TEXT_DECODER_FUNCTIONS,
};
