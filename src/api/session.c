#include "api/session.h"

#include "api/facts.h"
#include "kernels/gemm.h"

#include <string.h>

static td_status read_precision(const char *name, int *ret_precision, td_error *error)
{
    static const char *const names[TD_PRECISIONS] = {"float32", "bfloat16", "int8"};
    *ret_precision = -1;
    for (int i = 0; name && i < TD_PRECISIONS; i++)
        if (strcmp(name, names[i]) == 0)
            *ret_precision = i;
    if (name && *ret_precision < 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "precision \"%s\" is not one of float32, bfloat16, int8", name);
    return TD_OK;
}

td_status td_model_open(const char *directory, const td_model_options *options, td_model **ret_model, td_error *error)
{
    if (!directory || !ret_model)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_model_open: directory and ret_model must not be NULL");
    td_model_options given = TD_MODEL_OPTIONS_INIT;
    if (options)
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    int precision;
    TD_TRY(read_precision(given.precision, &precision, error));
    td_model *model = NULL;
    TD_TRY(td_model_load(directory, precision, &model, error));
    model->network.profile = given.profile;
    td_status status = td_facts_collect(model, &model->facts, error);
    if (status != TD_OK) {
        td_model_close(model);
        return status;
    }
    *ret_model = model;
    return TD_OK;
}

void td_model_close(td_model *model)
{
    if (!model)
        return;
    td_facts_free(model->facts);
    td_model_release(model);
}

size_t td_model_vocabulary_size(const td_model *model)
{
    return model->network.vocabulary;
}

size_t td_model_max_source(const td_model *model)
{
    return model->max_source;
}

const char *td_model_language(const td_model *model, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (!model->languages[i])
            return NULL;
    return model->languages[index];
}

td_status td_session_new(td_model *model, const td_session_options *options, td_session **ret_session, td_error *error)
{
    if (!model || !ret_session)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_session_new: model and ret_session must not be NULL");
    td_session *session = td_allocate_array(1, sizeof *session);
    if (!session)
        return td_fail_memory(error, sizeof *session);
    td_gemm_thread_setup();
    session->model = model;
    td_arena_init(&session->arena);
    td_arena_init(&session->encoder_arena);
    td_session_options given = TD_SESSION_OPTIONS_INIT;
    if (options)
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    td_search_options search = {.batch_tokens = given.batch_tokens, .threads = given.threads};
    td_status status = td_search_new(&model->network, &search, &session->search, error);
    if (status != TD_OK) {
        td_session_free(session);
        return status;
    }
    *ret_session = session;
    return TD_OK;
}

void td_session_free(td_session *session)
{
    if (!session)
        return;
    if (session->state)
        session->model->network.architecture->state_free(session->state);
    td_search_free(session->search);
    td_ids_free(&session->source);
    td_arena_free(&session->arena);
    td_arena_free(&session->encoder_arena);
    td_release(session);
}
