/* Files that mean harm: valid ones, damaged at random, are read or refused with a message; never a crash, a leak or a
 * giant allocation.
 *
 * test_fuzz [ROUNDS [SEED]]: by default so many rounds of a fixed seed that it takes seconds. Built with
 * -DTANDEM_LIBFUZZER -fsanitize=fuzzer, libFuzzer does the damaging: the reader is chosen by TANDEM_FUZZ_READER. */
#include "base/buffer.h"
#include "base/random.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "audio/sound.h"
#include "models/architecture.h"
#include "platform/file.h"
#include "text/tokenizer.h"
#include "training/recipe.h"
#include "vision/picture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_BLOCK = 1 << 28, TEXT_LIMIT = 4096 };

/* ---- memory ---- */

/* libsndfile forgets what libvorbis took for a file that it refuses. The name is the leak sanitizer's. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:vorbis_info_init\n";
}

static atomic_long outstanding;

static void *limited_allocate(void *context, size_t bytes)
{
    (void)context;
    void *block = bytes <= LARGEST_BLOCK ? malloc(bytes) : NULL;
    atomic_fetch_add(&outstanding, block != NULL);
    return block;
}

static void *limited_resize(void *context, void *block, size_t bytes)
{
    (void)context;
    void *larger = bytes <= LARGEST_BLOCK ? realloc(block, bytes) : NULL;
    atomic_fetch_add(&outstanding, larger != NULL && block == NULL);
    return larger;
}

static void limited_release(void *context, void *block)
{
    (void)context;
    atomic_fetch_sub(&outstanding, block != NULL);
    free(block);
}

static const td_allocator limited = {limited_allocate, limited_resize, limited_release, NULL};

/* ---- the readers; each in the working directory, where it may write ---- */

static td_status write_damaged(const char *name, const td_buffer *file, td_error *error)
{
    FILE *stream = fopen(name, "wb"); /* td_file_write would sync */
    if (!stream)
        return td_fail(error, TD_ERROR_IO, "%s: cannot write", name);
    fwrite(td_buffer_text(file), 1, file->length, stream);
    fclose(stream);
    return TD_OK;
}

static td_status read_safetensors(const char *name, const td_buffer *file, td_error *error)
{
    td_safetensors *tensors;
    (void)name;
    TD_TRY(write_damaged("model.safetensors", file, error));
    TD_TRY(td_safetensors_open("model.safetensors", &tensors, error));
    td_safetensors_close(tensors);
    return TD_OK;
}

static td_status read_config(const char *name, const td_buffer *file, td_error *error)
{
    json_t *config;
    td_network network = {0};
    TD_TRY(td_json_parse(td_buffer_text(file), file->length, name, &config, error));
    td_status status = td_network_configure(config, name, &network, error);
    if (status == TD_OK)
        td_network_free(&network);
    json_decref(config);
    return status;
}

static td_status read_recipe(const char *name, const td_buffer *file, td_error *error)
{
    td_recipe *recipe;
    (void)name;
    TD_TRY(write_damaged("recipe.yaml", file, error));
    TD_TRY(td_recipe_load("recipe.yaml", &recipe, error));
    td_status status = td_recipe_check(recipe, error);
    td_recipe_free(recipe);
    return status;
}

static td_status read_sound(const char *name, const td_buffer *file, td_error *error)
{
    td_sound_stream *stream;
    float *samples;
    size_t count;
    TD_TRY(td_sound_stream_open(name, td_buffer_text(file), file->length, 16000, &stream, error));
    td_status status = td_sound_stream_rest(stream, 1 << 22, &samples, &count, error);
    if (status == TD_OK)
        td_release(samples);
    td_sound_stream_close(stream);
    return status;
}

static td_status read_picture(const char *name, const td_buffer *file, td_error *error)
{
    td_picture picture;
    TD_TRY(td_picture_decode(td_buffer_text(file), file->length, name, &picture, error));
    td_picture_free(&picture);
    return TD_OK;
}

/* The damaged file stands among the sound ones of its tokenizer. */
static td_status read_tokenizer(const char *name, const td_buffer *file, td_error *error)
{
    static const char text[] = "Two cats sleep.";
    td_tokenizer *tokenizer;
    td_ids ids = {0};
    TD_TRY(write_damaged(strrchr(name, '/') + 1, file, error));
    TD_TRY(td_tokenizer_open(".", &tokenizer, error));
    td_status status = td_tokenizer_encode(tokenizer, TD_SOURCE, text, sizeof text - 1, &ids, error);
    td_ids_free(&ids);
    td_tokenizer_free(tokenizer);
    return status;
}

typedef struct fuzz_reader {
    const char *name;
    td_status (*read)(const char *name, const td_buffer *file, td_error *error);
    const char *folder, *files[8], *company[3]; /* company: copied beside the damaged file */
    int share;                                  /* of the rounds, in percent */
} fuzz_reader;

static const fuzz_reader readers[] = {
    {"safetensors", read_safetensors, "golden/tiny-translator", {"model.safetensors"}, {0}, 100},
    {"config", read_config, "golden/tiny-translator", {"config.json"}, {0}, 100},
    {"recipe", read_recipe, "fuzz", {"recipe.yaml"}, {0}, 100},
    {"sound", read_sound, "golden/audio", {"mono16.wav", "narrow8.wav", "stereo24.wav", "wide.flac", "mono.ogg"}, {0}, 30},
    {"picture",
     read_picture,
     "golden/pictures",
     {"baseline.jpg", "progressive.jpg", "palette.png", "rgb-16.png", "lossy.webp", "lossless.webp"},
     {0},
     100},
    {"marian", read_tokenizer, "golden/marian-tokenizer", {"source.spm", "vocab.json"}, {"source.spm", "target.spm", "vocab.json"}, 30},
    {"bart",
     read_tokenizer,
     "golden/bart-tokenizer",
     {"vocab.json", "merges.txt"},
     {"vocab.json", "merges.txt", "tokenizer_config.json"},
     10},
};
enum { READERS = sizeof readers / sizeof *readers };

/* ---- damage ---- */

/* Half of the places lie in the first bytes, where formats keep their sizes. */
static size_t choose_place(td_random *random, size_t length)
{
    size_t reach = td_random_below(random, 2) && length > 256 ? 256 : length;
    return td_random_below(random, reach);
}

static void overwrite(td_random *random, td_buffer *file, size_t at)
{
    static const uint64_t numbers[] = {
        0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, UINT64_MAX};
    static const size_t sizes[] = {1, 2, 4, 8};
    uint64_t number = numbers[td_random_below(random, 12)];
    size_t size = sizes[td_random_below(random, 4)];
    for (size_t i = 0; i < size && at + i < file->length; i++)
        file->data[at + i] = (char)(number >> (8 * i));
}

static void damage_once(td_random *random, td_buffer *file)
{
    size_t at = choose_place(random, file->length), left = file->length - at, span = 1 + td_random_below(random, left < 64 ? left : 64);
    switch (td_random_below(random, 6)) {
    case 0:
        file->data[at] = (char)(file->data[at] ^ 1 << td_random_below(random, 8));
        break;
    case 1:
        overwrite(random, file, at);
        break;
    case 2: /* cut out */
        memmove(file->data + at, file->data + at + span, left - span);
        file->length -= span;
        break;
    case 3: /* repeated elsewhere */
        memmove(file->data + at, file->data + td_random_below(random, file->length - span + 1), span);
        break;
    case 4: /* a character of texts */
        file->data[at] = "0123456789-+.eE[]{}\",:\n# "[td_random_below(random, 25)];
        break;
    default: /* cut off */
        if (td_random_below(random, 4) == 0)
            file->length = at;
    }
    if (file->length)
        file->data[file->length] = 0;
}

/* ---- rounds ---- */

static bool try_file(const fuzz_reader *reader, const char *name, const td_buffer *file)
{
    td_error error = {0};
    long before = atomic_load(&outstanding);
    td_status status = reader->read(name, file, &error);
    if (status != TD_OK && !*error.message) {
        fprintf(stderr, "%s: refused without a message (%s)\n", name, td_status_text(status));
        return false;
    }
    if (atomic_load(&outstanding) != before) {
        fprintf(stderr, "%s: %ld blocks leak (%s)\n", name, atomic_load(&outstanding) - before, error.message);
        return false;
    }
    return true;
}

static bool enter_company(const fuzz_reader *reader)
{
    char path[1024];
    for (size_t i = 0; i < 3 && reader->company[i]; i++) {
        td_buffer bytes = TD_BUFFER_INIT;
        snprintf(path, sizeof path, "%s/%s/%s", TD_TEST_DATA, reader->folder, reader->company[i]);
        td_status status = td_file_read(path, 0, &bytes, NULL);
        if (status == TD_OK)
            status = write_damaged(reader->company[i], &bytes, NULL);
        td_buffer_free(&bytes);
        if (status != TD_OK)
            return false;
    }
    return true;
}

static char directory[] = "/dev/shm/tandem-fuzz-XXXXXX", elsewhere[] = "/tmp/tandem-fuzz-XXXXXX";

static const char *enter_directory(void)
{
    const char *made = access("/dev/shm", W_OK) == 0 ? mkdtemp(directory) : mkdtemp(elsewhere);
    return made && chdir(made) == 0 ? made : NULL;
}

#ifdef TANDEM_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_reader *reader;
    const char *wanted = getenv("TANDEM_FUZZ_READER");
    for (size_t i = 0; !reader && i < READERS; i++)
        if (wanted && strcmp(wanted, readers[i].name) == 0 && enter_directory() && enter_company(&readers[i])) {
            td_set_allocator(&limited);
            reader = &readers[i];
        }
    if (!reader)
        abort();
    char name[TEXT_LIMIT];
    td_buffer file = TD_BUFFER_INIT;
    snprintf(name, sizeof name, "%s/%s", reader->folder, reader->files[0]);
    td_buffer_append(&file, data, size);
    if (!try_file(reader, name, &file))
        abort();
    td_buffer_free(&file);
    return 0;
}
#else
static bool damage_file(const fuzz_reader *reader, const char *file_name, size_t rounds, uint64_t seed)
{
    char name[TEXT_LIMIT];
    td_buffer whole = TD_BUFFER_INIT, damaged = TD_BUFFER_INIT;
    snprintf(name, sizeof name, "%s/%s/%s", TD_TEST_DATA, reader->folder, file_name);
    td_error error = {0};
    td_status status = td_file_read(name, 0, &whole, &error);
    if (status == TD_OK)
        status = reader->read(name, &whole, &error);
    if (status != TD_OK)
        fprintf(stderr, "%s, undamaged: %s\n", name, error.message);
    bool good = status == TD_OK;
    for (size_t round = 0; good && round < rounds; round++) {
        td_random random = {td_random_key(seed, round, 0), 0};
        td_buffer_clear(&damaged);
        td_buffer_append(&damaged, whole.data, whole.length);
        for (size_t times = 1 + td_random_below(&random, 4); times-- && damaged.length;)
            damage_once(&random, &damaged);
        good = try_file(reader, name, &damaged);
        if (!good)
            fprintf(stderr, "%s: round %zu of seed %llu\n", name, round, (unsigned long long)seed);
    }
    td_buffer_free(&whole);
    td_buffer_free(&damaged);
    return good;
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const char *place = enter_directory();
    bool good = place != NULL;
    td_set_allocator(&limited);
    for (size_t i = 0; i < READERS; i++)
        for (size_t k = 0; readers[i].files[k]; k++)
            good = enter_company(&readers[i]) &&
                   damage_file(&readers[i], readers[i].files[k], (rounds * (size_t)readers[i].share + 99) / 100, seed) && good;
    if (place && chdir("/") == 0)
        td_directory_remove(place, NULL);
    return good ? 0 : 1;
}
#endif
