/* Reading and changing sound: rates, streams, damaged files, feature files, settings, augmentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audio/augment.h"
#include "audio/feature_file.h"
#include "audio/fft.h"
#include "audio/normalize.h"
#include "audio/sound.h"
#include "base/buffer.h"
#include "frontend/frontend.h"
#include "io/json.h"
#include "platform/file.h"

static void put(td_buffer *buffer, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8)
        td_buffer_append(buffer, &(uint8_t){(uint8_t)value}, 1);
}

/* A wav file of float samples; `claimed` is the size that its data chunk speaks of. */
static void make_wav(td_buffer *wav, const float *samples, size_t frames, unsigned channels, unsigned rate, uint64_t claimed)
{
    td_buffer_text_append(wav, "RIFF");
    put(wav, 36 + claimed, 4);
    td_buffer_text_append(wav, "WAVEfmt ");
    put(wav, 16, 4);
    put(wav, 3, 2);
    put(wav, channels, 2);
    put(wav, rate, 4);
    put(wav, (uint64_t)rate * channels * 4, 4);
    put(wav, channels * 4, 2);
    put(wav, 32, 2);
    td_buffer_text_append(wav, "data");
    put(wav, claimed, 4);
    td_buffer_append(wav, samples, frames * channels * sizeof *samples);
}

static void load_golden(const char *name, td_buffer *bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/golden/audio/%s", TD_TEST_DATA, name);
    assert_int_equal(td_file_read(path, 0, bytes, NULL), TD_OK);
}

static td_status read_whole(const char *name, const void *bytes, size_t length, size_t rate, float **samples, size_t *count,
                            td_error *error)
{
    td_sound_stream *stream;
    TD_TRY(td_sound_stream_open(name, bytes, length, rate, &stream, error));
    td_status status = td_sound_stream_rest(stream, (size_t)1 << 22, samples, count, error);
    td_sound_stream_close(stream);
    return status;
}

static void assert_fails(const td_buffer *bytes, td_status expected, const char *part)
{
    td_error error = {0};
    float *samples;
    size_t count;
    td_status status = read_whole("bad.wav", bytes->data ? bytes->data : "", bytes->length, 16000, &samples, &count, &error);
    if (status != expected || strncmp(error.message, "bad.wav: ", 9) != 0 || !strstr(error.message, part))
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", (int)status, error.message, (int)expected, part);
}

/* A tone under a bell, so that nothing lies beyond either rate's half: its value is known at any time. */
static double bell(double seconds)
{
    return exp(-pow((seconds - 0.25) / 0.05, 2)) * sin(2 * M_PI * 700 * seconds);
}

static void test_resampling_is_exact(void **state)
{
    (void)state;
    static const size_t rates[][2] = {{8000, 16000}, {44100, 16000}, {48000, 16000}, {16000, 8000}, {11025, 16000}, {16000, 16000}};
    for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
        size_t frames = rates[k][0] / 2, count;
        float *in = td_allocate_array(frames, 2 * sizeof *in), *out;
        for (size_t i = 0; i < frames; i++) { /* the mean of the channels is the tone */
            in[2 * i] = (float)(bell((double)i / (double)rates[k][0]) * 1.5);
            in[2 * i + 1] = (float)(bell((double)i / (double)rates[k][0]) * 0.5);
        }
        td_raw_sound raw = {in, frames, 2, rates[k][0]};
        td_sound_stream *stream;
        assert_int_equal(td_sound_stream_take(&raw, rates[k][1], &stream, NULL), TD_OK);
        assert_int_equal(td_sound_stream_rest(stream, TD_SOUND_LIMIT, &out, &count, NULL), TD_OK);
        td_sound_stream_close(stream);
        assert_true(labs((long)count - (long)(rates[k][1] / 2)) <= 1);
        for (size_t i = 0; i < count; i++)
            if (fabs((double)out[i] - bell((double)i / (double)rates[k][1])) > 2e-5)
                fail_msg("%zu to %zu Hz: sample %zu is %g, not %g", rates[k][0], rates[k][1], i, (double)out[i],
                         bell((double)i / (double)rates[k][1]));
        td_release(in);
        td_release(out);
    }
}

static void test_stream_equals_whole(void **state)
{
    (void)state;
    static const char *const names[] = {"wide.flac", "mono.ogg", "mono.mp3", "stereo24.wav", "narrow8.wav"};
    static const size_t steps[] = {1, 7, 1000, 100000};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        td_buffer bytes = TD_BUFFER_INIT;
        load_golden(names[k], &bytes);
        float *whole, *parts = td_allocate_array(200000, sizeof *parts);
        size_t count;
        assert_int_equal(read_whole(names[k], bytes.data, bytes.length, 16000, &whole, &count, NULL), TD_OK);
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            td_sound_stream *stream;
            size_t total = 0, got;
            assert_int_equal(td_sound_stream_open(names[k], bytes.data, bytes.length, 16000, &stream, NULL), TD_OK);
            do {
                assert_int_equal(td_sound_stream_next(stream, parts + total, steps[s], &got, NULL), TD_OK);
                total += got;
            } while (got == steps[s]);
            assert_int_equal(td_sound_stream_next(stream, parts + total, 1, &got, NULL), TD_OK);
            assert_int_equal(got, 0); /* the end stays the end */
            assert_int_equal(total, count);
            assert_memory_equal(parts, whole, count * sizeof *whole);
            td_sound_stream_close(stream);
        }
        td_release(whole);
        td_release(parts);
        td_buffer_free(&bytes);
    }
}

static void test_damaged_files(void **state)
{
    (void)state;
    float samples[64] = {0};
    td_buffer bytes = TD_BUFFER_INIT;
    assert_fails(&bytes, TD_ERROR_FORMAT, "empty");
    td_buffer_text_append(&bytes, "These are words, not a sound.");
    assert_fails(&bytes, TD_ERROR_FORMAT, "not a sound file");
    td_buffer_clear(&bytes);
    make_wav(&bytes, samples, 64, 1, 16000, 256 + 4);
    assert_fails(&bytes, TD_ERROR_FORMAT, "truncated: the header speaks of 260 bytes");
    td_buffer_clear(&bytes);
    make_wav(&bytes, samples, 64, 1, 16000, 0x7ffe0000);
    assert_fails(&bytes, TD_ERROR_FORMAT, "truncated");
    td_buffer_clear(&bytes);
    make_wav(&bytes, samples, 0, 1, 16000, 0);
    assert_fails(&bytes, TD_ERROR_FORMAT, "");
    td_buffer_clear(&bytes);
    make_wav(&bytes, samples, 64, 1, 100, 256);
    assert_fails(&bytes, TD_ERROR_UNSUPPORTED, "100 Hz");
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 1e30f};
    for (size_t i = 0; i < 4; i++) {
        samples[37] = wrong[i];
        td_buffer_clear(&bytes);
        make_wav(&bytes, samples, 32, 2, 16000, 256);
        assert_fails(&bytes, TD_ERROR_NUMERIC, "frame 18, channel 1");
    }
    td_buffer_clear(&bytes);
    load_golden("wide.flac", &bytes);
    bytes.length /= 2;
    assert_fails(&bytes, TD_ERROR_FORMAT, "");
    td_buffer_clear(&bytes);
    load_golden("wide.flac", &bytes);
    memset(bytes.data + 22, 0xff, 4); /* the low bits of the number of samples: four thousand million */
    assert_fails(&bytes, TD_ERROR_FORMAT, "");
    td_buffer_free(&bytes);

    td_sound_stream *stream;
    td_error error = {0};
    assert_int_equal(td_sound_stream_open("/nonexistent/a.wav", NULL, 0, 0, &stream, &error), TD_ERROR_IO);
    assert_non_null(strstr(error.message, "/nonexistent/a.wav: "));
    assert_int_equal(td_sound_stream_open("/", NULL, 0, 0, &stream, &error), TD_ERROR_IO);
}

/* A wav file that was written to a pipe does not know its length: all that is there counts. */
static void test_endless_wav(void **state)
{
    (void)state;
    float samples[64] = {0}, *read;
    size_t count;
    td_buffer bytes = TD_BUFFER_INIT;
    make_wav(&bytes, samples, 64, 1, 16000, 0xffffffff);
    assert_int_equal(read_whole("pipe.wav", bytes.data, bytes.length, 0, &read, &count, NULL), TD_OK);
    assert_int_equal(count, 64);
    td_release(read);
    td_buffer_free(&bytes);
}

/* Whatever bytes are changed or cut: an error that names the file, or samples; never more. */
static void test_mutations(void **state)
{
    (void)state;
    static const char *const names[] = {"wide.flac", "mono.ogg", "mono.mp3", "stereo24.wav", "narrow8.wav", "narrow-float.wav"};
    size_t failures = 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        td_buffer original = TD_BUFFER_INIT;
        load_golden(names[k], &original);
        td_random random = {td_random_key(5, k, 0), 0};
        for (size_t trial = 0; trial < 60; trial++) {
            char *bytes = td_copy_bytes(original.data, original.length);
            size_t length = trial % 4 == 0 ? (size_t)td_random_below(&random, original.length) : original.length, count;
            size_t reach = trial % 2 ? 64 : original.length; /* the header more often than chance would have it */
            for (size_t i = 0; i < 1 + trial % 5; i++)
                bytes[td_random_below(&random, reach)] = (char)td_random_next(&random);
            float *samples;
            td_error error = {0};
            if (read_whole("changed", bytes, length, 16000, &samples, &count, &error) == TD_OK) {
                for (size_t i = 0; i < count; i++)
                    assert_true(isfinite(samples[i]));
                td_release(samples);
            } else {
                failures++;
                assert_int_equal(strncmp(error.message, "changed: ", 9), 0);
            }
            td_release(bytes);
        }
        td_buffer_free(&original);
    }
    assert_in_range(failures, 30, 300);
}

static void test_fft(void **state)
{
    (void)state;
    static const size_t lengths[] = {2, 6, 16, 30, 256, 400, 122};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        size_t length = lengths[k];
        double frame[512], scratch[512], power[257];
        td_random random = {td_random_key(9, k, 0), 0};
        for (size_t i = 0; i < length; i++)
            frame[i] = td_random_normal(&random);
        td_fft fft;
        assert_int_equal(td_fft_make(length, &fft, NULL), TD_OK);
        td_fft_power(&fft, frame, scratch, power);
        for (size_t f = 0; f <= length / 2; f++) {
            double real = 0.0, imaginary = 0.0;
            for (size_t i = 0; i < length; i++) {
                double angle = 2 * M_PI * (double)(f * i % length) / (double)length;
                real += frame[i] * cos(angle);
                imaginary += frame[i] * sin(angle);
            }
            assert_true(fabs(power[f] - real * real - imaginary * imaginary) <= 1e-11 * (double)length);
        }
        td_fft_free(&fft);
    }
    assert_false(td_fft_supports(0) || td_fft_supports(401) || td_fft_supports(2 * 67));
}

static void put_float(td_buffer *buffer, float value, bool big)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put(buffer, big ? __builtin_bswap32(bits) : bits, 4);
}

static void test_mfc(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        td_buffer bytes = TD_BUFFER_INIT;
        td_features features;
        td_error error = {0};
        put(&bytes, big ? __builtin_bswap32(6) : 6, 4);
        for (int i = 0; i < 6; i++)
            put_float(&bytes, (float)i + 0.5f, big);
        const uint8_t *data = (const uint8_t *)bytes.data;
        assert_int_equal(td_feature_format_of("x", data, bytes.length, bytes.length), TD_MFC);
        assert_int_equal(td_feature_format_of("x", data, bytes.length, bytes.length + 1), TD_NOT_FEATURES);
        assert_int_equal(td_feature_file_parse(TD_MFC, "x.mfc", data, bytes.length, 3, &features, &error), TD_OK);
        assert_int_equal(features.rows, 2);
        for (int i = 0; i < 6; i++)
            assert_true(features.data[i] == (float)i + 0.5f);
        td_features_free(&features);
        assert_int_equal(td_feature_file_parse(TD_MFC, "x.mfc", data, bytes.length, 4, &features, &error), TD_ERROR_FORMAT);
        assert_string_equal(error.message, "x.mfc: 6 values are no whole number of frames of 4");
        for (size_t length = 0; length < bytes.length; length++)
            assert_int_equal(td_feature_file_parse(TD_MFC, "x.mfc", data, length, 3, &features, &error), TD_ERROR_FORMAT);
        bytes.length -= 4;
        put_float(&bytes, NAN, big);
        assert_int_equal(td_feature_file_parse(TD_MFC, "x.mfc", data, bytes.length, 3, &features, &error), TD_ERROR_NUMERIC);
        assert_string_equal(error.message, "x.mfc: frame 1, column 2: not a finite number");
        td_buffer_free(&bytes);
    }
}

static void make_npy(td_buffer *npy, int version, const char *type, const char *order, const char *shape)
{
    char header[256];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", type, order, shape);
    td_buffer_clear(npy);
    td_buffer_append(npy, "\x93NUMPY", 6);
    put(npy, (uint64_t)version, 2);
    put(npy, strlen(header), version == 1 ? 2 : 4);
    td_buffer_text_append(npy, header);
    for (int i = 0; i < 6; i++) {
        double value = i - 2.25;
        uint64_t bits;
        memcpy(&bits, &value, 8);
        if (type[2] == '8')
            put(npy, type[0] == '>' ? __builtin_bswap64(bits) : bits, 8);
        else
            put_float(npy, (float)value, type[0] == '>');
    }
}

static void test_npy(void **state)
{
    (void)state;
    static const char *const types[] = {"<f4", "<f8", ">f4", ">f8"};
    td_buffer bytes = TD_BUFFER_INIT;
    td_features features;
    td_error error = {0};
    for (int i = 0; i < 8; i++) {
        make_npy(&bytes, 1 + i % 3, types[i % 4], "False", "(2, 3)");
        assert_int_equal(td_feature_format_of("x", (uint8_t *)bytes.data, 8, bytes.length), TD_NPY);
        assert_int_equal(td_feature_file_parse(TD_NPY, "x.npy", (uint8_t *)bytes.data, bytes.length, 3, &features, &error), TD_OK);
        for (int k = 0; k < 6; k++)
            assert_true(features.data[k] == (float)k - 2.25f);
        td_features_free(&features);
        for (size_t length = 0; length < bytes.length; length++) {
            char *part = td_copy_bytes(bytes.data, length); /* so that a checker sees a read beyond the end */
            assert_int_equal(td_feature_file_parse(TD_NPY, "x.npy", (uint8_t *)part, length, 3, &features, &error), TD_ERROR_FORMAT);
            td_release(part);
        }
    }
    static const struct {
        const char *type, *order, *shape, *part;
    } wrong[] = {
        {"<c8", "False", "(2, 3)", "'descr': '<c8'"},
        {"<f4", "True", "(2, 3)", "'fortran_order'"},
        {"<f4", "False", "(6,)", "'shape'"},
        {"<f4", "False", "(2, 3, 1)", "'shape'"},
        {"<f4", "False", "(3, 2)", "frames of 2 values; the model takes 3"},
        {"<f4", "False", "(9223372036854775807, 3)", "'shape'"},
        {"<f4", "False", "(99999999999999999999999, 3)", "'shape'"},
        {"<f4", "False", "(1000000000000000000, 3)", "the file has 24 bytes"},
        {"<f4", "False", "(0, 3)", "the file has 24 bytes"},
        {"<f4", "False", "(-2, 3)", "'shape'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make_npy(&bytes, 1, wrong[i].type, wrong[i].order, wrong[i].shape);
        assert_int_not_equal(td_feature_file_parse(TD_NPY, "x.npy", (uint8_t *)bytes.data, bytes.length, 3, &features, &error), TD_OK);
        if (strncmp(error.message, "x.npy: ", 7) != 0 || !strstr(error.message, wrong[i].part))
            fail_msg("%s: %s", wrong[i].part, error.message);
    }
    td_buffer_free(&bytes);
}

static td_status configure(const char *text, td_frontend *front, td_error *error)
{
    json_t *config = json_loads(text, 0, NULL);
    assert_non_null(config);
    td_status status = td_frontend_configure(config, "preprocessor_config.json", TD_AUDIO, front, error);
    json_decref(config);
    return status;
}

#define TANDEM "{\"feature_extractor_type\": \"TandemFeatureExtractor\", "

static void test_settings(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {TANDEM "\"kind\": \"plp\"}", "\"kind\": \"plp\""},
        {TANDEM "\"kind\": \"fbank\", \"num_mel_bins\": 0}", "\"num_mel_bins\": 0"},
        {TANDEM "\"kind\": \"fbank\", \"num_mel_bins\": \"many\"}", "\"num_mel_bins\""},
        {TANDEM "\"kind\": \"fbank\", \"frame_shift\": 0}", "\"frame_shift\": 0"},
        {TANDEM "\"kind\": \"mfcc\", \"num_ceps\": 24}", "\"num_ceps\": 24"},
        {TANDEM "\"kind\": \"fbank\", \"low_freq\": 9000}", "\"low_freq\" 9000"},
        {TANDEM "\"kind\": \"features\"}", "\"width\""},
        {TANDEM "\"kind\": \"fbank\", \"normalize\": \"global\"}", "\"mean\" must be a list of 80 numbers"},
        {TANDEM "\"kind\": \"features\", \"width\": 2, \"normalize\": \"global\", \"mean\": [1, 2], \"std\": [1, 0]}", "\"std\": entry 1"},
        {TANDEM "\"kind\": \"features\", \"width\": 1, \"normalize\": \"batch\"}", "\"normalize\": \"batch\""},
        {"{\"feature_extractor_type\": \"WhisperFeatureExtractor\", \"n_fft\": 401}", "\"n_fft\": 401"},
        {"{\"feature_extractor_type\": \"WhisperFeatureExtractor\", \"dither\": 0.5}", "\"dither\": 0.5"},
        {"{\"feature_extractor_type\": \"WhisperFeatureExtractor\", \"chunk_length\": 1e9}", "\"chunk_length\""},
        {"{\"feature_extractor_type\": \"Speech2TextFeatureExtractor\", \"sampling_rate\": 8000}", "\"sampling_rate\": 8000"},
        {"{\"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\", \"feature_size\": 2}", "\"feature_size\": 2"},
        {"{\"feature_extractor_type\": \"EncodecFeatureExtractor\"}", "\"EncodecFeatureExtractor\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        td_frontend front;
        td_error error = {0};
        assert_int_not_equal(configure(wrong[i][0], &front, &error), TD_OK);
        if (strncmp(error.message, "preprocessor_config.json: ", 26) != 0 || !strstr(error.message, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], error.message);
    }
}

/* The samples themselves, one a row; brought to mean 0 and variance 1 unless the configuration says otherwise. */
static void test_waveform(void **state)
{
    (void)state;
    static const float samples[] = {0.5f, -0.25f, 0.125f, 0.75f, -0.5f, 0.25f};
    td_raw_sound raw = {samples, 6, 1, 16000};
    td_frontend front;
    td_features features;
    td_error error = {0};
    assert_int_equal(configure("{\"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\", \"do_normalize\": false}", &front, &error),
                     TD_OK);
    assert_int_equal(front.kind->take_sound(front.state, &raw, &features, &error), TD_OK);
    assert_int_equal(features.rows, 6);
    assert_int_equal(features.width, 1);
    assert_memory_equal(features.data, samples, sizeof samples);
    td_features_free(&features);
    td_frontend_close(&front);
    assert_int_equal(configure("{\"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\"}", &front, &error), TD_OK);
    assert_int_equal(front.kind->take_sound(front.state, &raw, &features, &error), TD_OK);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < 6; i++) {
        sum += (double)features.data[i];
        squares += (double)(features.data[i] * features.data[i]);
    }
    assert_true(fabs(sum) < 1e-5 && fabs(squares / 6 - 1) < 1e-5);
    assert_true(fabs((double)features.data[0] - 0.8365151) < 1e-5); /* (0.5 - 0.1458333) / sqrt(variance + 1e-7) */
    td_features_free(&features);
    td_frontend_close(&front);
}

/* Ready-made frames pass the same deltas and normalisation; sound given to such a model is refused with the reason. */
static void test_feature_front_end(void **state)
{
    (void)state;
    td_frontend front;
    td_features features;
    td_error error = {0};
    td_buffer bytes = TD_BUFFER_INIT;
    assert_int_equal(configure(TANDEM "\"kind\": \"features\", \"width\": 3, \"deltas\": true, \"normalize\": \"global\","
                                      "\"mean\": [1,1,1,0,0,0,0,0,0], \"std\": [2,2,2,1,1,1,1,1,1]}",
                               &front, &error),
                     TD_OK);
    assert_int_equal(front.kind->width(front.state), 9);
    make_npy(&bytes, 1, "<f4", "False", "(2, 3)");
    assert_int_equal(front.kind->read(front.state, "x.npy", bytes.data, bytes.length, &features, &error), TD_OK);
    assert_int_equal(features.width, 9);
    assert_true(features.data[0] == (-2.25f - 1.0f) / 2.0f);
    assert_true(fabsf(features.data[3] - 0.9f) < 1e-6f); /* (1 * 3 + 2 * 3) / 10 */
    td_features_free(&features);
    td_buffer_clear(&bytes);
    load_golden("mono16.wav", &bytes);
    assert_int_equal(front.kind->read(front.state, "a.wav", bytes.data, bytes.length, &features, &error), TD_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "a.wav: the model takes feature files"));
    td_raw_sound raw = {(float[]){0.0f}, 1, 1, 16000};
    assert_int_equal(front.kind->take_sound(front.state, &raw, &features, &error), TD_ERROR_UNSUPPORTED);
    td_frontend_close(&front);
    assert_int_equal(configure(TANDEM "\"kind\": \"fbank\"}", &front, &error), TD_OK);
    assert_int_equal(front.kind->take_sound(front.state, &raw, &features, &error), TD_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "at least 400"));
    td_frontend_close(&front);
    td_buffer_free(&bytes);
}

static void test_normalization(void **state)
{
    (void)state;
    float data[] = {1.0f, 5.0f, 3.0f, 5.0f};
    td_features features = {data, 2, 2};
    td_normalize_utterance(&features, true, true);
    assert_true(data[0] == -1.0f && data[2] == 1.0f);
    assert_true(data[1] == 0.0f && data[3] == 0.0f); /* does not vary */
}

static td_features ones(size_t rows, size_t width)
{
    td_features features = {td_allocate_array(rows, width * sizeof(float)), rows, width};
    assert_non_null(features.data);
    for (size_t i = 0; i < rows * width; i++)
        features.data[i] = 1.0f;
    return features;
}

static void test_masks(void **state)
{
    (void)state;
    const td_mask_policy time = {.time_masks = 1, .time_width = 20},
                         both = {.time_masks = 2, .time_width = 40, .time_fraction = 0.2, .frequency_masks = 2, .frequency_width = 27};
    double share = 0.0, edge = 0.0;
    enum { TRIALS = 4000 };
    for (size_t trial = 0; trial < TRIALS; trial++) {
        td_random random = {td_random_key(1, trial, 0), 0};
        td_features features = ones(100, 4);
        assert_int_equal(td_mask_features(&time, &random, &features, NULL), TD_OK);
        assert_int_equal(random.counter, 2);
        size_t masked = 0;
        for (size_t row = 0; row < 100; row++) {
            masked += features.data[row * 4] == 0.0f;
            assert_true(features.data[row * 4] == features.data[row * 4 + 3]);
        }
        assert_in_range(masked, 0, 20);
        share += (double)masked / TRIALS;
        edge += features.data[99 * 4] == 0.0f ? 1.0 / TRIALS : 0.0;
        td_features_free(&features);
    }
    assert_true(fabs(share - 10.0) < 0.5); /* mean of 0 ... 20; its standard error is 0.1 */
    assert_true(edge > 0.002 && edge < 0.03);
    for (size_t trial = 0; trial < 100; trial++) { /* the same key gives the same masks; no row count breaks it */
        td_features first = ones(1 + trial, 80), second = ones(1 + trial, 80);
        td_random one = {td_random_key(3, trial, 0), 0}, two = one;
        assert_int_equal(td_mask_features(&both, &one, &first, NULL), TD_OK);
        assert_int_equal(td_mask_features(&both, &two, &second, NULL), TD_OK);
        assert_memory_equal(first.data, second.data, first.rows * 80 * sizeof(float));
        assert_int_equal(one.counter, 8);
        td_features_free(&first);
        td_features_free(&second);
    }
}

static void test_mask_with_mean(void **state)
{
    (void)state;
    td_features features = ones(10, 2);
    for (size_t row = 0; row < 10; row++)
        features.data[2 * row + 1] = (float)row;
    const td_mask_policy policy = {.time_masks = 8, .time_width = 10, .fill_mean = true};
    td_random random = {td_random_key(2, 0, 0), 0};
    assert_int_equal(td_mask_features(&policy, &random, &features, NULL), TD_OK);
    size_t changed = 0;
    for (size_t row = 0; row < 10; row++) {
        assert_true(features.data[2 * row] == 1.0f);
        assert_true(features.data[2 * row + 1] == (float)row || features.data[2 * row + 1] == 4.5f);
        changed += features.data[2 * row + 1] == 4.5f;
    }
    assert_in_range(changed, 1, 10);
    td_features_free(&features);
}

static void test_speed(void **state)
{
    (void)state;
    static const double factors[] = {0.9, 1.0, 1.1};
    float samples[8000], *made;
    size_t count;
    for (size_t i = 0; i < 8000; i++)
        samples[i] = (float)bell((double)i / 16000.0);
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(td_speed_samples(samples, 8000, factors[k], &made, &count, NULL), TD_OK);
        assert_true(fabs((double)count - 8000 / factors[k]) <= 1.0);
        for (size_t i = 0; i < count; i++)
            assert_true(fabs((double)made[i] - bell((double)i * factors[k] / 16000.0)) < 2e-5);
        td_release(made);
        td_features features = ones(90, 2);
        for (size_t i = 0; i < 90; i++)
            features.data[2 * i] = (float)i;
        assert_int_equal(td_speed_features(&features, factors[k], NULL), TD_OK);
        assert_int_equal(features.rows, lround(90 / factors[k]));
        for (size_t i = 0; i < features.rows; i++) {
            assert_true(fabs((double)features.data[2 * i] - fmin((double)i * factors[k], 89.0)) < 1e-4);
            assert_true(features.data[2 * i + 1] == 1.0f);
        }
        td_features_free(&features);
    }
    assert_int_equal(td_speed_samples(samples, 8000, 0.0, &made, &count, NULL), TD_ERROR_ARGUMENT);
}

/* An allocator whose allocations fail from the one numbered `left` on. */
typedef struct failing {
    long left;
    long live;
} failing;

static void *fail_allocate(void *context, size_t bytes)
{
    failing *count = context;
    if (count->left-- <= 0)
        return NULL;
    count->live++;
    return malloc(bytes);
}

static void *fail_resize(void *context, void *block, size_t bytes)
{
    failing *count = context;
    if (count->left-- <= 0)
        return NULL;
    count->live += !block;
    return realloc(block, bytes);
}

static void fail_release(void *context, void *block)
{
    ((failing *)context)->live -= block != NULL;
    free(block);
}

static void test_memory_failures(void **state)
{
    (void)state;
    static const char *const configs[] = {
        TANDEM "\"kind\": \"mfcc\", \"deltas\": true, \"normalize\": \"utterance\"}",
        TANDEM "\"kind\": \"fbank\", \"num_mel_bins\": 2, \"normalize\": \"global\", \"mean\": [1, 2], \"std\": [1, 2]}",
        "{\"feature_extractor_type\": \"WhisperFeatureExtractor\", \"chunk_length\": 1}",
    };
    td_buffer bytes = TD_BUFFER_INIT;
    load_golden("narrow8.wav", &bytes);
    for (size_t k = 0; k < 3; k++) {
        bool done = false;
        for (long limit = 0; !done; limit++) {
            failing count = {limit, 0};
            td_allocator allocator = {fail_allocate, fail_resize, fail_release, &count};
            json_t *config = json_loads(configs[k], 0, NULL);
            td_frontend front;
            td_features features;
            td_error error = {0};
            td_set_allocator(&allocator);
            td_status status = td_frontend_configure(config, "c.json", TD_AUDIO, &front, &error);
            if (status == TD_OK) {
                status = front.kind->read(front.state, "a.wav", bytes.data, bytes.length, &features, &error);
                if (status == TD_OK)
                    td_features_free(&features);
                td_frontend_close(&front);
            }
            td_set_allocator(NULL);
            json_decref(config);
            done = status == TD_OK;
            assert_true(done || status == TD_ERROR_MEMORY);
            assert_int_equal(count.live, 0);
            assert_in_range(limit, 0, 1000);
        }
    }
    td_buffer_free(&bytes);
}

/* libsndfile 1.2 leaves what libvorbis holds when it gives up on a damaged ogg header; a leak checker should only speak of us. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:vorbis_info_init\nleak:libvorbis\n";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resampling_is_exact),
        cmocka_unit_test(test_stream_equals_whole),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_endless_wav),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_fft),
        cmocka_unit_test(test_mfc),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_waveform),
        cmocka_unit_test(test_feature_front_end),
        cmocka_unit_test(test_normalization),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_mask_with_mean),
        cmocka_unit_test(test_speed),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
