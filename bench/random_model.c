/* Model directories of the sizes that people run, with random weights: speed and memory need no trained ones. */
#include "bench.h"

#include <io/json.h>
#include <layers/parameters.h>
#include <models/architecture.h>
#include <platform/file.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tandem/tools.h>
#include <unistd.h>

#define MARIAN(width, feed_forward, encoder, decoder, positions, words, last)                                                     \
    "{\"model_type\": \"marian\", \"architectures\": [\"MarianMTModel\"], \"d_model\": " #width                        \
    ", \"encoder_layers\": " #encoder ", \"decoder_layers\": " #decoder ", \"encoder_ffn_dim\": " #feed_forward        \
    ", \"decoder_ffn_dim\": " #feed_forward ", \"encoder_attention_heads\": 8, \"decoder_attention_heads\": 8, "       \
    "\"activation_function\": \"swish\", \"static_position_embeddings\": true, \"scale_embedding\": true, "            \
    "\"max_position_embeddings\": " #positions ", \"share_encoder_decoder_embeddings\": true, \"vocab_size\": " #words            \
    ", \"decoder_vocab_size\": " #words ", \"pad_token_id\": " #last ", \"decoder_start_token_id\": " #last            \
    ", \"eos_token_id\": 0, \"bos_token_id\": 0, \"forced_eos_token_id\": 0}\n"

static const struct {
    const char *name, *config;
} shapes[] = {
    {"opus", MARIAN(512, 2048, 6, 6, 512, 58101, 58100)},
    {"tiny", MARIAN(256, 1536, 6, 2, 512, 32000, 31999)},
    {"growth-1000", MARIAN(128, 512, 2, 2, 4200, 1000, 999)},
    {"growth-8000", MARIAN(128, 512, 2, 2, 4200, 8000, 7999)},
    {"growth-32000", MARIAN(128, 512, 2, 2, 4200, 32000, 31999)},
    {"growth-128000", MARIAN(128, 512, 2, 2, 4200, 128000, 127999)},
    {"whisper-base",
     "{\"model_type\": \"whisper\", \"architectures\": [\"WhisperForConditionalGeneration\"], \"d_model\": 512, "
     "\"encoder_layers\": 6, \"decoder_layers\": 6, \"encoder_ffn_dim\": 2048, \"decoder_ffn_dim\": 2048, "
     "\"encoder_attention_heads\": 8, \"decoder_attention_heads\": 8, \"activation_function\": \"gelu\", "
     "\"num_mel_bins\": 80, \"max_source_positions\": 1500, \"max_target_positions\": 448, \"scale_embedding\": false, "
     "\"vocab_size\": 51865, \"pad_token_id\": 50257, \"bos_token_id\": 50257, \"eos_token_id\": 50257, "
     "\"decoder_start_token_id\": 50258}\n"},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static td_status write_float32(const char *directory, const char *text, td_error *error)
{
    char path[512];
    json_t *config = NULL;
    td_network network = {0};
    TD_TRY(td_directory_create(directory, error));
    snprintf(path, sizeof path, "%s/config.json", directory);
    TD_TRY(td_file_write(path, text, strlen(text), error));
    TD_TRY(td_json_load_file(path, &config, error));
    td_status status = td_network_configure(config, path, &network, error);
    if (status == TD_OK) {
        td_parameters_initialise(&network.parameters, 1);
        snprintf(path, sizeof path, "%s/model.safetensors", directory);
        status = td_parameters_save(&network.parameters, NULL, path, error);
        td_network_free(&network);
    }
    json_decref(config);
    return status;
}

static bool write_model(const char *directory, const char *text, const char *float32)
{
    td_error error;
    td_status status =
        text ? write_float32(directory, text, &error) : td_convert_model(float32, "int8", directory, &error);
    if (status != TD_OK)
        fprintf(stderr, "tandem_bench: %s: %s\n", directory, error.message);
    return status == TD_OK;
}

/* In a process of its own, so that the memory it takes is not counted as the measured one's. */
static bool write_apart(const char *directory, const char *text, const char *float32)
{
    int status = 1;
    if (access(directory, F_OK) == 0)
        return true;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(write_model(directory, text, float32) ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

bool bench_random_model(const bench_settings *settings, const char *shape, bool int8, char *directory, size_t size)
{
    char float32[256];
    size_t i = 0;
    while (i < SHAPES && strcmp(shapes[i].name, shape) != 0)
        i++;
    snprintf(float32, sizeof float32, "%s/%s", settings->directory, shape);
    snprintf(directory, size, "%s%s", float32, int8 ? "-int8" : "");
    return i < SHAPES && write_apart(float32, shapes[i].config, NULL) &&
           (!int8 || write_apart(directory, NULL, float32));
}
