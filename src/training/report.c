/* What a run leaves behind while it goes: log.jsonl, TensorBoard events, and a progress line. */
#include "training/report.h"

#include "platform/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Numbers in the log identify a float32 and stay readable. */
#define LOG_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(9))

static td_status fail_write(const char *path, td_error *error)
{
    return td_fail(error, TD_ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* ---- log.jsonl ---- */

struct td_log {
    FILE *stream;
    char *path;
};

/* Whether a line is whole and not past `last_step`. */
static bool keeps_line(const char *line, size_t length, int64_t last_step)
{
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    bool keeps = json_is_object(object);
    const json_t *step = json_object_get(object, "step");
    if (json_is_integer(step))
        keeps = keeps && json_integer_value(step) <= last_step - (json_object_get(object, "averaged") != NULL);
    json_decref(object);
    return keeps;
}

static td_status truncate_log(const char *path, int64_t last_step, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT, kept = TD_BUFFER_INIT;
    if (!td_file_exists(path))
        return TD_OK;
    td_status status = td_file_read(path, 0, &text, error);
    const char *line = td_buffer_text(&text), *end = line + text.length, *stop;
    for (; status == TD_OK && line < end && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1)
        if (keeps_line(line, (size_t)(stop - line), last_step))
            td_buffer_append(&kept, line, (size_t)(stop - line) + 1);
    if (status == TD_OK && !td_buffer_ok(&kept))
        status = td_fail_memory(error, text.length);
    if (status == TD_OK && kept.length != text.length)
        status = td_file_write(path, td_buffer_text(&kept), kept.length, error);
    td_buffer_free(&text);
    td_buffer_free(&kept);
    return status;
}

td_status td_log_open(const char *path, int64_t last_step, td_log **ret_log, td_error *error)
{
    TD_TRY(truncate_log(path, last_step, error));
    td_log *log = td_allocate_array(1, sizeof *log);
    if (!log)
        return td_fail_memory(error, sizeof *log);
    log->path = td_copy_string(path);
    log->stream = log->path ? fopen(path, "ab") : NULL;
    if (log->stream) {
        *ret_log = log;
        return TD_OK;
    }
    td_status status = log->path ? fail_write(path, error) : td_fail_memory(error, strlen(path) + 1);
    td_log_close(log);
    return status;
}

td_status td_log_append(td_log *log, const json_t *object, td_error *error)
{
    char *line = json_dumps(object, LOG_FLAGS);
    if (!line)
        return td_fail(error, TD_ERROR_INTERNAL, "%s: a report is not a JSON object", log->path);
    bool written =
        fputs(line, log->stream) >= 0 && fputc('\n', log->stream) != EOF && fflush(log->stream) == 0 && fsync(fileno(log->stream)) == 0;
    td_status status = written ? TD_OK : fail_write(log->path, error);
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    release(line);
    return status;
}

void td_log_close(td_log *log)
{
    if (!log)
        return;
    if (log->stream)
        fclose(log->stream);
    td_release(log->path);
    td_release(log);
}

/* ---- TensorBoard events ---- */

struct td_events {
    FILE *stream;
    char *path;
};

/* CRC-32C (Castagnoli), reflected. */
static uint32_t crc32c(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* A checksum of data that holds its own checksum would be weak, so TFRecord rotates and shifts it. */
static uint32_t masked_crc32c(const void *data, size_t length)
{
    uint32_t crc = crc32c(data, length);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void append_little(td_buffer *buffer, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        td_buffer_append(buffer, &byte, 1);
    }
}

/* Protobuf: a tag is field * 8 + wire type (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes). */
static void append_varint(td_buffer *buffer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        append_little(buffer, (value & 0x7f) | 0x80, 1);
    append_little(buffer, value, 1);
}

static void append_bytes_field(td_buffer *buffer, unsigned field, const void *bytes, size_t length)
{
    append_varint(buffer, field * 8 + 2);
    append_varint(buffer, length);
    td_buffer_append(buffer, bytes, length);
}

/* tensorflow.Event: double wall_time = 1; int64 step = 2. */
static void append_event_head(td_buffer *buffer, double wall_seconds, int64_t step)
{
    uint64_t bits;
    memcpy(&bits, &wall_seconds, sizeof bits);
    append_varint(buffer, 1 * 8 + 1);
    append_little(buffer, bits, 8);
    if (step == 0)
        return;
    append_varint(buffer, 2 * 8 + 0);
    append_varint(buffer, (uint64_t)step);
}

/* Frames and writes what `event` holds, and frees it. */
static td_status write_event(td_events *events, td_buffer *event, td_error *error)
{
    td_buffer record = TD_BUFFER_INIT;
    append_little(&record, event->length, 8);
    append_little(&record, masked_crc32c(td_buffer_text(&record), record.length), 4);
    td_buffer_append(&record, td_buffer_text(event), event->length);
    append_little(&record, masked_crc32c(td_buffer_text(event), event->length), 4);
    td_status status = TD_OK;
    if (!td_buffer_ok(event) || !td_buffer_ok(&record))
        status = td_fail_memory(error, event->length);
    else if (fwrite(record.data, 1, record.length, events->stream) != record.length)
        status = fail_write(events->path, error);
    td_buffer_free(&record);
    td_buffer_free(event);
    return status;
}

/* string file_version = 3; then, for a run that goes on, SessionLog session_log = 7 {status = 1: START}. */
static td_status write_opening(td_events *events, double wall_seconds, int64_t first_step, td_error *error)
{
    static const char version[] = "brain.Event:2";
    static const uint8_t start[] = {1 * 8 + 0, 1};
    td_buffer event = TD_BUFFER_INIT;
    append_event_head(&event, wall_seconds, 0);
    append_bytes_field(&event, 3, version, sizeof version - 1);
    TD_TRY(write_event(events, &event, error));
    if (first_step > 0) {
        append_event_head(&event, wall_seconds, first_step);
        append_bytes_field(&event, 7, start, sizeof start);
        TD_TRY(write_event(events, &event, error));
    }
    return td_events_flush(events, error);
}

/* The first name of its second that is free, so that no earlier file is touched. */
static td_status create_events_file(td_events *events, const char *directory, double wall_seconds, td_error *error)
{
    for (int number = 0; number < 1000; number++) {
        char name[96];
        int length = snprintf(name, sizeof name, "events.out.tfevents.%010.0f.tandem", floor(wall_seconds));
        if (number > 0)
            snprintf(name + length, sizeof name - (size_t)length, ".%d", number);
        td_release(events->path);
        events->path = td_path_join(directory, name);
        if (!events->path)
            return td_fail_memory(error, strlen(directory) + sizeof name);
        events->stream = fopen(events->path, "wbx");
        if (events->stream)
            return TD_OK;
        if (errno != EEXIST)
            break;
    }
    return fail_write(events->path, error);
}

td_status td_events_open(const char *directory, double wall_seconds, int64_t first_step, td_events **ret_events, td_error *error)
{
    td_events *events = td_allocate_array(1, sizeof *events);
    if (!events)
        return td_fail_memory(error, sizeof *events);
    td_status status = create_events_file(events, directory, wall_seconds, error);
    if (status == TD_OK)
        status = write_opening(events, wall_seconds, first_step, error);
    if (status == TD_OK)
        *ret_events = events;
    else
        td_events_close(events);
    return status;
}

/* Summary summary = 5 {Value value = 1 {string tag = 1; float simple_value = 2}}. */
td_status td_events_scalar(td_events *events, double wall_seconds, int64_t step, const char *tag, float value, td_error *error)
{
    td_buffer scalar = TD_BUFFER_INIT, summary = TD_BUFFER_INIT, event = TD_BUFFER_INIT;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    append_bytes_field(&scalar, 1, tag, strlen(tag));
    append_varint(&scalar, 2 * 8 + 5);
    append_little(&scalar, bits, 4);
    append_bytes_field(&summary, 1, td_buffer_text(&scalar), scalar.length);
    append_event_head(&event, wall_seconds, step);
    append_bytes_field(&event, 5, td_buffer_text(&summary), summary.length);
    event.failed |= scalar.failed || summary.failed;
    td_buffer_free(&scalar);
    td_buffer_free(&summary);
    return write_event(events, &event, error);
}

td_status td_events_flush(td_events *events, td_error *error)
{
    return fflush(events->stream) == 0 ? TD_OK : fail_write(events->path, error);
}

void td_events_close(td_events *events)
{
    if (!events)
        return;
    if (events->stream)
        fclose(events->stream);
    td_release(events->path);
    td_release(events);
}

/* ---- progress ---- */

static double clamp_fraction(double fraction)
{
    return fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
}

/* How far the run is, by whichever limit it meets first; -1 when nothing bounds it. */
static double done_fraction(const td_progress *progress)
{
    double fraction = -1;
    if (progress->total_steps > 0)
        fraction = clamp_fraction((double)progress->step / (double)progress->total_steps);
    if (progress->total_seconds > 0)
        fraction = fmax(fraction, clamp_fraction(progress->elapsed / progress->total_seconds));
    return fraction;
}

/* Seconds left at this process's pace; -1 when unknown. */
static double seconds_left(const td_progress *progress)
{
    double left = -1, steps = (double)(progress->step - progress->first_step);
    if (progress->total_steps > 0 && steps > 0)
        left = fmax(0, (double)(progress->total_steps - progress->step) * progress->elapsed / steps);
    if (progress->total_seconds > 0) {
        double limit = fmax(0, progress->total_seconds - progress->elapsed);
        left = left < 0 ? limit : fmin(left, limit);
    }
    return left;
}

static void append_duration(td_buffer *buffer, double seconds)
{
    int64_t whole = seconds < 1e9 ? (int64_t)(seconds + 0.5) : 1000000000;
    int hours = (int)(whole / 3600), minutes = (int)(whole / 60 % 60), rest = (int)(whole % 60);
    if (hours > 0)
        td_buffer_format(buffer, "%dh%02dm", hours, minutes);
    else if (minutes > 0)
        td_buffer_format(buffer, "%dm%02ds", minutes, rest);
    else
        td_buffer_format(buffer, "%ds", rest);
}

static void append_facts(td_buffer *buffer, const td_progress *progress)
{
    td_buffer_format(buffer, "step %lld", (long long)progress->step);
    if (progress->total_steps > 0)
        td_buffer_format(buffer, "/%lld", (long long)progress->total_steps);
    td_buffer_format(buffer, ", epoch %lld, loss %.3f", (long long)progress->epoch, progress->loss);
    if (progress->tokens_per_second >= 1000)
        td_buffer_format(buffer, ", %.1fk tokens/s", progress->tokens_per_second / 1000);
    else
        td_buffer_format(buffer, ", %.0f tokens/s", progress->tokens_per_second);
    double left = seconds_left(progress);
    if (left < 0)
        return;
    td_buffer_text_append(buffer, ", ");
    append_duration(buffer, left);
    td_buffer_text_append(buffer, " left");
}

void td_progress_render(const td_progress *progress, size_t columns, td_buffer *buffer)
{
    enum { LEAST_BAR = 8, MOST_BAR = 30, AROUND_BAR = 8 }; /* "[", "] 100% " */
    size_t start = buffer->length;
    append_facts(buffer, progress);
    size_t length = buffer->length - start;
    double fraction = done_fraction(progress);
    size_t room = columns > length + AROUND_BAR ? columns - length - AROUND_BAR : 0;
    size_t width = room > MOST_BAR ? MOST_BAR : room;
    if (!td_buffer_ok(buffer))
        return;
    if (length > columns)
        buffer->data[buffer->length = start + columns] = 0;
    if (fraction < 0 || width < LEAST_BAR || !td_buffer_extend(buffer, width + AROUND_BAR))
        return;
    char *bar = buffer->data + start, percent[16];
    memmove(bar + width + AROUND_BAR, bar, length); /* the bar stands before what its width follows from */
    bar[0] = '[';
    for (size_t i = 0; i < width; i++)
        bar[i + 1] = (double)i < floor(fraction * (double)width) ? '#' : '.';
    snprintf(percent, sizeof percent, "] %3d%% ", (int)(fraction * 100));
    memcpy(bar + width + 1, percent, AROUND_BAR - 1);
}
