/* Frames of 10 ms are speech or quiet by a threshold between the quiet and the loud frames of what is in memory, so that it follows
 * the recording. */
#include "audio/voice.h"

#include <math.h>
#include <string.h>

#define FRAMES_PER_SECOND 100
#define LOWEST_DECIBELS (-100.0) /* of full scale; digital silence is no quieter */
#define SILENCE (-60.0)          /* nothing below is speech, however quiet the rest */
#define LEAST_RANGE 10.0         /* decibels between quiet and loud: with less all is speech, or all is noise */
#define NOISE (-45.0)            /* sound without range is taken for speech above */
#define ABOVE_QUIET 0.35         /* of the range: where the threshold lies */
#define LEAST_SPEECH 4           /* frames within ONSET_SPAN that begin speech: a click is shorter */
#define ONSET_SPAN 6
#define BINS 101    /* of the histogram: a decibel each, from the lowest to full scale */
#define SMOOTHING 5 /* frames on each side in looking for the quietest point */

struct td_voice {
    td_sound_stream *stream;
    td_voice_options options;
    size_t frame;                   /* samples */
    size_t longest, pause, padding; /* frames */
    float *samples;                 /* [capacity * frame]; what is in memory */
    float *levels;                  /* [capacity] decibels of its frames */
    size_t capacity, frames;        /* whole frames in memory */
    size_t tail;                    /* samples after the last whole frame: at the end only */
    uint64_t dropped;               /* frames before those in memory */
    bool ended, given;              /* the stream has no more; a segment was given */
};

static size_t to_frames(double seconds)
{
    return (size_t)(seconds * FRAMES_PER_SECOND + 0.5);
}

td_status td_voice_open(td_sound_stream *stream, const td_voice_options *options, td_voice **ret_voice, td_error *error)
{
    if (!(options->pause >= 0.05 && options->pause <= 60) || !(options->padding >= 0 && options->padding <= 10) ||
        !(options->longest >= 1 && options->longest <= 3600) || options->longest < 2 * options->padding + 0.5)
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "voice activity: segments of %g s, pauses of %g s, padding of %g s; segments must be 1 to 3600 s and longer than "
                       "twice the padding, pauses 0.05 to 60 s, padding 0 to 10 s",
                       options->longest, options->pause, options->padding);
    td_voice *voice = td_allocate_array(1, sizeof *voice);
    if (!voice)
        return td_fail_memory(error, sizeof *voice);
    size_t rate = td_sound_stream_rate(stream);
    *voice = (td_voice){.stream = stream,
                        .options = *options,
                        .frame = rate / FRAMES_PER_SECOND,
                        .longest = to_frames(options->longest),
                        .pause = to_frames(options->pause),
                        .padding = to_frames(options->padding)};
    voice->frame = voice->frame ? voice->frame : 1;
    voice->capacity = voice->longest + voice->pause + voice->padding + FRAMES_PER_SECOND;
    voice->samples = td_allocate_array(voice->capacity, voice->frame * sizeof *voice->samples);
    voice->levels = td_allocate_array(voice->capacity, sizeof *voice->levels);
    if (!voice->samples || !voice->levels) {
        td_voice_close(voice);
        return td_fail_memory(error, voice->capacity * voice->frame * sizeof *voice->samples);
    }
    *ret_voice = voice;
    return TD_OK;
}

void td_voice_close(td_voice *voice)
{
    if (!voice)
        return;
    td_release(voice->samples);
    td_release(voice->levels);
    td_release(voice);
}

double td_voice_seconds(const td_voice *voice)
{
    double samples = (double)(voice->dropped + voice->frames) * (double)voice->frame + (double)voice->tail;
    return samples / (double)td_sound_stream_rate(voice->stream);
}

/* Of a frame without its mean, which microphones add. */
static float level_of(const float *samples, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)samples[i];
        squares += (double)samples[i] * (double)samples[i];
    }
    double power = (squares - sum * sum / (double)count) / (double)count;
    return (float)(power > 1e-10 ? 10.0 * log10(power) : LOWEST_DECIBELS);
}

/* Reads until memory is full or the stream has ended. */
static td_status fill(td_voice *voice, td_error *error)
{
    if (voice->ended || voice->frames == voice->capacity)
        return TD_OK;
    size_t wanted = (voice->capacity - voice->frames) * voice->frame, count;
    float *place = voice->samples + voice->frames * voice->frame;
    TD_TRY(td_sound_stream_next(voice->stream, place, wanted, &count, error));
    voice->ended = count < wanted;
    for (size_t i = 0; i < count / voice->frame; i++)
        voice->levels[voice->frames++] = level_of(place + i * voice->frame, voice->frame);
    voice->tail = count % voice->frame;
    return TD_OK;
}

static void drop(td_voice *voice, size_t frames)
{
    voice->dropped += frames;
    voice->frames -= frames;
    memmove(voice->samples, voice->samples + frames * voice->frame, (voice->frames * voice->frame + voice->tail) * sizeof *voice->samples);
    memmove(voice->levels, voice->levels + frames, voice->frames * sizeof *voice->levels);
}

/* The level that so large a share of the frames lies below. */
static double percentile(const size_t *histogram, size_t total, double share)
{
    size_t seen = 0, bin = 0;
    while (bin < BINS - 1 && (double)(seen += histogram[bin]) <= share * (double)total)
        bin++;
    return LOWEST_DECIBELS + (double)bin;
}

static double threshold_of(const td_voice *voice)
{
    size_t histogram[BINS] = {0};
    for (size_t i = 0; i < voice->frames; i++) {
        double bin = floor((double)voice->levels[i] - LOWEST_DECIBELS);
        histogram[bin < 0 ? 0 : bin > BINS - 1 ? BINS - 1 : (size_t)bin]++;
    }
    double quiet = percentile(histogram, voice->frames, 0.1), loud = percentile(histogram, voice->frames, 0.95);
    quiet = quiet < SILENCE - 10 ? SILENCE - 10 : quiet; /* how silent silence is says nothing about speech */
    if (loud - quiet < LEAST_RANGE)
        return NOISE;
    return fmax(SILENCE, quiet + ABOVE_QUIET * (loud - quiet));
}

/* The first frame from `from` on where speech begins; `frames` when there is none. */
static size_t find_onset(const td_voice *voice, size_t from, double threshold)
{
    for (size_t i = from; i < voice->frames; i++) {
        size_t above = 0;
        for (size_t k = i; k < i + ONSET_SPAN && k < voice->frames; k++)
            above += (double)voice->levels[k] > threshold;
        if ((double)voice->levels[i] > threshold && (above >= LEAST_SPEECH || (voice->ended && above && voice->frames - i <= LEAST_SPEECH)))
            return i;
    }
    return voice->frames;
}

/* One past the last frame of speech before a pause, or before the end of memory. *ret_pause: there was a pause. */
static size_t find_end(const td_voice *voice, size_t onset, double threshold, bool *ret_pause)
{
    size_t last = onset;
    *ret_pause = false;
    for (size_t i = onset; i < voice->frames; i++) {
        if ((double)voice->levels[i] > threshold)
            last = i;
        else if (i - last >= voice->pause) {
            *ret_pause = true;
            break;
        }
    }
    return last + 1;
}

/* The middle of the quietest stretch in [from, end). */
static size_t quietest(const td_voice *voice, size_t from, size_t end)
{
    size_t best = end;
    double least = INFINITY;
    for (size_t i = from; i < end; i++) {
        double sum = 0;
        size_t first = i > SMOOTHING ? i - SMOOTHING : 0, count = 0;
        for (size_t k = first; k <= i + SMOOTHING && k < voice->frames; k++, count++)
            sum += pow(10.0, (double)voice->levels[k] / 10.0);
        if (sum / (double)count < least) {
            least = sum / (double)count;
            best = i;
        }
    }
    return best;
}

/* Gives frames [from, end) of memory, with the samples after the last frame if `tail`. */
static td_status give(td_voice *voice, size_t from, size_t end, bool tail, td_voice_segment *ret_segment, td_error *error)
{
    size_t count = (end - from) * voice->frame + (tail ? voice->tail : 0);
    float *samples = td_allocate_array(count, sizeof *samples);
    if (!samples)
        return td_fail_memory(error, count * sizeof *samples);
    memcpy(samples, voice->samples + from * voice->frame, count * sizeof *samples);
    double rate = (double)td_sound_stream_rate(voice->stream), start = (double)(voice->dropped + from) * (double)voice->frame / rate;
    *ret_segment = (td_voice_segment){samples, count, start, start + (double)count / rate};
    voice->given = true;
    return TD_OK;
}

/* The whole of a short recording that holds speech in one place, with the times of the speech. */
static td_status give_whole(td_voice *voice, size_t from, size_t end, td_voice_segment *ret_segment, td_error *error)
{
    double second = (double)td_sound_stream_rate(voice->stream) / (double)voice->frame;
    TD_TRY(give(voice, 0, voice->frames, true, ret_segment, error));
    if (end < voice->frames)
        ret_segment->end = (double)end / second;
    ret_segment->start = (double)from / second;
    drop(voice, voice->frames);
    voice->tail = 0;
    return TD_OK;
}

td_status td_voice_next(td_voice *voice, td_voice_segment *ret_segment, td_error *error)
{
    for (;;) {
        TD_TRY(fill(voice, error));
        double threshold = threshold_of(voice);
        size_t onset = find_onset(voice, 0, threshold);
        if (onset < voice->frames && onset > voice->padding && !voice->ended) { /* what follows is to be in memory */
            drop(voice, onset - voice->padding);
            continue;
        }
        if (onset == voice->frames) { /* no speech */
            if (voice->ended) {
                *ret_segment = (td_voice_segment){0};
                return TD_OK;
            }
            drop(voice, voice->frames > voice->padding + ONSET_SPAN ? voice->frames - voice->padding - ONSET_SPAN : 0);
            continue;
        }
        bool pause;
        size_t end = find_end(voice, onset, threshold, &pause), from = onset > voice->padding ? onset - voice->padding : 0;
        size_t limit = from + voice->longest;
        if (end > limit) { /* the last part of a cut is heard again by nobody: no padding */
            end = quietest(voice, from + voice->longest / 2, limit);
            TD_TRY(give(voice, from, end, false, ret_segment, error));
            drop(voice, end);
            return TD_OK;
        }
        size_t padded = end + voice->padding < limit ? end + voice->padding : limit;
        padded = padded < voice->frames ? padded : voice->frames;
        bool first = voice->dropped == 0 && !voice->given, last = voice->ended && find_onset(voice, end, threshold) == voice->frames;
        if (first && last && voice->frames <= voice->longest)
            return give_whole(voice, from, padded, ret_segment, error);
        TD_TRY(give(voice, from, padded, voice->ended && padded == voice->frames, ret_segment, error));
        drop(voice, pause ? end : padded);
        return TD_OK;
    }
}
