#include "training/writers.h"

#include <pthread.h>

struct td_writers {
    const td_network *network;
    const td_tokenizer *tokenizer;
    const td_corpus *corpus;
    td_pool *pool;
    td_search **searches; /* [threads] */
    /* of the run in hand */
    const td_generation *generation;
    const uint64_t *pairs;
    size_t count, next;
    td_written written;
    void *context;
    pthread_mutex_t mutex; /* guards next and error */
    td_error error;
};

td_status td_writers_new(const td_network *network, const td_tokenizer *tokenizer, const td_corpus *corpus, td_pool *pool,
                         const td_search_options *options, td_writers **ret_writers, td_error *error)
{
    size_t threads = td_pool_threads(pool);
    td_writers *writers = td_allocate_array(1, sizeof *writers);
    if (!writers)
        return td_fail_memory(error, sizeof *writers);
    *writers = (td_writers){.network = network, .tokenizer = tokenizer, .corpus = corpus, .pool = pool};
    pthread_mutex_init(&writers->mutex, NULL);
    writers->searches = td_allocate_array(threads, sizeof *writers->searches);
    td_status status = writers->searches ? TD_OK : td_fail_memory(error, threads * sizeof *writers->searches);
    for (size_t i = 0; status == TD_OK && i < threads; i++)
        status = td_search_new(network, options, &writers->searches[i], error);
    if (status == TD_OK)
        *ret_writers = writers;
    else
        td_writers_free(writers);
    return status;
}

void td_writers_free(td_writers *writers)
{
    if (!writers)
        return;
    for (size_t i = 0; writers->searches && i < td_pool_threads(writers->pool); i++)
        td_search_free(writers->searches[i]);
    td_release(writers->searches);
    pthread_mutex_destroy(&writers->mutex);
    td_release(writers);
}

static td_status next_source(void *context, size_t *ret_index, td_source *ret_source, bool *ret_given, td_error *error)
{
    (void)error;
    td_writers *writers = context;
    pthread_mutex_lock(&writers->mutex);
    size_t place = writers->next;
    *ret_given = place < writers->count && writers->error.status == TD_OK;
    writers->next += *ret_given;
    pthread_mutex_unlock(&writers->mutex);
    if (!*ret_given)
        return TD_OK;
    td_pair pair = td_corpus_get(writers->corpus, (size_t)writers->pairs[place]);
    *ret_index = place;
    *ret_source =
        (td_source){.ids = pair.source, .features = pair.features, .length = pair.source_length, .width = writers->corpus->feature_width};
    return TD_OK;
}

/* The source's pieces outside the vocabulary, for texts that copy them. */
static td_status local_pieces(const td_writers *writers, size_t place, td_local_pieces *local, td_error *error)
{
    if (!writers->network->copies)
        return TD_OK;
    td_pair pair = td_corpus_get(writers->corpus, (size_t)writers->pairs[place]);
    td_ids ids = TD_IDS_INIT;
    local->first = (int32_t)td_tokenizer_size(writers->tokenizer);
    td_status status =
        td_tokenizer_encode_local(writers->tokenizer, TD_SOURCE, pair.source_text, pair.source_bytes, 0, NULL, local, &ids, error);
    td_ids_free(&ids);
    return status;
}

static td_status spell(const td_writers *writers, const td_local_pieces *local, const td_hypothesis *hypothesis, char **ret_text,
                       td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_tokenizer_decode_local(writers->tokenizer, local, hypothesis->ids, hypothesis->count, true, &text, error);
    td_buffer_text_append(&text, "");
    if (status == TD_OK && !td_buffer_ok(&text))
        status = td_fail_memory(error, text.length);
    if (status == TD_OK)
        *ret_text = text.data;
    else
        td_buffer_free(&text);
    return status;
}

static td_status deliver(void *context, size_t place, const td_output *output, td_error *error)
{
    td_writers *writers = context;
    td_local_pieces local = {0};
    char **texts = td_allocate_array(output->count, sizeof *texts);
    td_status status = texts ? local_pieces(writers, place, &local, error) : td_fail_memory(error, output->count * sizeof *texts);
    for (size_t i = 0; status == TD_OK && i < output->count; i++)
        status = spell(writers, &local, &output->hypotheses[i], &texts[i], error);
    if (status == TD_OK)
        status = writers->written(writers->context, place, output, (const char *const *)texts, error);
    for (size_t i = 0; texts && i < output->count; i++)
        td_release(texts[i]);
    td_release(texts);
    td_local_pieces_free(&local);
    return status;
}

static void search_task(void *context, size_t index, size_t thread)
{
    (void)index;
    td_writers *writers = context;
    td_generate_callbacks callbacks = {writers, next_source, deliver, NULL};
    td_error error = {0};
    if (td_generate(writers->searches[thread], writers->generation, &callbacks, &error) == TD_OK)
        return;
    pthread_mutex_lock(&writers->mutex);
    writers->error = error;
    pthread_mutex_unlock(&writers->mutex);
}

td_status td_writers_run(td_writers *writers, const td_generation *generation, const uint64_t *pairs, size_t count, td_written written,
                         void *context, td_error *error)
{
    writers->generation = generation;
    writers->pairs = pairs;
    writers->count = count;
    writers->next = 0;
    writers->written = written;
    writers->context = context;
    writers->error = (td_error){0};
    td_pool_run(writers->pool, td_pool_threads(writers->pool), search_task, writers);
    if (writers->error.status != TD_OK && error)
        *error = writers->error;
    return writers->error.status;
}
