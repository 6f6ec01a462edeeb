#include "shapes.h"

#include <base/buffer.h>
#include <io/json.h>
#include <models/architecture.h>
#include <platform/file.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 1 << 14 };

#define MARIAN(width, feed_forward, encoder, decoder, positions, words, last)                                                              \
    "{\"model_type\": \"marian\", \"architectures\": [\"MarianMTModel\"], \"d_model\": " #width ", \"encoder_layers\": " #encoder          \
    ", \"decoder_layers\": " #decoder ", \"encoder_ffn_dim\": " #feed_forward ", \"decoder_ffn_dim\": " #feed_forward                      \
    ", \"encoder_attention_heads\": 8, \"decoder_attention_heads\": 8, "                                                                   \
    "\"activation_function\": \"swish\", \"static_position_embeddings\": true, \"scale_embedding\": true, "                                \
    "\"max_position_embeddings\": " #positions ", \"share_encoder_decoder_embeddings\": true, \"vocab_size\": " #words                     \
    ", \"decoder_vocab_size\": " #words ", \"pad_token_id\": " #last ", \"decoder_start_token_id\": " #last                                \
    ", \"eos_token_id\": 0, \"bos_token_id\": 0, \"forced_eos_token_id\": 0, \"bad_words_ids\": [[" #last "]]}\n"

#define GRU(width, words)                                                                                                                  \
    "{\"model_type\": \"tandem-rnn\", \"cell\": \"gru\", \"attention\": \"additive\", \"encoder_bidirectional\": true, "                   \
    "\"hidden_size\": " #width ", \"encoder_hidden_size\": 256, \"embedding_size\": " #width                                               \
    ", \"tie_embeddings\": \"three-way\", \"vocab_size\": " #words                                                                         \
    ", \"pad_token_id\": 1, \"bos_token_id\": 0, \"eos_token_id\": 0, \"decoder_start_token_id\": 1}\n"

static const struct shape {
    const char *name, *config, *preprocessor;
} shapes[] = {
    {"opus", MARIAN(512, 2048, 6, 6, 512, 58101, 58100), NULL},
    {"tiny", MARIAN(256, 1536, 6, 2, 512, 32000, 31999), NULL},
    {"gru", GRU(512, 32000), NULL},
    {"growth-1000", MARIAN(128, 512, 2, 2, 4200, 1000, 999), NULL},
    {"growth-8000", MARIAN(128, 512, 2, 2, 4200, 8000, 7999), NULL},
    {"growth-32000", MARIAN(128, 512, 2, 2, 4200, 32000, 31999), NULL},
    {"growth-128000", MARIAN(128, 512, 2, 2, 4200, 128000, 127999), NULL},
    {"whisper-base",
     "{\"model_type\": \"whisper\", \"architectures\": [\"WhisperForConditionalGeneration\"], \"d_model\": 512, "
     "\"encoder_layers\": 6, \"decoder_layers\": 6, \"encoder_ffn_dim\": 2048, \"decoder_ffn_dim\": 2048, "
     "\"encoder_attention_heads\": 8, \"decoder_attention_heads\": 8, \"activation_function\": \"gelu\", "
     "\"num_mel_bins\": 80, \"max_source_positions\": 1500, \"max_target_positions\": 448, \"scale_embedding\": false, "
     "\"vocab_size\": 51865, \"pad_token_id\": 50257, \"bos_token_id\": 50257, \"eos_token_id\": 50257, "
     "\"decoder_start_token_id\": 50258}\n",
     NULL},
    {"t5-small",
     "{\"model_type\": \"t5\", \"architectures\": [\"T5ForConditionalGeneration\"], \"d_model\": 512, \"d_kv\": 64, \"d_ff\": 2048, "
     "\"num_layers\": 6, \"num_decoder_layers\": 6, \"num_heads\": 8, \"relative_attention_num_buckets\": 32, "
     "\"feed_forward_proj\": \"relu\", \"vocab_size\": 32128, \"pad_token_id\": 0, \"eos_token_id\": 1, \"decoder_start_token_id\": 0}\n",
     NULL},
    {"vit-gpt2",
     "{\"model_type\": \"vision-encoder-decoder\", \"architectures\": [\"VisionEncoderDecoderModel\"], \"decoder_start_token_id\": 50256, "
     "\"pad_token_id\": 50256, \"eos_token_id\": 50256, \"encoder\": {\"model_type\": \"vit\", \"hidden_size\": 768, "
     "\"num_hidden_layers\": 12, \"num_attention_heads\": 12, \"intermediate_size\": 3072, \"image_size\": 224, \"patch_size\": 16}, "
     "\"decoder\": {\"model_type\": \"gpt2\", \"n_embd\": 768, \"n_layer\": 12, \"n_head\": 12, \"n_positions\": 1024, "
     "\"vocab_size\": 50257, \"add_cross_attention\": true, \"is_decoder\": true}}\n",
     "{\"image_processor_type\": \"ViTImageProcessor\", \"size\": {\"height\": 224, \"width\": 224}}\n"},
    {"donut",
     "{\"model_type\": \"vision-encoder-decoder\", \"architectures\": [\"VisionEncoderDecoderModel\"], \"decoder_start_token_id\": 0, "
     "\"pad_token_id\": 1, \"eos_token_id\": 2, \"encoder\": {\"model_type\": \"donut-swin\", \"image_size\": [2560, 1920], "
     "\"patch_size\": 4, \"num_channels\": 3, \"embed_dim\": 128, \"depths\": [2, 2, 14, 2], \"num_heads\": [4, 8, 16, 32], "
     "\"window_size\": 10, \"mlp_ratio\": 4.0, \"hidden_size\": 1024}, \"decoder\": {\"model_type\": \"mbart\", \"d_model\": 1024, "
     "\"decoder_layers\": 4, \"decoder_attention_heads\": 16, \"decoder_ffn_dim\": 4096, \"max_position_embeddings\": 1536, "
     "\"vocab_size\": 57525, \"scale_embedding\": true, \"add_final_layer_norm\": true, \"activation_function\": \"gelu\", "
     "\"add_cross_attention\": true, \"is_decoder\": true}}\n",
     "{\"image_processor_type\": \"DonutImageProcessor\", \"size\": {\"height\": 2560, \"width\": 1920}, \"do_align_long_axis\": false}\n"},
    {"nllb-600m",
     "{\"model_type\": \"m2m_100\", \"architectures\": [\"M2M100ForConditionalGeneration\"], \"d_model\": 1024, "
     "\"encoder_layers\": 12, \"decoder_layers\": 12, \"encoder_ffn_dim\": 4096, \"decoder_ffn_dim\": 4096, "
     "\"encoder_attention_heads\": 16, \"decoder_attention_heads\": 16, \"activation_function\": \"relu\", \"scale_embedding\": true, "
     "\"max_position_embeddings\": 1024, \"vocab_size\": 256206, \"pad_token_id\": 1, \"bos_token_id\": 0, \"eos_token_id\": 2, "
     "\"decoder_start_token_id\": 2}\n",
     NULL},
};

static const struct shape *find(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

const char *bench_shape_config(const char *name)
{
    const struct shape *shape = find(name);
    return shape ? shape->config : NULL;
}

/* ---- weights ---- */

/* A tensor as files hold it: several weights may be parts of one (GPT-2's), which the first of them stands for. */
typedef struct tensor_shape {
    const char *name;
    size_t rank, shape[4], count;
    float constant;              /* below 0: random */
    size_t first_zero, end_zero; /* numbers that are 0 though the rest is random */
} tensor_shape;

/* The embedding of padding is zero in what PyTorch trained: decoders of the BART line begin with it, and CTranslate2 has Marian's begin
 * with zeros whatever the file says. */
static void clear_padding(const td_network *network, tensor_shape *shape)
{
    if (network->pad_id < 0 || strcmp(shape->name, "model.shared.weight") != 0)
        return;
    shape->first_zero = (size_t)network->pad_id * shape->shape[1];
    shape->end_zero = shape->first_zero + shape->shape[1];
}

static bool describe(const td_parameters *parameters, size_t index, tensor_shape *ret_shape)
{
    const td_parameter_entry *entry = parameters->entries[index];
    const td_parameter *parameter = &entry->parameter;
    if (parameter->constant && !entry->kept)
        return false;
    for (size_t i = 0; entry->whole && i < index; i++)
        if (parameters->entries[i]->whole && strcmp(parameters->entries[i]->whole, entry->whole) == 0)
            return false;
    tensor_shape shape = {.name = entry->whole ? entry->whole : parameter->name, .rank = parameter->rank, .count = 1};
    memcpy(shape.shape, parameter->shape, sizeof shape.shape);
    if (entry->whole)
        shape.shape[0] = entry->whole_rows;
    if (entry->transposed && shape.rank == 2) {
        size_t rows = shape.shape[0];
        shape.shape[0] = shape.shape[1];
        shape.shape[1] = rows;
    }
    for (size_t i = 0; i < shape.rank; i++)
        shape.count *= shape.shape[i];
    shape.constant = entry->initialiser == TD_INIT_ONE ? 1 : entry->initialiser == TD_INIT_ZERO ? 0 : -1;
    *ret_shape = shape;
    return true;
}

static size_t element_size(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 ? 4 : 2;
}

/* The header of the tensors of one shard, padded to eight bytes as the format asks. */
static void add_header(td_buffer *header, const tensor_shape *tensors, size_t count, const char *dtype)
{
    size_t at = 0;
    td_buffer_format(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < count; i++) {
        td_buffer_format(header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensors[i].name, dtype);
        for (size_t k = 0; k < tensors[i].rank; k++)
            td_buffer_format(header, "%s%zu", k ? "," : "", tensors[i].shape[k]);
        size_t end = at + tensors[i].count * element_size(dtype);
        td_buffer_format(header, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    td_buffer_format(header, "}");
    while (header->length % 8)
        td_buffer_format(header, " ");
}

static uint16_t narrow(float value, const char *dtype)
{
    return strcmp(dtype, "F16") == 0 ? td_float_to_float16(value) : td_float_to_bfloat16(value);
}

/* Uniform in +-0.05 from a linear congruential generator (Knuth's), seeded by the tensor. */
static bool write_values(FILE *file, const tensor_shape *tensor, const char *dtype, uint64_t seed)
{
    static float wide[BLOCK];
    static uint16_t half[BLOCK];
    bool good = true;
    for (size_t at = 0; good && at < tensor->count;) {
        size_t left = tensor->count - at, count = left < BLOCK ? left : BLOCK;
        for (size_t i = 0; i < count; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            wide[i] = tensor->constant >= 0 ? tensor->constant : ((float)(seed >> 40) / (float)(1 << 24) - 0.5f) * 0.1f;
            if (at + i >= tensor->first_zero && at + i < tensor->end_zero)
                wide[i] = 0;
            half[i] = narrow(wide[i], dtype);
        }
        good =
            element_size(dtype) == 4 ? fwrite(wide, sizeof *wide, count, file) == count : fwrite(half, sizeof *half, count, file) == count;
        at += count;
    }
    return good;
}

static td_status write_shard(const char *path, const tensor_shape *tensors, size_t count, const char *dtype, uint64_t seed, td_error *error)
{
    td_buffer header = TD_BUFFER_INIT;
    add_header(&header, tensors, count, dtype);
    FILE *file = td_buffer_ok(&header) ? fopen(path, "wb") : NULL;
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header.length >> 8 * i);
    bool good = file && fwrite(length, 1, 8, file) == 8 && fwrite(header.data, 1, header.length, file) == header.length;
    for (size_t i = 0; good && i < count; i++)
        good = write_values(file, &tensors[i], dtype, seed + i);
    good = file && fclose(file) == 0 && good;
    td_buffer_free(&header);
    return good ? TD_OK : td_fail(error, TD_ERROR_IO, "%s: cannot be written", path);
}

static td_status write_weights(const char *directory, const tensor_shape *tensors, size_t count, const char *dtype, size_t shards,
                               td_error *error)
{
    char path[512];
    td_buffer index = TD_BUFFER_INIT;
    td_status status = TD_OK;
    td_buffer_format(&index, "{\"metadata\":{},\"weight_map\":{");
    for (size_t k = 0; status == TD_OK && k < shards; k++) {
        size_t first = count * k / shards, end = count * (k + 1) / shards;
        char name[64] = "model.safetensors";
        if (shards > 1)
            snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", k + 1, shards);
        for (size_t i = first; i < end; i++)
            td_buffer_format(&index, "%s\"%s\":\"%s\"", i ? "," : "", tensors[i].name, name);
        snprintf(path, sizeof path, "%s/%s", directory, name);
        status = write_shard(path, tensors + first, end - first, dtype, 1000 * k, error);
    }
    td_buffer_format(&index, "}}");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", directory);
    if (status == TD_OK && shards > 1)
        status = td_buffer_ok(&index) ? td_file_write(path, index.data, index.length, error) : td_fail_memory(error, 0);
    td_buffer_free(&index);
    return status;
}

static td_status write_text(const char *directory, const char *name, const char *text, td_error *error)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return text ? td_file_write(path, text, strlen(text), error) : TD_OK;
}

td_status bench_shape_write(const char *directory, const char *name, const char *dtype, size_t shards, td_error *error)
{
    const struct shape *shape = find(name);
    td_network network = {0};
    if (!shape)
        return td_fail(error, TD_ERROR_ARGUMENT, "there is no shape %s", name);
    TD_TRY(td_directory_create(directory, error));
    TD_TRY(write_text(directory, "config.json", shape->config, error));
    TD_TRY(write_text(directory, "preprocessor_config.json", shape->preprocessor, error));
    json_t *config = json_loads(shape->config, 0, NULL);
    td_status status = config ? td_network_configure(config, name, &network, error) : td_fail_memory(error, strlen(shape->config));
    size_t count = 0, most = network.parameters.count;
    tensor_shape *tensors = status == TD_OK ? td_allocate_array(most + 1, sizeof *tensors) : NULL;
    for (size_t i = 0; tensors && i < most; i++)
        if (describe(&network.parameters, i, &tensors[count]))
            clear_padding(&network, &tensors[count++]);
    if (status == TD_OK)
        status = tensors ? write_weights(directory, tensors, count, dtype, shards, error) : td_fail_memory(error, most * sizeof *tensors);
    td_release(tensors);
    td_network_free(&network);
    json_decref(config);
    return status;
}
