/* Byte-level BPE (GPT-2; Radford et al. 2019) for BART, Whisper and GPT-2: a pattern cuts the text into words, a word's bytes are written
 * as printable characters, and the merges of merges.txt join them, best rank first. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/merge_heap.h"
#include "text/tokenizer_kind.h"
#include "text/unicode.h"

#include "base/utf8.h"
#include "io/json.h"
#include "platform/file.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

typedef struct bpe_state {
    td_vocabulary ranks; /* "left right" -> line number */
    pcre2_code *pattern;
} bpe_state;

/* GPT-2's: contractions, words, numbers and signs, each with the space before; runs of space leave their last one to what follows. */
const char td_byte_level_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* The character that stands for a byte: itself where it is printable in Latin-1, else the next one from U+0100 on. */
uint32_t td_byte_character(unsigned byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173))
        return byte;
    if (byte < 33)
        return 256 + byte;
    return byte == 173 ? 323 : 256 + 33 + (byte - 127);
}

/* The byte that a character stands for, or -1. */
int td_character_byte(uint32_t code)
{
    for (unsigned byte = 0; code < 324 && byte < 256; byte++)
        if (td_byte_character(byte) == code)
            return (int)byte;
    return -1;
}

static void free_state(void *pointer)
{
    bpe_state *state = pointer;
    if (!state)
        return;
    pcre2_code_free(state->pattern);
    td_vocabulary_free(&state->ranks);
    td_release(state);
}

static td_status read_merges(bpe_state *state, const char *path, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_file_read(path, TD_JSON_LIMIT, &text, error);
    int32_t rank = 0;
    size_t line = 1;
    for (const char *at = td_buffer_text(&text); status == TD_OK && *at; line++) {
        size_t length = strcspn(at, "\n");
        size_t used = length && at[length - 1] == '\r' ? length - 1 : length;
        bool comment = line == 1 && strncmp(at, "#version", 8) == 0;
        const char *space = used ? memchr(at, ' ', used) : NULL;
        if (used && !comment && !space)
            status = td_fail(error, TD_ERROR_FORMAT, "%s:%zu: a merge must be two pieces with a space between", path, line);
        else if (used && !comment)
            status = td_vocabulary_set(&state->ranks, at, used, rank++, error);
        at += length + (at[length] == '\n');
    }
    td_buffer_free(&text);
    return status;
}

/* Opens vocab.json, merges.txt and, where there is one, added_tokens.json. */
static td_status open_files(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    bpe_state *state = tokenizer->state = td_allocate_array(1, sizeof *state);
    char *vocabulary = td_path_join(directory, "vocab.json"), *merges = td_path_join(directory, "merges.txt");
    char *added = td_path_join(directory, "added_tokens.json");
    td_status status = state && vocabulary && merges && added ? TD_OK : td_fail_memory(error, sizeof *state);
    if (status == TD_OK)
        status = td_vocabulary_load(&tokenizer->vocabulary, vocabulary, error);
    if (status == TD_OK && td_file_exists(added))
        status = td_vocabulary_load(&tokenizer->vocabulary, added, error);
    if (status == TD_OK)
        status = read_merges(state, merges, error);
    td_release(vocabulary);
    td_release(merges);
    td_release(added);
    TD_TRY(status);
    int code;
    PCRE2_SIZE offset;
    state->pattern = pcre2_compile((PCRE2_SPTR)td_byte_level_pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    return state->pattern ? TD_OK : td_fail(error, TD_ERROR_UNSUPPORTED, "byte-level BPE: PCRE2 refuses the word pattern (error %d)", code);
}

/* One step of a word: a stretch of its characters. */
typedef struct part {
    size_t begin, end; /* bytes; begin == end: merged away */
    size_t previous, next;
} part;

typedef struct word {
    const td_tokenizer *tokenizer;
    td_buffer text; /* in stand-in characters */
    part *parts;
    td_merge_heap heap; /* marked with the bytes of both */
    td_buffer key;
    bool failed;
} word;

#define NONE SIZE_MAX

static void offer(word *w, size_t left, size_t right)
{
    if (left == NONE || right == NONE)
        return;
    const part *a = &w->parts[left], *b = &w->parts[right];
    td_buffer_clear(&w->key);
    td_buffer_append(&w->key, w->text.data + a->begin, a->end - a->begin);
    td_buffer_append(&w->key, " ", 1);
    td_buffer_append(&w->key, w->text.data + b->begin, b->end - b->begin);
    const bpe_state *state = w->tokenizer->state;
    int32_t rank = td_buffer_ok(&w->key) ? td_vocabulary_find(&state->ranks, w->key.data, w->key.length) : -1;
    w->failed |= !td_buffer_ok(&w->key);
    if (rank >= 0)
        td_merge_heap_push(&w->heap, (td_merge){rank, (uint32_t)(b->end - a->begin), left});
}

static void merge_parts(word *w, const td_sampling *sampling)
{
    while (w->heap.count && !w->heap.failed && !w->failed) {
        td_merge best = td_merge_heap_pop(&w->heap);
        part *left = &w->parts[best.left];
        if (left->begin == left->end || left->next == NONE)
            continue;
        part *right = &w->parts[left->next];
        if ((uint32_t)(right->end - left->begin) != best.mark)
            continue;
        if (sampling->dropout > 0 && td_random_uniform(sampling->random) < sampling->dropout)
            continue;
        left->end = right->end;
        right->begin = right->end;
        left->next = right->next;
        if (right->next != NONE)
            w->parts[right->next].previous = best.left;
        offer(w, left->previous, best.left);
        offer(w, best.left, left->next);
    }
}

static td_status encode_word(word *w, const char *bytes, size_t length, const td_sampling *sampling, td_ids *ids, td_error *error)
{
    td_buffer_clear(&w->text);
    if (!td_grow_array(&w->parts, length, sizeof *w->parts))
        return td_fail_memory(error, length * sizeof *w->parts);
    part *parts = w->parts;
    w->heap.count = 0;
    for (size_t i = 0; i < length; i++) {
        char character[4];
        size_t begin = w->text.length;
        td_buffer_append(&w->text, character, td_utf8_encode(td_byte_character((unsigned char)bytes[i]), character));
        parts[i] = (part){begin, w->text.length, i ? i - 1 : NONE, i + 1 < length ? i + 1 : NONE};
    }
    if (!td_buffer_ok(&w->text))
        return td_fail_memory(error, length);
    for (size_t i = 1; i < length; i++)
        offer(w, i - 1, i);
    merge_parts(w, sampling);
    if (w->failed || w->heap.failed)
        return td_fail_memory(error, length);
    for (size_t i = 0; i != NONE; i = parts[i].next) {
        int32_t id = td_vocabulary_find(&w->tokenizer->vocabulary, w->text.data + parts[i].begin, parts[i].end - parts[i].begin);
        if (id < 0 && w->tokenizer->unknown < 0)
            return td_fail(error, TD_ERROR_FORMAT, "vocab.json lacks \"%.*s\", which merges.txt makes",
                           (int)(parts[i].end - parts[i].begin), w->text.data + parts[i].begin);
        td_ids_append(ids, id >= 0 ? id : w->tokenizer->unknown);
    }
    return TD_OK;
}

static td_status encode_words(word *w, pcre2_match_data *match, const char *text, size_t length, const td_sampling *sampling, td_ids *ids,
                              td_error *error)
{
    const bpe_state *state = w->tokenizer->state;
    char *copy = NULL;
    const char *seen = td_unicode_for_patterns(text, length, &copy);
    td_status status = seen ? TD_OK : td_fail_memory(error, length);
    for (size_t at = 0; status == TD_OK && at < length;) {
        int found = pcre2_match(state->pattern, (PCRE2_SPTR)seen, length, at, PCRE2_NO_UTF_CHECK, match, NULL);
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
        status = found < 1 ? td_fail(error, TD_ERROR_LIMIT, "text cannot be cut into words at byte %zu (PCRE2 error %d)", at, found)
                           : encode_word(w, text + span[0], span[1] - span[0], sampling, ids, error);
        at = found < 1 ? length : span[1];
    }
    td_release(copy);
    return status;
}

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                        const td_sampling *sampling, td_ids *ids, td_error *error)
{
    (void)side;
    (void)first;
    size_t valid = td_utf8_valid_prefix(text, length);
    if (valid < length)
        return td_fail(error, TD_ERROR_FORMAT, "text is not UTF-8 (byte %zu)", valid + 1);
    const bpe_state *state = tokenizer->state;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(state->pattern, NULL);
    if (!match)
        return td_fail_memory(error, 0);
    word w = {.tokenizer = tokenizer};
    td_status status = encode_words(&w, match, text, length, sampling, ids, error);
    pcre2_match_data_free(match);
    td_buffer_free(&w.text);
    td_buffer_free(&w.key);
    td_release(w.parts);
    td_release(w.heap.items);
    return status;
}

/* Appends bytes as UTF-8, each maximal part of a broken character as one U+FFFD (Unicode 15, 3.9). */
void td_append_repaired(td_buffer *text, const td_buffer *bytes)
{
    for (size_t at = 0; at < bytes->length;) {
        size_t valid = td_utf8_valid_prefix(bytes->data + at, bytes->length - at);
        td_buffer_append(text, bytes->data + at, valid);
        at += valid;
        if (at >= bytes->length)
            break;
        td_buffer_append(text, "\xef\xbf\xbd", 3);
        const unsigned char *from = (const unsigned char *)bytes->data + at;
        size_t left = bytes->length - at, whole = from[0] >= 0xf0 && from[0] < 0xf5 ? 4 : from[0] >= 0xe0 && from[0] < 0xf0 ? 3 : 1;
        size_t broken = 1;
        bool second_fits = whole > 1 && left > 1 && (from[1] & 0xc0) == 0x80 && !(from[0] == 0xe0 && from[1] < 0xa0) &&
                           !(from[0] == 0xed && from[1] > 0x9f) && !(from[0] == 0xf0 && from[1] < 0x90) &&
                           !(from[0] == 0xf4 && from[1] > 0x8f);
        if (second_fits)
            for (broken = 2; broken < whole && broken < left && (from[broken] & 0xc0) == 0x80;)
                broken++;
        at += broken;
    }
}

static void append_piece_bytes(td_buffer *bytes, const char *piece)
{
    for (size_t length = strlen(piece), at = 0; at < length;) {
        uint32_t code = 0;
        size_t used = td_utf8_decode(piece + at, length - at, &code);
        int byte = used ? td_character_byte(code) : -1;
        if (byte >= 0)
            td_buffer_append(bytes, &(char){(char)byte}, 1);
        else
            td_buffer_append(bytes, piece + at, used ? used : 1);
        at += used ? used : 1;
    }
}

static td_status decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    td_buffer bytes = TD_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        const char *piece = td_vocabulary_piece(&tokenizer->vocabulary, ids[i]);
        if (td_tokenizer_is_special(tokenizer, ids[i]))
            td_buffer_text_append(&bytes, piece);
        else
            append_piece_bytes(&bytes, piece);
    }
    td_append_repaired(text, &bytes);
    td_status status = td_buffer_ok(&bytes) ? TD_OK : td_fail_memory(error, bytes.length);
    td_buffer_free(&bytes);
    return status;
}

static td_status put(td_ids *list, int32_t id, td_error *error)
{
    if (id >= 0)
        td_ids_append(list, id);
    return td_ids_ok(list) ? TD_OK : td_fail_memory(error, sizeof id);
}

static bool recognize_bart(const char *directory)
{
    return td_directory_holds(directory, "vocab.json merges.txt") && td_directory_is(directory, "BartTokenizer RobertaTokenizer", "bart");
}

static td_status open_bart(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(open_files(tokenizer, directory, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "bos_token", "<s>", false, &tokenizer->bos, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "eos_token", "</s>", false, &tokenizer->eos, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "unk_token", "<unk>", false, &tokenizer->unknown, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "pad_token", "<pad>", false, &tokenizer->pad, error));
    int32_t mask = td_tokenizer_id(tokenizer, "<mask>");
    if (mask >= 0)
        TD_TRY(td_tokenizer_add_special(tokenizer, "<mask>", mask, true, false, true, error));
    for (int side = 0; side < 2; side++) {
        TD_TRY(put(&tokenizer->prefix[side], tokenizer->bos, error));
        TD_TRY(put(&tokenizer->suffix[side], tokenizer->eos, error));
    }
    return TD_OK;
}

const td_tokenizer_kind td_tokenizer_bart = {
    .name = "bart",
    .files = "vocab.json, merges.txt",
    .recognize = recognize_bart,
    .open = open_bart,
    .encode = encode,
    .decode = decode,
    .free_state = free_state,
};

static bool recognize_gpt2(const char *directory)
{
    return td_directory_holds(directory, "vocab.json merges.txt") &&
           td_directory_is(directory, "GPT2Tokenizer", "gpt2 vision-encoder-decoder");
}

static td_status open_gpt2(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(open_files(tokenizer, directory, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "eos_token", "<|endoftext|>", false, &tokenizer->eos, error));
    tokenizer->bos = tokenizer->eos;
    tokenizer->pad = tokenizer->eos;
    return put(&tokenizer->suffix[TD_TARGET], tokenizer->eos, error);
}

const td_tokenizer_kind td_tokenizer_gpt2 = {
    .name = "gpt2",
    .files = "vocab.json, merges.txt",
    .recognize = recognize_gpt2,
    .open = open_gpt2,
    .encode = encode,
    .decode = decode,
    .free_state = free_state,
};

static bool recognize_whisper(const char *directory)
{
    return td_directory_holds(directory, "vocab.json merges.txt") && td_directory_is(directory, "WhisperTokenizer", "whisper");
}

/* tokenizer_config.json's "added_tokens_decoder": { "377": {"content": "<|endoftext|>", "special": true, ...}, ... }. */
static td_status add_tokens_of(td_tokenizer *tokenizer, const char *path, td_error *error)
{
    json_t *root = NULL, *entry;
    const char *key;
    td_status status = td_file_exists(path) ? td_json_load_file(path, &root, error) : TD_OK;
    json_object_foreach(json_object_get(root, "added_tokens_decoder"), key, entry)
    {
        const char *content = json_string_value(json_object_get(entry, "content"));
        char *end = NULL;
        long id = strtol(key, &end, 10);
        if (!content || *end || id < 0 || (size_t)id >= TD_VOCABULARY_LIMIT)
            status = td_fail(error, TD_ERROR_FORMAT, "%s: \"added_tokens_decoder\": \"%s\" must be an id with a \"content\"", path, key);
        if (status == TD_OK)
            status = td_vocabulary_set(&tokenizer->vocabulary, content, strlen(content), (int32_t)id, error);
        if (status == TD_OK)
            status = td_tokenizer_add_special(tokenizer, content, (int32_t)id, false, false,
                                              json_is_true(json_object_get(entry, "special")), error);
        if (status != TD_OK)
            break;
    }
    json_decref(root);
    return status;
}

/* Every <|...|> of the vocabulary is special; timestamps (<|0.00|>) are hidden with the others. */
static td_status declare_marked(td_tokenizer *tokenizer, td_error *error)
{
    for (int32_t id = 0; (size_t)id < td_tokenizer_size(tokenizer); id++) {
        const char *piece = td_tokenizer_piece(tokenizer, id);
        size_t length = piece ? strlen(piece) : 0;
        if (length > 4 && strncmp(piece, "<|", 2) == 0 && strcmp(piece + length - 2, "|>") == 0)
            TD_TRY(td_tokenizer_add_special(tokenizer, piece, id, false, false, true, error));
    }
    return TD_OK;
}

/* Whisper's prompt, start token included, as its tokenizer puts it before labels; speech models set language and task there. */
static td_status open_whisper(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(open_files(tokenizer, directory, error));
    char *path = td_path_join(directory, "tokenizer_config.json");
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_status status = add_tokens_of(tokenizer, path, error);
    td_release(path);
    TD_TRY(status);
    TD_TRY(declare_marked(tokenizer, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "eos_token", "<|endoftext|>", false, &tokenizer->eos, error));
    tokenizer->bos = tokenizer->pad = tokenizer->eos;
    for (int side = 0; side < 2; side++) {
        TD_TRY(put(&tokenizer->prefix[side], td_tokenizer_id(tokenizer, "<|startoftranscript|>"), error));
        TD_TRY(put(&tokenizer->prefix[side], td_tokenizer_id(tokenizer, "<|notimestamps|>"), error));
        TD_TRY(put(&tokenizer->suffix[side], tokenizer->eos, error));
    }
    return TD_OK;
}

const td_tokenizer_kind td_tokenizer_whisper = {
    .name = "whisper",
    .files = "vocab.json, merges.txt",
    .recognize = recognize_whisper,
    .open = open_whisper,
    .encode = encode,
    .decode = decode,
    .free_state = free_state,
};
