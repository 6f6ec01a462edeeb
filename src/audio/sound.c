#include "audio/sound.h"

#include "base/reader.h"

#include <errno.h>
#include <math.h>
#include <sndfile.h>
#include <soxr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_VALUES 16384 /* frames times channels decoded at a time */
#define LOWEST_RATE 500
#define HIGHEST_RATE 1000000
#define LARGEST_SAMPLE 1e9f /* a float file may be scaled as 32-bit integers, not beyond */
#define ENDLESS 0x7fff0000u /* a data chunk of such a size was written to a pipe: its length is not known */

struct td_sound_stream {
    char *name;
    /* Where the bytes come from: a file, or memory, of `size` bytes. */
    FILE *file;
    const uint8_t *bytes;
    uint64_t size, position;
    /* Where the frames come from: a decoder, or memory. */
    SNDFILE *decoder;
    td_raw_sound raw;
    uint64_t frames, frames_read; /* frames: as the header has it */
    bool may_end_early;           /* the header's number of frames is an estimate */
    size_t channels, source_rate, rate;
    soxr_t resampler; /* NULL when the rates agree */
    float *interleaved, *mono;
    size_t block, mono_start, mono_end;
    bool ended;
};

static sf_count_t source_length(void *context)
{
    return (sf_count_t)((td_sound_stream *)context)->size;
}

static sf_count_t source_tell(void *context)
{
    return (sf_count_t)((td_sound_stream *)context)->position;
}

static sf_count_t source_seek(sf_count_t offset, int whence, void *context)
{
    td_sound_stream *stream = context;
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)stream->position : (int64_t)stream->size, target;
    if (__builtin_add_overflow(base, offset, &target) || target < 0 || (uint64_t)target > stream->size)
        return -1;
    if (stream->file && fseeko(stream->file, (off_t)target, SEEK_SET) != 0)
        return -1;
    stream->position = (uint64_t)target;
    return target;
}

static sf_count_t source_read(void *data, sf_count_t count, void *context)
{
    td_sound_stream *stream = context;
    if (count <= 0)
        return 0;
    size_t wanted = (uint64_t)count < stream->size - stream->position ? (size_t)count : (size_t)(stream->size - stream->position);
    if (stream->file)
        wanted = fread(data, 1, wanted, stream->file);
    else
        memcpy(data, stream->bytes + stream->position, wanted);
    stream->position += wanted;
    return (sf_count_t)wanted;
}

/* The decoder is opened for reading only. */
static sf_count_t source_write(const void *data, sf_count_t count, void *context)
{
    (void)data, (void)count, (void)context;
    return 0;
}

/* A wav file whose samples are cut off: the decoder would give what is there as if it were all. */
static td_status check_riff(td_sound_stream *stream, td_error *error)
{
    uint8_t head[12];
    uint64_t at = 12;
    source_seek(0, SEEK_SET, stream);
    if (source_read(head, 12, stream) != 12 || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0)
        return TD_OK; /* another format, or the decoder will say what is wrong */
    for (int chunk = 0; chunk < 1000; chunk++) {
        if (source_seek((sf_count_t)at, SEEK_SET, stream) < 0 || source_read(head, 8, stream) != 8)
            break;
        td_reader reader = td_reader_of(head + 4, 4);
        uint32_t length = td_read_u32(&reader);
        uint64_t left = stream->size - at - 8;
        if (memcmp(head, "data", 4) == 0 && length > left && length < ENDLESS)
            return td_fail(error, TD_ERROR_FORMAT, "%s: truncated: the header speaks of %u bytes of samples, the file has %llu of them",
                           stream->name, (unsigned)length, (unsigned long long)left);
        if (memcmp(head, "data", 4) == 0)
            break;
        at += 8 + (uint64_t)length + (length & 1);
    }
    return TD_OK;
}

static td_status open_file(td_sound_stream *stream, td_error *error)
{
    stream->file = fopen(stream->name, "rb");
    struct stat status;
    if (!stream->file || fstat(fileno(stream->file), &status) != 0)
        return td_fail(error, TD_ERROR_IO, "%s: %s", stream->name, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return td_fail(error, TD_ERROR_IO, "%s: not a regular file", stream->name);
    stream->size = (uint64_t)status.st_size;
    return TD_OK;
}

/* The decoder gives up on some files without a reason. */
static const char *reason_of(int code)
{
    return code == SF_ERR_NO_ERROR ? "its header is damaged, or of a kind that is not known" : sf_error_number(code);
}

static td_status open_decoder(td_sound_stream *stream, td_error *error)
{
    SF_VIRTUAL_IO source = {source_length, source_seek, source_read, source_write, source_tell};
    SF_INFO info = {0};
    if (stream->size == 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the file is empty", stream->name);
    TD_TRY(check_riff(stream, error));
    source_seek(0, SEEK_SET, stream);
    stream->decoder = sf_open_virtual(&source, SFM_READ, &info, stream);
    if (!stream->decoder)
        return td_fail(error, TD_ERROR_FORMAT, "%s: not a sound file that can be read (wav, flac, ogg, mp3, ...): %s", stream->name,
                       reason_of(sf_error(NULL)));
    if (info.channels < 1 || info.samplerate < 1 || info.frames < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: %d channels at %d Hz", stream->name, info.channels, info.samplerate);
    stream->channels = (size_t)info.channels;
    stream->source_rate = (size_t)info.samplerate;
    stream->frames = (uint64_t)info.frames;
    stream->may_end_early = (info.format & SF_FORMAT_TYPEMASK) == SF_FORMAT_MPEG || info.frames == SF_COUNT_MAX;
    return TD_OK;
}

/* What both kinds of source need; the source's rate and channels are known. */
static td_status prepare(td_sound_stream *stream, size_t rate, td_error *error)
{
    stream->rate = rate ? rate : stream->source_rate;
    size_t rates[2] = {stream->source_rate, stream->rate};
    for (int i = 0; i < 2; i++)
        if (rates[i] < LOWEST_RATE || rates[i] > HIGHEST_RATE)
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: a rate of %zu Hz is not supported (%d to %d)", stream->name, rates[i],
                           LOWEST_RATE, HIGHEST_RATE);
    stream->block = stream->channels < BLOCK_VALUES ? BLOCK_VALUES / stream->channels : 1;
    stream->interleaved = stream->decoder ? td_allocate_array(stream->block, stream->channels * sizeof(float)) : NULL;
    stream->mono = td_allocate_array(stream->block, sizeof(float));
    if ((stream->decoder && !stream->interleaved) || !stream->mono)
        return td_fail_memory(error, stream->block * (stream->channels + 1) * sizeof(float));
    if (stream->rate == stream->source_rate)
        return TD_OK;
    soxr_error_t reason = NULL;
    soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    stream->resampler = soxr_create((double)stream->source_rate, (double)stream->rate, 1, &reason, &io, &quality, &runtime);
    if (!stream->resampler)
        return td_fail(error, TD_ERROR_MEMORY, "%s: resampling from %zu to %zu Hz: %s", stream->name, stream->source_rate, stream->rate,
                       reason ? reason : "out of memory");
    return TD_OK;
}

td_status td_sound_stream_open(const char *path, const void *bytes, size_t length, size_t rate, td_sound_stream **ret_stream,
                               td_error *error)
{
    td_sound_stream *stream = td_allocate_array(1, sizeof *stream);
    if (!stream)
        return td_fail_memory(error, sizeof *stream);
    *stream = (td_sound_stream){.name = td_copy_string(path), .bytes = bytes, .size = bytes ? length : 0};
    td_status status = stream->name ? TD_OK : td_fail_memory(error, strlen(path));
    if (status == TD_OK && !bytes)
        status = open_file(stream, error);
    if (status == TD_OK)
        status = open_decoder(stream, error);
    if (status == TD_OK)
        status = prepare(stream, rate, error);
    if (status != TD_OK)
        td_sound_stream_close(stream);
    else
        *ret_stream = stream;
    return status;
}

td_status td_sound_stream_take(const td_raw_sound *sound, size_t rate, td_sound_stream **ret_stream, td_error *error)
{
    size_t values;
    if (sound->channels == 0 || td_multiply_overflows(sound->frames, sound->channels, &values) || (values > 0 && !sound->samples))
        return td_fail(error, TD_ERROR_ARGUMENT, "sound in memory: %zu frames of %zu channels", sound->frames, sound->channels);
    td_sound_stream *stream = td_allocate_array(1, sizeof *stream);
    if (!stream)
        return td_fail_memory(error, sizeof *stream);
    *stream = (td_sound_stream){.name = td_copy_string("sound in memory"),
                                .raw = *sound,
                                .frames = sound->frames,
                                .channels = sound->channels,
                                .source_rate = sound->rate};
    td_status status = stream->name ? prepare(stream, rate, error) : td_fail_memory(error, 16);
    if (status != TD_OK)
        td_sound_stream_close(stream);
    else
        *ret_stream = stream;
    return status;
}

void td_sound_stream_close(td_sound_stream *stream)
{
    if (!stream)
        return;
    soxr_delete(stream->resampler);
    if (stream->decoder)
        sf_close(stream->decoder);
    if (stream->file)
        fclose(stream->file);
    td_release(stream->interleaved);
    td_release(stream->mono);
    td_release(stream->name);
    td_release(stream);
}

size_t td_sound_stream_rate(const td_sound_stream *stream)
{
    return stream->rate;
}

/* Gives the next frames of the source; *ret_count is 0 at the end. */
static td_status read_frames(td_sound_stream *stream, const float **ret_frames, size_t *ret_count, td_error *error)
{
    uint64_t left = stream->frames > stream->frames_read ? stream->frames - stream->frames_read : 0;
    size_t wanted = left < stream->block ? (size_t)left : stream->block;
    *ret_count = wanted;
    if (!stream->decoder) {
        *ret_frames = stream->raw.samples ? stream->raw.samples + stream->frames_read * stream->channels : NULL;
        return TD_OK;
    }
    *ret_frames = stream->interleaved;
    sf_count_t got = wanted ? sf_readf_float(stream->decoder, stream->interleaved, (sf_count_t)wanted) : 0;
    *ret_count = got > 0 ? (size_t)got : 0;
    if (stream->file && ferror(stream->file))
        return td_fail(error, TD_ERROR_IO, "%s: %s", stream->name, strerror(errno));
    if (sf_error(stream->decoder) != SF_ERR_NO_ERROR)
        return td_fail(error, TD_ERROR_FORMAT, "%s: after %llu frames: %s", stream->name,
                       (unsigned long long)(stream->frames_read + *ret_count), sf_error_number(sf_error(stream->decoder)));
    if (*ret_count < wanted && !stream->may_end_early)
        return td_fail(error, TD_ERROR_FORMAT, "%s: truncated or damaged: it ends after %llu of %llu frames", stream->name,
                       (unsigned long long)(stream->frames_read + *ret_count), (unsigned long long)stream->frames);
    return TD_OK;
}

/* Fills `mono` with the mean of the channels. */
static td_status refill(td_sound_stream *stream, td_error *error)
{
    const float *frames;
    size_t count;
    TD_TRY(read_frames(stream, &frames, &count, error));
    for (size_t i = 0; i < count; i++) {
        double sum = 0.0;
        for (size_t c = 0; c < stream->channels; c++) {
            float sample = frames[i * stream->channels + c];
            if (!(fabsf(sample) <= LARGEST_SAMPLE))
                return td_fail(error, TD_ERROR_NUMERIC, "%s: frame %llu, channel %zu: the sample is %g; full scale is 1", stream->name,
                               (unsigned long long)(stream->frames_read + i), c, (double)sample);
            sum += (double)sample;
        }
        stream->mono[i] = (float)(sum / (double)stream->channels);
    }
    stream->mono_start = 0;
    stream->mono_end = count;
    stream->frames_read += count;
    stream->ended = count == 0;
    return TD_OK;
}

/* Moves samples from `mono` to the caller; without input left, the resampler gives what it still holds. */
static td_status convert(td_sound_stream *stream, float *samples, size_t count, size_t *ret_count, td_error *error)
{
    size_t available = stream->mono_end - stream->mono_start, used, made;
    const float *input = stream->mono + stream->mono_start;
    if (stream->resampler) {
        soxr_error_t reason =
            soxr_process(stream->resampler, stream->ended ? NULL : input, stream->ended ? 0 : available, &used, samples, count, &made);
        if (reason)
            return td_fail(error, TD_ERROR_INTERNAL, "%s: resampling: %s", stream->name, reason);
    } else {
        used = made = available < count ? available : count;
        memcpy(samples, input, made * sizeof *samples);
    }
    stream->mono_start += used;
    *ret_count = made;
    return TD_OK;
}

td_status td_sound_stream_next(td_sound_stream *stream, float *samples, size_t count, size_t *ret_count, td_error *error)
{
    size_t done = 0;
    while (done < count) {
        if (stream->mono_start == stream->mono_end && !stream->ended)
            TD_TRY(refill(stream, error));
        size_t made = 0;
        TD_TRY(convert(stream, samples + done, count - done, &made, error));
        done += made;
        if (made == 0 && stream->ended)
            break;
    }
    *ret_count = done;
    return TD_OK;
}

td_status td_sound_stream_rest(td_sound_stream *stream, size_t limit, float **ret_samples, size_t *ret_count, td_error *error)
{
    size_t count = 0, capacity = 0, got;
    float *samples = NULL;
    td_status status;
    do {
        size_t larger = capacity ? 2 * capacity : BLOCK_VALUES; /* grows with what is there, not with what the header says */
        float *grown = count > limit ? NULL : td_resize_array(samples, larger, sizeof *samples);
        if (!grown) {
            td_release(samples);
            return count > limit ? td_fail(error, TD_ERROR_LIMIT, "%s: more than %zu samples at %zu Hz", stream->name, limit, stream->rate)
                                 : td_fail_memory(error, larger * sizeof *samples);
        }
        samples = grown;
        capacity = larger;
        status = td_sound_stream_next(stream, samples + count, capacity - count, &got, error);
        count += status == TD_OK ? got : 0;
    } while (status == TD_OK && count == capacity);
    if (status == TD_OK && count == 0)
        status = td_fail(error, TD_ERROR_FORMAT, "%s: it holds no samples", stream->name);
    if (status == TD_OK && count > limit)
        status = td_fail(error, TD_ERROR_LIMIT, "%s: more than %zu samples at %zu Hz", stream->name, limit, stream->rate);
    if (status != TD_OK) {
        td_release(samples);
        return status;
    }
    *ret_samples = samples;
    *ret_count = count;
    return TD_OK;
}

td_status td_sound_resample(const float *samples, size_t count, double from, double to, float **ret_samples, size_t *ret_count,
                            td_error *error)
{
    double wanted = ceil((double)count * to / from) + 1.0;
    if (!(from > 0.0 && to > 0.0 && wanted <= (double)TD_SOUND_LIMIT))
        return td_fail(error, TD_ERROR_LIMIT, "resampling %zu samples from %g to %g; at most %zu samples may come out", count, from, to,
                       TD_SOUND_LIMIT);
    float *made = td_allocate_array((size_t)wanted, sizeof *made);
    if (!made)
        return td_fail_memory(error, (size_t)wanted * sizeof *made);
    size_t used, done;
    soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    soxr_error_t reason = soxr_oneshot(from, to, 1, samples, count, &used, made, (size_t)wanted, &done, &io, &quality, &runtime);
    if (reason) {
        td_release(made);
        return td_fail(error, TD_ERROR_INTERNAL, "resampling from %g to %g: %s", from, to, reason);
    }
    *ret_samples = made;
    *ret_count = done;
    return TD_OK;
}
