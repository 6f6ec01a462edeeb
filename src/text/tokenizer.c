#include "text/tokenizer_kind.h"

#include "io/json.h"
#include "platform/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first that recognizes a directory reads it. Marian, Speech2Text and M2M-100 are defined by their classical files; for the others
 * tokenizer.json counts where there is one, as in transformers. */
static const td_tokenizer_kind *const kinds[] = {
    &td_tokenizer_marian,     &td_tokenizer_speech_to_text, &td_tokenizer_m2m100, &td_tokenizer_json_whisper, &td_tokenizer_json_gpt2,
    &td_tokenizer_json_mbart, &td_tokenizer_json_nllb,      &td_tokenizer_json,   &td_tokenizer_t5,           &td_tokenizer_pegasus,
    &td_tokenizer_mbart,      &td_tokenizer_mbart50,        &td_tokenizer_nllb,   &td_tokenizer_bart,         &td_tokenizer_whisper,
    &td_tokenizer_gpt2,       &td_tokenizer_byt5,           &td_tokenizer_bert,   &td_tokenizer_words,
};
#define SPACE_MARK "\xe2\x96\x81" /* U+2581 stands for a space in pieces */
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

bool td_directory_holds(const char *directory, const char *files)
{
    for (const char *at = files; *at;) {
        size_t length = strcspn(at, " ");
        char *name = td_copy_bytes(at, length);
        char *path = name ? td_path_join(directory, name) : NULL;
        bool found = path && td_file_exists(path);
        td_release(name);
        td_release(path);
        if (!found)
            return false;
        at += length;
        at += strspn(at, " ");
    }
    return true;
}

td_status td_tokenizer_open_model(const char *directory, const char *name, td_sentencepiece **ret_model, td_error *error)
{
    char *path = td_path_join(directory, name);
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_status status = td_sentencepiece_open(path, ret_model, error);
    td_release(path);
    return status;
}

static td_status hide(td_tokenizer *tokenizer, int32_t id, td_error *error)
{
    if ((size_t)id >= tokenizer->hidden_count) {
        size_t count = (size_t)id + 1 > tokenizer->vocabulary.size ? (size_t)id + 1 : tokenizer->vocabulary.size;
        if (!td_grow_array(&tokenizer->hidden, count, sizeof *tokenizer->hidden))
            return td_fail_memory(error, count);
        memset(tokenizer->hidden + tokenizer->hidden_count, 0, count - tokenizer->hidden_count);
        tokenizer->hidden_count = count;
    }
    tokenizer->hidden[id] = true;
    return TD_OK;
}

static const td_special *find_declared(const td_tokenizer *tokenizer, const char *text)
{
    for (size_t i = 0; i < tokenizer->special_count; i++)
        if (strcmp(tokenizer->specials[i].text, text) == 0)
            return &tokenizer->specials[i];
    return NULL;
}

td_status td_tokenizer_add_special(td_tokenizer *tokenizer, const char *text, int32_t id, bool strip_left, bool strip_right, bool hidden,
                                   td_error *error)
{
    if (hidden)
        TD_TRY(hide(tokenizer, id, error));
    if (!*text || find_declared(tokenizer, text))
        return TD_OK;
    if (!td_grow_array(&tokenizer->specials, tokenizer->special_count + 1, sizeof *tokenizer->specials))
        return td_fail_memory(error, sizeof *tokenizer->specials);
    char *copy = td_copy_string(text);
    if (!copy)
        return td_fail_memory(error, strlen(text));
    tokenizer->specials[tokenizer->special_count++] = (td_special){copy, strlen(text), id, strip_left, strip_right};
    return TD_OK;
}

/* The token's text in one file: a string, or an object with "content". Copies it to *ret_text, NULL when the file has none. */
static td_status read_named(const char *directory, const char *file, const char *name, char **ret_text, td_error *error)
{
    *ret_text = NULL;
    char *path = td_path_join(directory, file);
    if (!path)
        return td_fail_memory(error, strlen(directory));
    json_t *root = NULL;
    td_status status = td_file_exists(path) ? td_json_load_file(path, &root, error) : TD_OK;
    const json_t *value = json_object_get(root, name);
    const char *text = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    if (status == TD_OK && text && !(*ret_text = td_copy_string(text)))
        status = td_fail_memory(error, strlen(text));
    json_decref(root);
    td_release(path);
    return status;
}

td_status td_tokenizer_setting(const char *directory, const char *key, char **ret_text, td_error *error)
{
    return read_named(directory, "tokenizer_config.json", key, ret_text, error);
}

static bool list_has(const char *list, const char *name, size_t length)
{
    for (const char *at = list; *at; at += strspn(at, " ")) {
        size_t item = strcspn(at, " ");
        if (item == length && strncmp(at, name, length) == 0)
            return true;
        at += item;
    }
    return false;
}

static bool is_model(const char *directory, const char *types)
{
    char *name = NULL;
    bool is = read_named(directory, "config.json", "model_type", &name, NULL) == TD_OK && name && list_has(types, name, strlen(name));
    td_release(name);
    return is;
}

bool td_directory_is(const char *directory, const char *classes, const char *types)
{
    static const char any[] = "PreTrainedTokenizer TokenizersBackend"; /* classes that say nothing */
    char *name = NULL;
    if (read_named(directory, "tokenizer_config.json", "tokenizer_class", &name, NULL) != TD_OK || !name)
        return is_model(directory, types);
    size_t length = strlen(name);
    length -= length >= 4 && strcmp(name + length - 4, "Fast") == 0 ? 4 : 0;
    bool is = list_has(any, name, length) ? is_model(directory, types) : list_has(classes, name, length);
    td_release(name);
    return is;
}

td_status td_tokenizer_special_text(const char *directory, const char *name, char **ret_text, td_error *error)
{
    TD_TRY(read_named(directory, "special_tokens_map.json", name, ret_text, error));
    return *ret_text ? TD_OK : read_named(directory, "tokenizer_config.json", name, ret_text, error);
}

td_status td_tokenizer_named_special(td_tokenizer *tokenizer, const char *directory, const char *name, const char *fallback, bool strip,
                                     int32_t *ret_id, td_error *error)
{
    char *text = NULL;
    TD_TRY(td_tokenizer_special_text(directory, name, &text, error));
    const char *token = text ? text : fallback;
    int32_t id = token ? td_vocabulary_find(&tokenizer->vocabulary, token, strlen(token)) : -1;
    td_status status = TD_OK;
    if (id >= 0)
        status = td_tokenizer_add_special(tokenizer, token, id, strip, strip, true, error);
    else if (token && fallback)
        status = td_fail(error, TD_ERROR_FORMAT, "%s: the vocabulary has no token \"%s\" (%s)", directory, token, name);
    td_release(text);
    if (status == TD_OK)
        *ret_id = id;
    return status;
}

static int compare_specials(const void *a, const void *b)
{
    const td_special *first = a, *second = b;
    if (first->text[0] != second->text[0])
        return (unsigned char)first->text[0] < (unsigned char)second->text[0] ? -1 : 1;
    return (first->length < second->length) - (first->length > second->length);
}

static void index_specials(td_tokenizer *tokenizer)
{
    if (tokenizer->special_count)
        qsort(tokenizer->specials, tokenizer->special_count, sizeof *tokenizer->specials, compare_specials);
    size_t at = 0;
    for (size_t byte = 0; byte <= 256; byte++) {
        while (at < tokenizer->special_count && (unsigned char)tokenizer->specials[at].text[0] < byte)
            at++;
        tokenizer->special_begin[byte] = at;
    }
}

td_status td_tokenizer_open(const char *model_directory, td_tokenizer **ret_tokenizer, td_error *error)
{
    const td_tokenizer_kind *kind = NULL;
    for (size_t i = 0; !kind && i < KIND_COUNT; i++)
        if (kinds[i]->recognize(model_directory))
            kind = kinds[i];
    if (!kind) {
        td_buffer wanted = TD_BUFFER_INIT;
        for (size_t i = 0; i < KIND_COUNT; i++)
            td_buffer_format(&wanted, "%s%s: %s", i ? "; " : "", kinds[i]->name, kinds[i]->files);
        /* Without memory no file is found, either. */
        td_status status = td_buffer_ok(&wanted) ? td_fail(error, TD_ERROR_FORMAT, "%s: no tokenizer files found (%s)", model_directory,
                                                           td_buffer_text(&wanted))
                                                 : td_fail_memory(error, wanted.length);
        td_buffer_free(&wanted);
        return status;
    }
    td_tokenizer *tokenizer = td_allocate_array(1, sizeof *tokenizer);
    if (!tokenizer)
        return td_fail_memory(error, sizeof *tokenizer);
    tokenizer->kind = kind;
    tokenizer->unknown = tokenizer->bos = tokenizer->eos = tokenizer->pad = -1;
    td_status status = kind->open(tokenizer, model_directory, error);
    if (status != TD_OK) {
        td_tokenizer_free(tokenizer);
        return status;
    }
    /* BLIP's start token takes the place of [CLS] in front of a caption. */
    if (is_model(model_directory, "blip"))
        td_ids_clear(&tokenizer->prefix[TD_TARGET]);
    index_specials(tokenizer);
    *ret_tokenizer = tokenizer;
    return TD_OK;
}

void td_tokenizer_free(td_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    if (tokenizer->kind->free_state)
        tokenizer->kind->free_state(tokenizer->state);
    if (tokenizer->models[TD_TARGET] != tokenizer->models[TD_SOURCE])
        td_sentencepiece_free(tokenizer->models[TD_TARGET]);
    td_sentencepiece_free(tokenizer->models[TD_SOURCE]);
    for (size_t i = 0; i < tokenizer->special_count; i++)
        td_release(tokenizer->specials[i].text);
    for (int side = 0; side < 2; side++) {
        td_ids_free(&tokenizer->prefix[side]);
        td_ids_free(&tokenizer->suffix[side]);
    }
    td_release(tokenizer->specials);
    td_release(tokenizer->hidden);
    td_vocabulary_free(&tokenizer->vocabulary);
    td_release(tokenizer);
}

const char *td_tokenizer_kind_name(const td_tokenizer *tokenizer)
{
    return tokenizer->kind->name;
}

/* The longest special token at the beginning of the text, or NULL. */
static const td_special *match_special(const td_tokenizer *tokenizer, const char *text, size_t length)
{
    unsigned char byte = (unsigned char)text[0];
    for (size_t i = tokenizer->special_begin[byte]; i < tokenizer->special_begin[byte + 1]; i++) {
        const td_special *special = &tokenizer->specials[i];
        if (special->length <= length && memcmp(text, special->text, special->length) == 0)
            return special;
    }
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void append_space_mark(const td_tokenizer *tokenizer, td_ids *ids)
{
    int32_t id = td_vocabulary_find(&tokenizer->vocabulary, SPACE_MARK, sizeof SPACE_MARK - 1);
    td_ids_append(ids, id >= 0 ? id : tokenizer->unknown);
}

static void append_ids(td_ids *ids, const td_ids *more)
{
    for (size_t i = 0; i < more->length; i++)
        td_ids_append(ids, more->data[i]);
}

/* Cuts the text at its special tokens. */
static td_status encode_stretches(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length,
                                  const td_sampling *sampling, td_ids *ids, td_error *error)
{
    size_t begin = 0; /* of the stretch without special tokens */
    for (size_t at = 0; at <= length;) {
        const td_special *special = at < length ? match_special(tokenizer, text + at, length - at) : NULL;
        if (at < length && !special) {
            at++;
            continue;
        }
        size_t end = at;
        while (special && special->strip_left && end > begin && is_space(text[end - 1]))
            end--;
        if (end > begin)
            TD_TRY(tokenizer->kind->encode(tokenizer, side, text + begin, end - begin, begin == 0, sampling, ids, error));
        if (special && tokenizer->kind->keeps_space && end > begin && is_space(text[end - 1]))
            append_space_mark(tokenizer, ids);
        if (!special)
            break;
        td_ids_append(ids, special->id);
        at += special->length;
        while (special->strip_right && at < length && is_space(text[at]))
            at++;
        begin = at;
    }
    return TD_OK;
}

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, const td_sampling *sampling,
                        td_ids *ids, td_error *error)
{
    size_t before = ids->length;
    append_ids(ids, &tokenizer->prefix[side]);
    td_status status = encode_stretches(tokenizer, side, text, length, sampling, ids, error);
    append_ids(ids, &tokenizer->suffix[side]);
    if (status == TD_OK && !td_ids_ok(ids))
        status = td_fail_memory(error, ids->length * sizeof *ids->data);
    if (status != TD_OK)
        ids->length = before;
    return status;
}

td_status td_tokenizer_encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, td_ids *ids,
                              td_error *error)
{
    return encode(tokenizer, side, text, length, &(td_sampling){0}, ids, error);
}

td_status td_tokenizer_encode_sampled(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, double dropout,
                                      td_random *random, td_ids *ids, td_error *error)
{
    return encode(tokenizer, side, text, length, &(td_sampling){dropout, random, NULL}, ids, error);
}

td_status td_tokenizer_encode_local(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, double dropout,
                                    td_random *random, td_local_pieces *local, td_ids *ids, td_error *error)
{
    return encode(tokenizer, side, text, length, &(td_sampling){dropout, random, local}, ids, error);
}

/* Bytes up to the next word: SentencePiece joins unknown words that stand side by side, and each is to be copied by itself. */
static size_t first_word(const char *piece, size_t length)
{
    for (size_t i = 1; i + sizeof SPACE_MARK - 1 <= length; i++)
        if (memcmp(piece + i, SPACE_MARK, sizeof SPACE_MARK - 1) == 0)
            return i;
    return length;
}

/* For a piece that the vocabulary lacks. */
static td_status append_unknown(const td_tokenizer *tokenizer, td_local_pieces *local, const char *piece, size_t length, td_ids *ids,
                                td_error *error)
{
    if (!local) {
        td_ids_append(ids, tokenizer->unknown);
        return TD_OK;
    }
    for (size_t at = 0, word; at < length; at += word) {
        int32_t id = -1;
        word = first_word(piece + at, length - at);
        TD_TRY(td_local_pieces_id(local, piece + at, word, &id, error));
        td_ids_append(ids, id >= 0 ? id : tokenizer->unknown);
    }
    return TD_OK;
}

typedef struct encoding {
    const td_tokenizer *tokenizer;
    const td_sentencepiece *model;
    bool any_piece;
    td_ids *ids;
    td_local_pieces *local;
} encoding;

static td_status number_piece(void *context, const char *piece, size_t length, int32_t model_id, td_error *error)
{
    encoding *state = context;
    bool plain =
        state->any_piece || (!td_sentencepiece_is_unknown(state->model, model_id) && !td_sentencepiece_is_control(state->model, model_id));
    int32_t id = plain ? td_vocabulary_find(&state->tokenizer->vocabulary, piece, length) : -1;
    if (id < 0)
        return append_unknown(state->tokenizer, state->local, piece, length, state->ids, error);
    td_ids_append(state->ids, id);
    return TD_OK;
}

td_status td_tokenizer_encode_pieces(const td_tokenizer *tokenizer, td_text_side side, bool any_piece, const char *text, size_t length,
                                     const td_sampling *sampling, td_ids *ids, td_error *error)
{
    const td_sentencepiece *model = tokenizer->models[side];
    encoding state = {tokenizer, model, any_piece, ids, sampling->local};
    return td_sentencepiece_sample(model, text, length, sampling->dropout, sampling->random, number_piece, &state, error);
}

const char *td_tokenizer_piece_here(const td_tokenizer *tokenizer, int32_t id)
{
    const char *piece = td_vocabulary_piece(&tokenizer->vocabulary, id);
    return piece ? piece : td_local_pieces_find(tokenizer->local, id);
}

td_status td_tokenizer_decode_local(const td_tokenizer *tokenizer, const td_local_pieces *local, const int32_t *ids, size_t count,
                                    bool skip_special, td_buffer *text, td_error *error)
{
    td_tokenizer here = *tokenizer; /* borrows everything */
    here.local = local;
    return td_tokenizer_decode(&here, ids, count, skip_special, text, error);
}

td_status td_tokenizer_decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special, td_buffer *text,
                              td_error *error)
{
    int32_t *kept = td_allocate_array(count + 1, sizeof *kept);
    if (!kept)
        return td_fail_memory(error, count * sizeof *kept);
    size_t kept_count = 0;
    td_status status = TD_OK;
    for (size_t i = 0; status == TD_OK && i < count; i++) {
        if (!td_tokenizer_piece_here(tokenizer, ids[i]))
            status =
                td_fail(error, TD_ERROR_ARGUMENT, "id %d is no token of this model (0 to %zu)", ids[i], tokenizer->vocabulary.size - 1);
        else if (!skip_special || !td_tokenizer_is_special(tokenizer, ids[i]))
            kept[kept_count++] = ids[i];
    }
    if (status == TD_OK)
        status = tokenizer->kind->decode(tokenizer, kept, kept_count, text, error);
    td_release(kept);
    if (status == TD_OK && !td_buffer_ok(text))
        status = td_fail_memory(error, text->length);
    return status;
}

/* Pieces that the model does not know come out with their U+2581 for a space: makes spaces of them, none at the beginning. */
static void replace_space_marks(td_buffer *text, size_t start)
{
    if (!text->data || text->failed)
        return;
    size_t to = start;
    for (size_t from = start; from < text->length;) {
        if (text->length - from >= 3 && memcmp(text->data + from, SPACE_MARK, 3) == 0) {
            if (from > start)
                text->data[to++] = ' ';
            from += 3;
        } else {
            text->data[to++] = text->data[from++];
        }
    }
    text->length = to;
    text->data[to] = 0;
}

td_status td_tokenizer_join_pieces(const td_tokenizer *tokenizer, const td_sentencepiece *model, const int32_t *ids, size_t count,
                                   const char *separator, td_buffer *text, td_error *error)
{
    const char **pieces = td_allocate_array(count + 1, sizeof *pieces);
    if (!pieces)
        return td_fail_memory(error, count * sizeof *pieces);
    td_status status = TD_OK;
    size_t run = 0;
    for (size_t i = 0; status == TD_OK && i <= count; i++) {
        if (i < count && !td_tokenizer_is_special(tokenizer, ids[i])) {
            pieces[run++] = td_tokenizer_piece_here(tokenizer, ids[i]);
            continue;
        }
        size_t start = text->length;
        if (run)
            status = td_sentencepiece_decode(model, pieces, run, text, error);
        replace_space_marks(text, start);
        run = 0;
        if (i < count) {
            td_buffer_text_append(text, td_vocabulary_piece(&tokenizer->vocabulary, ids[i]));
            td_buffer_text_append(text, separator);
        }
    }
    td_release(pieces);
    return status;
}

void td_buffer_strip(td_buffer *text, size_t start)
{
    if (!text->data || text->failed)
        return;
    size_t begin = start, end = text->length;
    while (end > begin && is_space(text->data[end - 1]))
        end--;
    while (begin < end && is_space(text->data[begin]))
        begin++;
    memmove(text->data + start, text->data + begin, end - begin);
    text->length = start + end - begin;
    text->data[text->length] = 0;
}

size_t td_tokenizer_size(const td_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.size;
}

const char *td_tokenizer_piece(const td_tokenizer *tokenizer, int32_t id)
{
    return td_vocabulary_piece(&tokenizer->vocabulary, id);
}

int32_t td_tokenizer_id(const td_tokenizer *tokenizer, const char *piece)
{
    return td_vocabulary_find(&tokenizer->vocabulary, piece, strlen(piece));
}

bool td_tokenizer_is_special(const td_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->hidden_count && tokenizer->hidden[id];
}

int32_t td_tokenizer_unknown_id(const td_tokenizer *tokenizer)
{
    return tokenizer->unknown;
}

int32_t td_tokenizer_eos_id(const td_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int32_t td_tokenizer_pad_id(const td_tokenizer *tokenizer)
{
    return tokenizer->pad;
}

int32_t td_tokenizer_language_id(const td_tokenizer *tokenizer, const char *language)
{
    static const struct {
        const char *before, *after;
    } forms[] = {{">>", "<<"}, {"<|", "|>"}, {"__", "__"}, {"<lang:", ">"}, {"", ""}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char token[64]; /* without allocation: a failure would be taken for an unknown language */
        int length = snprintf(token, sizeof token, "%s%s%s", forms[i].before, language, forms[i].after);
        int32_t id = length > 0 && (size_t)length < sizeof token ? td_tokenizer_id(tokenizer, token) : -1;
        /* A bare word must be declared special: "de" may well be a piece of text. */
        if (id >= 0 && (*forms[i].before || td_tokenizer_is_special(tokenizer, id) || strncmp(language, ">>", 2) == 0))
            return id;
    }
    return -1;
}

td_language_use td_tokenizer_language_use(const td_tokenizer *tokenizer)
{
    return tokenizer->kind->language_use;
}

bool td_tokenizer_is_language(const td_tokenizer *tokenizer, int32_t id)
{
    if (id >= tokenizer->language_begin && id < tokenizer->language_end)
        return true;
    const char *piece = td_tokenizer_piece(tokenizer, id);
    size_t length = piece ? strlen(piece) : 0;
    return length > 4 && strncmp(piece, ">>", 2) == 0 && strcmp(piece + length - 2, "<<") == 0;
}

td_status td_tokenizer_set_languages(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error)
{
    if (!source && !target)
        return TD_OK;
    if (!tokenizer->kind->set_languages)
        return td_fail(error, TD_ERROR_ARGUMENT, "a %s tokenizer has no languages to choose from", tokenizer->kind->name);
    return tokenizer->kind->set_languages(tokenizer, source, target, error);
}
