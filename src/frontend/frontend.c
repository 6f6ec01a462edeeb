#include "frontend/frontend.h"

#include "audio/frontends.h"
#include "base/buffer.h"
#include "io/json.h"
#include "platform/file.h"
#include "vision/processor.h"

#include <string.h>

/* By the name that preprocessor_config.json gives. */
typedef struct frontend_row {
    const char *name;
    const td_frontend_kind *kind;
} frontend_row;

static const frontend_row rows[] = {
/* Each class under the names that transformers gave it over time. */
#define X(stem)                                                                                                                            \
    {stem "ImageProcessor", &td_frontend_picture}, {stem "ImageProcessorFast", &td_frontend_picture},                                      \
        {stem "ImageProcessorPil", &td_frontend_picture}, {stem "FeatureExtractor", &td_frontend_picture},
    TD_PICTURE_PROCESSORS(X)
#undef X
        {"WhisperFeatureExtractor", &td_whisper_frontend},
    {"Speech2TextFeatureExtractor", &td_speech_to_text_frontend},
    {"Wav2Vec2FeatureExtractor", &td_waveform_frontend},
    {"TandemFeatureExtractor", &td_tandem_sound_frontend},
    {NULL, NULL},
};

static td_status fail_unknown(const char *file, const char *key, const char *name, td_modality modality, td_error *error)
{
    td_buffer names = TD_BUFFER_INIT;
    for (const frontend_row *row = rows; row->name; row++)
        if (row->kind->modality == modality)
            td_buffer_format(&names, "%s%s", names.length ? ", " : "", row->name);
    td_status status =
        td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": \"%s\" is not supported (%s)", file, key, name, td_buffer_text(&names));
    td_buffer_free(&names);
    return status;
}

td_status td_frontend_configure(const json_t *config, const char *file, td_modality modality, td_frontend *ret_frontend, td_error *error)
{
    const char *key =
        modality == TD_IMAGE && td_json_has(config, "image_processor_type") ? "image_processor_type" : "feature_extractor_type";
    const char *name;
    TD_TRY(td_json_get_string(config, file, key, "", &name, error));
    for (const frontend_row *row = rows; row->name; row++) {
        if (row->kind->modality != modality || strcmp(row->name, name) != 0)
            continue;
        td_frontend frontend = {.kind = row->kind};
        TD_TRY(row->kind->open(config, file, &frontend.state, error));
        *ret_frontend = frontend;
        return TD_OK;
    }
    return fail_unknown(file, key, name, modality, error);
}

td_status td_frontend_open(const char *directory, td_modality modality, td_frontend *ret_frontend, td_error *error)
{
    char *path = td_path_join(directory, "preprocessor_config.json");
    json_t *config = NULL;
    td_status status = path ? td_json_load_file(path, &config, error) : td_fail_memory(error, strlen(directory));
    if (status == TD_OK)
        status = td_frontend_configure(config, path, modality, ret_frontend, error);
    json_decref(config);
    td_release(path);
    return status;
}

void td_frontend_close(td_frontend *frontend)
{
    if (frontend->kind)
        frontend->kind->close(frontend->state);
    *frontend = (td_frontend){0};
}
