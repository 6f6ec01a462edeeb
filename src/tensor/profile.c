#include "tensor/profile.h"

#include "platform/clock.h"
#include "tensor/profile_sums.h"

#include <string.h>

td_status td_profile_new(const td_profile_options *options, td_profile **ret_profile, td_error *error)
{
    if (!ret_profile)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_profile_new: ret_profile must not be NULL");
    td_profile_options given = TD_PROFILE_OPTIONS_INIT;
    if (options)
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    td_profile *profile = td_allocate_array(1, sizeof *profile);
    if (!profile)
        return td_fail_memory(error, sizeof *profile);
    pthread_mutex_init(&profile->mutex, NULL);
    profile->trace = given.trace;
    profile->begun = td_clock_seconds();
    *ret_profile = profile;
    return TD_OK;
}

void td_profile_free(td_profile *profile)
{
    if (!profile)
        return;
    while (profile->recorders) {
        td_recorder *recorder = profile->recorders;
        profile->recorders = recorder->next;
        td_release(recorder->events);
        td_release(recorder);
    }
    pthread_mutex_destroy(&profile->mutex);
    td_release(profile->rows);
    td_buffer_free(&profile->table);
    td_release(profile);
}

/* ---- recorders ---- */

static td_recorder *new_recorder(td_profile *profile)
{
    td_recorder *recorder = td_allocate_array(1, sizeof *recorder);
    if (!recorder)
        return NULL;
    recorder->profile = profile;
    recorder->sums[0].operation = "further shapes";
    recorder->count = 1;
    recorder->next = profile->recorders;
    return profile->recorders = recorder;
}

td_recorder *td_recorder_attach(td_profile *profile)
{
    if (!profile)
        return NULL;
    pthread_mutex_lock(&profile->mutex);
    td_recorder *recorder = profile->recorders;
    while (recorder && !recorder->idle)
        recorder = recorder->next;
    if (!recorder)
        recorder = new_recorder(profile);
    if (recorder)
        recorder->idle = false;
    pthread_mutex_unlock(&profile->mutex);
    return recorder;
}

void td_recorder_release(td_recorder *recorder)
{
    if (!recorder)
        return;
    pthread_mutex_lock(&recorder->profile->mutex);
    recorder->idle = true;
    pthread_mutex_unlock(&recorder->profile->mutex);
}

static bool same_key(const td_profile_row *a, const td_profile_row *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->backward == b->backward &&
           (a->operation == b->operation || strcmp(a->operation, b->operation) == 0) &&
           (a->precision == b->precision || (a->precision && b->precision && strcmp(a->precision, b->precision) == 0));
}

size_t td_recorder_place(td_recorder *recorder, const td_profile_row *key)
{
    uint64_t hash = ((uint64_t)key->m * 0x9e3779b97f4a7c15 + key->n) * 0x9e3779b97f4a7c15 + key->k + key->backward;
    for (const char *at = key->operation; *at; at++) /* the same name may lie at several addresses */
        hash = (hash ^ (uint64_t)(unsigned char)*at) * 0x100000001b3;
    enum { PLACES = 2 * TD_PROFILE_SUMS };
    for (size_t place = (size_t)(hash >> 32) % PLACES;; place = (place + 1) % PLACES) {
        uint32_t found = recorder->places[place];
        if (found && same_key(&recorder->sums[found - 1], key))
            return found - 1;
        if (found)
            continue;
        if (recorder->count == TD_PROFILE_SUMS)
            return 0;
        recorder->sums[recorder->count] = *key;
        recorder->places[place] = (uint32_t)++recorder->count;
        return recorder->count - 1;
    }
}

/* ---- scopes ---- */

const char *td_recorder_current(const td_recorder *recorder)
{
    return recorder && recorder->open ? recorder->open->name : NULL;
}

void td_scope_begin(td_scope *scope, const char *name)
{
    td_scope *outer = scope->recorder->open;
    *scope = (td_scope){.recorder = scope->recorder, .outer = outer, .name = name, .backward = outer && outer->backward};
    scope->recorder->open = scope;
    scope->begun = td_clock_seconds();
}

static size_t round_up(size_t n)
{
    size_t power = 1;
    while (power < n && power < SIZE_MAX / 2 + 1)
        power *= 2;
    return power;
}

/* Widths of weights are kept as they are; those of attention, which follow lengths, would each make a row. */
static size_t width(size_t n)
{
    return n < 1024 && n % 16 ? round_up(n) : n;
}

void td_scope_product(td_scope *scope, const char *precision, size_t m, size_t n, size_t k, int batch)
{
    scope->precision = precision;
    scope->operations = 2.0 * (double)m * (double)n * (double)k;
    scope->m = batch == 0 ? round_up(m) : width(m);
    scope->n = width(n);
    scope->k = batch == 1 ? round_up(k) : width(k);
}

static void keep_event(td_recorder *recorder, size_t sum, double begun, double seconds)
{
    if (recorder->event_count == recorder->event_capacity) {
        size_t capacity = recorder->event_capacity ? recorder->event_capacity * 2 : 4096;
        td_profile_event *events = capacity <= TD_PROFILE_EVENTS ? td_resize_array(recorder->events, capacity, sizeof *events) : NULL;
        if (!events)
            return; /* a trace ends early rather than take all memory */
        recorder->events = events;
        recorder->event_capacity = capacity;
    }
    recorder->events[recorder->event_count++] = (td_profile_event){(uint32_t)sum, (float)seconds, begun};
}

void td_scope_finish(td_scope *scope)
{
    td_recorder *recorder = scope->recorder;
    double seconds = td_clock_seconds() - scope->begun;
    td_profile_row key = {
        .operation = scope->name, .backward = scope->backward, .precision = scope->precision, .m = scope->m, .n = scope->n, .k = scope->k};
    size_t place = td_recorder_place(recorder, &key);
    td_profile_row *sum = &recorder->sums[place];
    sum->calls++;
    sum->seconds += seconds - scope->inside;
    sum->operations += scope->operations;
    if (scope->outer)
        scope->outer->inside += seconds;
    recorder->open = scope->outer;
    if (recorder->profile->trace)
        keep_event(recorder, place, scope->begun, seconds);
}
