#include "training/batches.h"

#include <stdlib.h>

typedef struct item {
    uint64_t index;
    uint32_t source, target;
    uint32_t order; /* in the permutation: breaks ties */
} item;

struct td_batches {
    const td_corpus *corpus;
    uint64_t seed;
    size_t batch_tokens, window_size;
    td_batch_position position;
    bool loaded;
    item *items; /* [window_size] the window, sorted */
    size_t item_count;
    size_t *starts; /* [batch_count + 1] into items */
    size_t batch_count;
    uint64_t *indices; /* what td_batches_next gives */
};

td_status td_batches_new(const td_corpus *corpus, uint64_t seed, size_t batch_tokens, size_t window, td_batches **ret_batches,
                         td_error *error)
{
    if (corpus->count == 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "the training corpus holds no usable pair");
    size_t size = window < corpus->count ? window : corpus->count;
    td_batches *batches = td_allocate_array(1, sizeof *batches);
    if (!batches)
        return td_fail_memory(error, sizeof *batches);
    *batches = (td_batches){.corpus = corpus, .seed = seed, .batch_tokens = batch_tokens, .window_size = size};
    batches->items = td_allocate_array(size, sizeof *batches->items);
    batches->starts = td_allocate_array(size + 1, sizeof *batches->starts);
    batches->indices = td_allocate_array(size, sizeof *batches->indices);
    if (!batches->items || !batches->starts || !batches->indices) {
        td_batches_free(batches);
        return td_fail_memory(error, size * sizeof(item));
    }
    *ret_batches = batches;
    return TD_OK;
}

void td_batches_free(td_batches *batches)
{
    if (!batches)
        return;
    td_release(batches->items);
    td_release(batches->starts);
    td_release(batches->indices);
    td_release(batches);
}

static int compare_items(const void *left, const void *right)
{
    const item *a = left, *b = right;
    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    if (a->source != b->source)
        return a->source < b->source ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Cuts the sorted window so that no batch holds more target tokens than asked (or than one pair that is longer). */
static void cut(td_batches *batches)
{
    size_t tokens = 0;
    batches->batch_count = 0;
    for (size_t i = 0; i < batches->item_count; i++) {
        if (i == 0 || tokens + batches->items[i].target > batches->batch_tokens) {
            batches->starts[batches->batch_count++] = i;
            tokens = 0;
        }
        tokens += batches->items[i].target;
    }
    batches->starts[batches->batch_count] = batches->item_count;
}

static void load_window(td_batches *batches)
{
    uint64_t key = td_random_key(batches->seed, 0xba7c4, (uint64_t)batches->position.epoch);
    size_t first = (size_t)batches->position.window * batches->window_size, left = batches->corpus->count - first;
    batches->item_count = left < batches->window_size ? left : batches->window_size;
    for (size_t i = 0; i < batches->item_count; i++) {
        size_t source, target;
        uint64_t index = td_random_permute(key, batches->corpus->count, first + i);
        td_corpus_lengths(batches->corpus, index, &source, &target);
        batches->items[i] = (item){index, (uint32_t)source, (uint32_t)target, (uint32_t)i};
    }
    qsort(batches->items, batches->item_count, sizeof *batches->items, compare_items);
    cut(batches);
    batches->loaded = true;
}

/* Moves past the end of a window or an epoch. */
static void normalise(td_batches *batches)
{
    if (!batches->loaded)
        load_window(batches);
    if ((size_t)batches->position.batch < batches->batch_count)
        return;
    batches->position.batch = 0;
    batches->position.window++;
    if ((size_t)batches->position.window * batches->window_size >= batches->corpus->count) {
        batches->position.window = 0;
        batches->position.epoch++;
    }
    load_window(batches);
}

size_t td_batches_next(td_batches *batches, const uint64_t **ret_indices)
{
    normalise(batches);
    uint64_t key = td_random_key(batches->seed, (uint64_t)batches->position.epoch, (uint64_t)batches->position.window);
    size_t batch = td_random_permute(key, batches->batch_count, (uint64_t)batches->position.batch);
    size_t first = batches->starts[batch], count = batches->starts[batch + 1] - first;
    for (size_t i = 0; i < count; i++)
        batches->indices[i] = batches->items[first + i].index;
    batches->position.batch++;
    normalise(batches); /* the position after an epoch's last batch is the next epoch, so that max_epochs ends there */
    *ret_indices = batches->indices;
    return count;
}

td_batch_position td_batches_position(const td_batches *batches)
{
    return batches->position;
}

td_status td_batches_seek(td_batches *batches, td_batch_position position, td_error *error)
{
    if (position.epoch < 0 || position.window < 0 || position.batch < 0 ||
        (uint64_t)position.window > (batches->corpus->count - 1) / batches->window_size)
        return td_fail(error, TD_ERROR_FORMAT, "position in the data is outside the corpus of %zu pairs", batches->corpus->count);
    batches->position = position;
    batches->loaded = false;
    return TD_OK;
}
