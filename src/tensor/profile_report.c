/* What recorders hold, merged: rows, a table, a trace. */
#include "platform/file.h"
#include "tensor/profile_sums.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_time(const void *a, const void *b)
{
    const td_profile_row *left = a, *right = b;
    return (left->seconds < right->seconds) - (left->seconds > right->seconds);
}

/* Adds up the threads' sums in a recorder of its own. */
static td_recorder *add_up(const td_profile *profile)
{
    td_recorder *all = td_allocate_array(1, sizeof *all);
    if (!all)
        return NULL;
    all->sums[0].operation = "further shapes";
    all->count = 1;
    for (const td_recorder *recorder = profile->recorders; recorder; recorder = recorder->next)
        for (size_t i = 0; i < recorder->count; i++) {
            const td_profile_row *from = &recorder->sums[i];
            td_profile_row key = *from;
            key.calls = 0;
            key.seconds = key.operations = 0;
            td_profile_row *sum = &all->sums[i ? td_recorder_place(all, &key) : 0];
            sum->calls += from->calls;
            sum->seconds += from->seconds;
            sum->operations += from->operations;
        }
    return all;
}

static bool merge(td_profile *profile)
{
    td_recorder *all = add_up(profile);
    td_profile_row *rows = all ? td_resize_array(profile->rows, all->count, sizeof *rows) : NULL;
    double seconds = 0;
    profile->rows = rows ? rows : profile->rows;
    profile->row_count = 0;
    for (size_t i = 0; rows && i < all->count; i++)
        if (all->sums[i].calls) {
            rows[profile->row_count++] = all->sums[i];
            seconds += all->sums[i].seconds;
        }
    for (size_t i = 0; i < profile->row_count; i++)
        rows[i].share = seconds > 0 ? rows[i].seconds / seconds : 0;
    if (rows)
        qsort(rows, profile->row_count, sizeof *rows, by_time);
    td_release(all);
    return rows != NULL;
}

bool td_profile_get(td_profile *profile, size_t index, td_profile_row *ret_row)
{
    if (!profile || !ret_row || (index == 0 && !merge(profile)) || index >= profile->row_count)
        return false;
    *ret_row = profile->rows[index];
    return true;
}

static void format_name(const td_profile_row *row, char *text, size_t size)
{
    char shape[96] = "";
    if (row->precision)
        snprintf(shape, sizeof shape, " %s %zu x %zu x %zu", row->precision, row->m, row->n, row->k);
    snprintf(text, size, "%s%s%s", row->operation, row->backward ? " back" : "", shape);
}

const char *td_profile_table(td_profile *profile)
{
    if (!profile || !merge(profile))
        return NULL;
    td_buffer_clear(&profile->table);
    td_buffer_format(&profile->table, "%-52s %10s %10s %7s %8s\n", "operation", "calls", "seconds", "share", "Gop/s");
    for (size_t i = 0; i < profile->row_count; i++) {
        const td_profile_row *row = &profile->rows[i];
        char name[160], rate[32] = "-";
        format_name(row, name, sizeof name);
        if (row->operations > 0 && row->seconds > 0)
            snprintf(rate, sizeof rate, "%.1f", row->operations / row->seconds * 1e-9);
        td_buffer_format(&profile->table, "%-52s %10" PRIu64 " %10.4f %6.2f%% %8s\n", name, row->calls, row->seconds, row->share * 100,
                         rate);
    }
    return td_buffer_ok(&profile->table) ? td_buffer_text(&profile->table) : NULL;
}

static void write_events(const td_profile *profile, const td_recorder *recorder, int thread, bool *first, td_buffer *out)
{
    for (size_t i = 0; i < recorder->event_count; i++) {
        const td_profile_event *event = &recorder->events[i];
        char name[160];
        format_name(&recorder->sums[event->sum], name, sizeof name);
        td_buffer_format(out, "%s{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f}", *first ? "" : ",\n", name,
                         thread, (event->begun - profile->begun) * 1e6, (double)event->seconds * 1e6);
        *first = false;
    }
}

td_status td_profile_write_trace(const td_profile *profile, const char *path, td_error *error)
{
    if (!profile || !path)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_profile_write_trace: profile and path must not be NULL");
    if (!profile->trace)
        return td_fail(error, TD_ERROR_ARGUMENT, "td_profile_write_trace: the profile was made without a trace");
    td_buffer out = TD_BUFFER_INIT;
    bool first = true;
    int thread = 0;
    td_buffer_text_append(&out, "{\"traceEvents\":[\n");
    for (const td_recorder *recorder = profile->recorders; recorder; recorder = recorder->next)
        write_events(profile, recorder, ++thread, &first, &out);
    td_buffer_text_append(&out, "\n]}\n");
    td_status status = td_buffer_ok(&out) ? td_file_write(path, out.data, out.length, error) : td_fail_memory(error, out.length);
    td_buffer_free(&out);
    return status;
}
