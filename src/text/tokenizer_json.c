/* tokenizer.json, the one file of the tokenizers library: added tokens cut out of the text, then a normalizer, a
 * pre-tokenizer, a subword model, special tokens around; and a decoder for the way back. */
#include "text/tokenizer_json.h"

#include "base/utf8.h"
#include "io/json.h"
#include "platform/file.h"
#include "text/steps.h"
#include "text/subword.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

typedef struct added_token {
    char *text;
    size_t length;
    int32_t id;
    bool single_word, strip_left, strip_right;
} added_token;

/* Tokens by first byte, longest first. */
typedef struct added_set {
    added_token *tokens;
    size_t count;
    size_t begin[257];
} added_set;

typedef struct json_state {
    td_step normalizer, pre_tokenizer, decoder;
    td_subword model;
    added_set sets[2]; /* found in the text as it stands; found in normalized text */
    bool has_decoder, cleans;
} json_state;

void td_tokenizer_json_free(void *pointer)
{
    json_state *state = pointer;
    if (!state)
        return;
    td_step_free(&state->normalizer);
    td_step_free(&state->pre_tokenizer);
    td_step_free(&state->decoder);
    td_subword_free(&state->model);
    for (int set = 0; set < 2; set++) {
        for (size_t i = 0; i < state->sets[set].count; i++)
            td_release(state->sets[set].tokens[i].text);
        td_release(state->sets[set].tokens);
    }
    td_release(state);
}

/* ---- reading ---- */

/* A token that is found in normalized text is looked for, and written, as the normalizer leaves it. */
static td_status spell_added(const json_state *state, bool normalized, const char *content, td_strings *ret_text, td_error *error)
{
    td_strings_add(ret_text, content, strlen(content), true);
    if (!td_strings_ok(ret_text))
        return td_fail_memory(error, strlen(content));
    return normalized ? td_step_apply(&state->normalizer, ret_text, error) : TD_OK;
}

static td_status put_added(td_tokenizer *tokenizer, bool normalized, added_token token, const char *content, td_error *error)
{
    json_state *state = tokenizer->state;
    added_set *set = &state->sets[normalized];
    td_strings text = {0};
    td_status status = spell_added(state, normalized, content, &text, error);
    if (status == TD_OK && text.items[0].length)
        status = td_vocabulary_set(&tokenizer->vocabulary, td_strings_at(&text, 0), text.items[0].length, token.id, error);
    if (status == TD_OK && text.items[0].length) {
        added_token *tokens = td_resize_array(set->tokens, set->count + 1, sizeof *tokens);
        set->tokens = tokens ? tokens : set->tokens;
        token.length = text.items[0].length;
        token.text = td_copy_bytes(td_strings_at(&text, 0), token.length);
        if (tokens && token.text)
            set->tokens[set->count++] = token;
        else
            status = td_fail_memory(error, token.length);
    }
    td_strings_free(&text);
    return status;
}

static td_status read_added(td_tokenizer *tokenizer, const json_t *list, const char *file, td_error *error)
{
    if (list && !json_is_array(list))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"added_tokens\" must be an array", file);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *content;
        int64_t id;
        bool special, normalized;
        added_token token = {0};
        TD_TRY(td_json_get_string(item, file, "content", NULL, &content, error));
        TD_TRY(td_json_get_integer(item, file, "id", -1, &id, error));
        TD_TRY(td_json_get_bool(item, file, "special", false, &special, error));
        TD_TRY(td_json_get_bool(item, file, "normalized", !special, &normalized, error));
        TD_TRY(td_json_get_bool(item, file, "single_word", false, &token.single_word, error));
        TD_TRY(td_json_get_bool(item, file, "lstrip", false, &token.strip_left, error));
        TD_TRY(td_json_get_bool(item, file, "rstrip", false, &token.strip_right, error));
        if (!content || id < 0 || (size_t)id >= TD_VOCABULARY_LIMIT)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"added_tokens\" %zu must have a \"content\" and an \"id\" from 0 to %zu", file, i,
                           TD_VOCABULARY_LIMIT - 1);
        token.id = (int32_t)id;
        TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, content, strlen(content), token.id, error));
        TD_TRY(put_added(tokenizer, normalized, token, content, error));
        if (special)
            TD_TRY(td_tokenizer_add_special(tokenizer, "", token.id, false, false, true, error)); /* hidden; found by us */
    }
    return TD_OK;
}

static int compare_tokens(const void *a, const void *b)
{
    const added_token *first = a, *second = b;
    if (first->text[0] != second->text[0])
        return (unsigned char)first->text[0] < (unsigned char)second->text[0] ? -1 : 1;
    return (first->length < second->length) - (first->length > second->length);
}

static void index_added(added_set *set)
{
    if (set->count)
        qsort(set->tokens, set->count, sizeof *set->tokens, compare_tokens);
    size_t at = 0;
    for (size_t byte = 0; byte <= 256; byte++) {
        while (at < set->count && (unsigned char)set->tokens[at].text[0] < byte)
            at++;
        set->begin[byte] = at;
    }
}

static td_status append_id(td_tokenizer *tokenizer, bool after, json_int_t id, const char *file, td_error *error)
{
    if (id < 0 || id >= (json_int_t)TD_VOCABULARY_LIMIT)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"post_processor\": a special token must have an id from 0 to %zu", file,
                       TD_VOCABULARY_LIMIT - 1);
    for (int side = 0; side < 2; side++) {
        td_ids *list = after ? &tokenizer->suffix[side] : &tokenizer->prefix[side];
        td_ids_append(list, (int32_t)id);
        if (!td_ids_ok(list))
            return td_fail_memory(error, sizeof id);
    }
    return TD_OK;
}

/* "single": special tokens before and after the text "A". */
static td_status read_template(td_tokenizer *tokenizer, const json_t *object, const char *file, td_error *error)
{
    const json_t *single = json_object_get(object, "single"), *specials = json_object_get(object, "special_tokens");
    bool after = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        const char *name = json_string_value(json_object_get(json_object_get(part, "SpecialToken"), "id"));
        const json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL;
        if (json_object_get(part, "Sequence") && !after) {
            after = true;
            continue;
        }
        if (!name || !json_array_size(ids))
            return td_fail(error, TD_ERROR_FORMAT,
                           "%s: \"post_processor\": \"single\" %zu must be one text or a token of \"special_tokens\"", file, i);
        for (size_t k = 0; k < json_array_size(ids); k++)
            TD_TRY(append_id(tokenizer, after, json_is_integer(json_array_get(ids, k)) ? json_integer_value(json_array_get(ids, k)) : -1,
                             file, error));
    }
    return after ? TD_OK
                 : td_fail(error, TD_ERROR_FORMAT, "%s: \"post_processor\": \"single\" must be an array with a place for the text", file);
}

static td_status read_pair(td_tokenizer *tokenizer, const json_t *object, const char *file, td_error *error)
{
    static const char *const keys[] = {"cls", "sep"};
    for (int i = 0; i < 2; i++) {
        const json_t *id = json_array_get(json_object_get(object, keys[i]), 1);
        TD_TRY(append_id(tokenizer, i == 1, json_is_integer(id) ? json_integer_value(id) : -1, file, error));
    }
    return TD_OK;
}

static td_status read_post_processor(td_tokenizer *tokenizer, const json_t *object, const char *file, int depth, td_error *error)
{
    enum { DEEPEST = 8 };
    if (!object || json_is_null(object))
        return TD_OK;
    const char *type = json_string_value(json_object_get(object, "type"));
    const json_t *list = json_object_get(object, "processors");
    if (type && strcmp(type, "TemplateProcessing") == 0)
        return read_template(tokenizer, object, file, error);
    if (type && (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0))
        return read_pair(tokenizer, object, file, error);
    if (type && strcmp(type, "ByteLevel") == 0)
        return TD_OK; /* moves offsets only */
    if (!type || strcmp(type, "Sequence") != 0 || !json_is_array(list) || depth == DEEPEST)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"post_processor\": type \"%s\" is not supported", file, type ? type : "");
    for (size_t i = 0; i < json_array_size(list); i++)
        TD_TRY(read_post_processor(tokenizer, json_array_get(list, i), file, depth + 1, error));
    return TD_OK;
}

static td_status copy_vocabulary(td_tokenizer *tokenizer, td_error *error)
{
    const json_state *state = tokenizer->state;
    for (size_t id = 0; id < state->model.vocabulary.size; id++) {
        const char *piece = td_vocabulary_piece(&state->model.vocabulary, (int32_t)id);
        if (piece)
            TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, piece, strlen(piece), (int32_t)id, error));
    }
    tokenizer->unknown = state->model.unknown;
    return TD_OK;
}

/* A special token that only the files beside name is added all the same, as transformers does. */
static td_status declare(td_tokenizer *tokenizer, const char *text, int32_t *ret_id, td_error *error)
{
    int32_t id = text ? td_tokenizer_id(tokenizer, text) : -1;
    if (id < 0)
        return TD_OK;
    *ret_id = id;
    if (td_tokenizer_is_special(tokenizer, id))
        return TD_OK;
    TD_TRY(td_tokenizer_add_special(tokenizer, "", id, false, false, true, error));
    return put_added(tokenizer, false, (added_token){.id = id}, text, error);
}

/* "additional_special_tokens": the languages of NLLB, for one. */
static td_status declare_listed(td_tokenizer *tokenizer, const char *directory, const char *name, td_error *error)
{
    char *path = td_path_join(directory, name);
    json_t *root = NULL;
    td_status status = path ? TD_OK : td_fail_memory(error, strlen(directory));
    if (status == TD_OK && td_file_exists(path))
        status = td_json_load_file(path, &root, error);
    const json_t *list = json_object_get(root, "additional_special_tokens");
    for (size_t i = 0; status == TD_OK && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        int32_t id;
        status = declare(tokenizer, json_string_value(json_is_object(item) ? json_object_get(item, "content") : item), &id, error);
    }
    json_decref(root);
    td_release(path);
    return status;
}

static td_status name_special(td_tokenizer *tokenizer, const char *directory, const char *name, int32_t *ret_id, td_error *error)
{
    char *text = NULL;
    TD_TRY(td_tokenizer_special_text(directory, name, &text, error));
    td_status status = declare(tokenizer, text, ret_id, error);
    td_release(text);
    return status;
}

static td_status name_specials(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    int32_t other = -1;
    TD_TRY(declare_listed(tokenizer, directory, "special_tokens_map.json", error));
    TD_TRY(declare_listed(tokenizer, directory, "tokenizer_config.json", error));
    TD_TRY(name_special(tokenizer, directory, "unk_token", &tokenizer->unknown, error));
    TD_TRY(name_special(tokenizer, directory, "pad_token", &tokenizer->pad, error));
    TD_TRY(name_special(tokenizer, directory, "cls_token", &tokenizer->bos, error));
    TD_TRY(name_special(tokenizer, directory, "bos_token", &tokenizer->bos, error));
    TD_TRY(name_special(tokenizer, directory, "sep_token", &tokenizer->eos, error));
    TD_TRY(name_special(tokenizer, directory, "eos_token", &tokenizer->eos, error));
    return name_special(tokenizer, directory, "mask_token", &other, error);
}

static td_status read_clean_up(json_state *state, const char *directory, td_error *error)
{
    char *path = td_path_join(directory, "tokenizer_config.json");
    json_t *root = NULL;
    td_status status = path ? TD_OK : td_fail_memory(error, strlen(directory));
    if (status == TD_OK && td_file_exists(path))
        status = td_json_load_file(path, &root, error);
    if (status == TD_OK)
        status = td_json_get_bool(root, path, "clean_up_tokenization_spaces", false, &state->cleans, error);
    state->cleans = state->cleans && state->model.kind != &td_subword_bpe; /* where spaces are text, they stay */
    json_decref(root);
    td_release(path);
    return status;
}

td_status td_tokenizer_json_open_root(td_tokenizer *tokenizer, const char *directory, const json_t *root, const char *file, td_error *error)
{
    json_state *state = tokenizer->state = td_allocate_array(1, sizeof *state);
    if (!state)
        return td_fail_memory(error, sizeof *state);
    TD_TRY(td_step_read(TD_NORMALIZER, json_object_get(root, "normalizer"), file, "normalizer", &state->normalizer, error));
    TD_TRY(td_step_read(TD_PRE_TOKENIZER, json_object_get(root, "pre_tokenizer"), file, "pre_tokenizer", &state->pre_tokenizer, error));
    TD_TRY(td_step_read(TD_DECODER, json_object_get(root, "decoder"), file, "decoder", &state->decoder, error));
    state->has_decoder = json_is_object(json_object_get(root, "decoder"));
    TD_TRY(td_subword_read(json_object_get(root, "model"), file, &state->model, error));
    TD_TRY(copy_vocabulary(tokenizer, error));
    TD_TRY(read_added(tokenizer, json_object_get(root, "added_tokens"), file, error));
    TD_TRY(read_post_processor(tokenizer, json_object_get(root, "post_processor"), file, 0, error));
    TD_TRY(name_specials(tokenizer, directory, error));
    TD_TRY(read_clean_up(state, directory, error));
    /* Files that name no tokens: what goes around every text says which they are. */
    const td_ids *before = &tokenizer->prefix[TD_SOURCE], *after = &tokenizer->suffix[TD_SOURCE];
    if (tokenizer->bos < 0 && before->length)
        tokenizer->bos = before->data[0];
    if (tokenizer->eos < 0 && after->length)
        tokenizer->eos = after->data[after->length - 1];
    index_added(&state->sets[0]);
    index_added(&state->sets[1]);
    return TD_OK;
}

bool td_tokenizer_json_recognize(const char *directory)
{
    return td_directory_holds(directory, "tokenizer.json");
}

td_status td_tokenizer_json_open(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    char *path = td_path_join(directory, "tokenizer.json");
    json_t *root = NULL;
    td_status status = path ? td_json_load_file(path, &root, error) : td_fail_memory(error, strlen(directory));
    if (status == TD_OK)
        status = td_tokenizer_json_open_root(tokenizer, directory, root, path, error);
    json_decref(root);
    td_release(path);
    return status;
}

/* ---- text to ids ---- */

typedef struct encoding {
    const json_state *state;
    const td_sampling *sampling;
    td_ids *ids;
} encoding;

static bool ends_with_word(const char *text, size_t length)
{
    size_t begin = length;
    uint32_t code;
    while (begin > 0 && ((uint8_t)text[--begin] & 0xc0) == 0x80)
        ;
    return length && td_utf8_decode(text + begin, length - begin, &code) && td_unicode_is_word(code);
}

static bool starts_with_word(const char *text, size_t length)
{
    uint32_t code;
    return length && td_utf8_decode(text, length, &code) && td_unicode_is_word(code);
}

static size_t skip_spaces(const char *text, size_t length, size_t at)
{
    uint32_t code;
    for (size_t used; at < length && (used = td_utf8_decode(text + at, length - at, &code)) && td_unicode_is_space(code);)
        at += used;
    return at;
}

/* Where the spaces before `end` begin, not before `lowest`. */
static size_t skip_spaces_back(const char *text, size_t end, size_t lowest)
{
    for (;;) {
        size_t begin = end;
        uint32_t code;
        while (begin > lowest && ((uint8_t)text[--begin] & 0xc0) == 0x80)
            ;
        if (begin == end || !td_utf8_decode(text + begin, end - begin, &code) || !td_unicode_is_space(code))
            return end;
        end = begin;
    }
}

static const added_token *match_added(const added_set *set, const char *text, size_t length)
{
    unsigned char byte = (unsigned char)text[0];
    for (size_t i = set->begin[byte]; i < set->begin[byte + 1]; i++)
        if (set->tokens[i].length <= length && memcmp(text, set->tokens[i].text, set->tokens[i].length) == 0)
            return &set->tokens[i];
    return NULL;
}

typedef td_status take_stretch(encoding *e, const char *text, size_t length, bool first, td_error *error);

/* Cuts the text at the set's tokens; `take` gets what is between them. */
static td_status cut(encoding *e, const added_set *set, const char *text, size_t length, bool first, take_stretch *take, td_error *error)
{
    size_t begin = 0;
    for (size_t at = 0; at < length;) {
        const added_token *token = set->count ? match_added(set, text + at, length - at) : NULL;
        if (!token) {
            at++;
            continue;
        }
        size_t start = at, stop = at + token->length;
        at = stop;
        if (token->single_word && (ends_with_word(text, start) || starts_with_word(text + stop, length - stop)))
            continue;
        if (token->strip_left)
            start = skip_spaces_back(text, start, begin);
        if (token->strip_right)
            stop = at = skip_spaces(text, length, stop);
        if (start > begin)
            TD_TRY(take(e, text + begin, start - begin, first && begin == 0, error));
        td_ids_append(e->ids, token->id);
        begin = stop;
    }
    return begin < length ? take(e, text + begin, length - begin, first && begin == 0, error) : TD_OK;
}

static td_status encode_plain(encoding *e, const char *text, size_t length, bool first, td_error *error)
{
    td_strings words = {0};
    td_strings_add(&words, text, length, first);
    td_status status = td_strings_ok(&words) ? td_step_apply(&e->state->pre_tokenizer, &words, error) : td_fail_memory(error, length);
    for (size_t i = 0; status == TD_OK && i < words.count; i++)
        status = td_subword_encode(&e->state->model, td_strings_at(&words, i), words.items[i].length, e->sampling->dropout,
                                   e->sampling->random, e->ids, error);
    td_strings_free(&words);
    return status;
}

static td_status encode_raw(encoding *e, const char *text, size_t length, bool first, td_error *error)
{
    td_strings normal = {0};
    td_strings_add(&normal, text, length, first);
    td_status status = td_strings_ok(&normal) ? td_step_apply(&e->state->normalizer, &normal, error) : td_fail_memory(error, length);
    if (status == TD_OK)
        status = cut(e, &e->state->sets[1], td_strings_at(&normal, 0), normal.items[0].length, normal.items[0].first, encode_plain, error);
    td_strings_free(&normal);
    return status;
}

td_status td_tokenizer_json_encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                                   const td_sampling *sampling, td_ids *ids, td_error *error)
{
    (void)side;
    encoding e = {tokenizer->state, sampling, ids};
    td_buffer bytes = TD_BUFFER_INIT, repaired = TD_BUFFER_INIT;
    td_buffer_append(&bytes, text, length);
    td_append_repaired(&repaired, &bytes);
    td_status status = td_buffer_ok(&bytes) && td_buffer_ok(&repaired) ? TD_OK : td_fail_memory(error, length);
    if (status == TD_OK)
        status = cut(&e, &e.state->sets[0], td_buffer_text(&repaired), repaired.length, first, encode_raw, error);
    td_buffer_free(&bytes);
    td_buffer_free(&repaired);
    return status;
}

/* ---- ids to text ---- */

td_status td_tokenizer_json_decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    const json_state *state = tokenizer->state;
    td_strings tokens = {0};
    for (size_t i = 0; i < count; i++) {
        const char *piece = td_tokenizer_piece_here(tokenizer, ids[i]);
        td_strings_add(&tokens, piece, strlen(piece), i == 0);
    }
    td_status status = td_strings_ok(&tokens) ? td_step_apply(&state->decoder, &tokens, error) : td_fail_memory(error, count);
    size_t start = text->length;
    for (size_t i = 0; status == TD_OK && i < tokens.count; i++) {
        td_buffer_append(text, " ", !state->has_decoder && i > 0);
        td_buffer_append(text, td_strings_at(&tokens, i), tokens.items[i].length);
    }
    td_strings_free(&tokens);
    if (status == TD_OK && state->cleans)
        td_clean_up(text, start, false);
    return status;
}

const td_tokenizer_kind td_tokenizer_json = {
    .name = "tokenizer.json",
    .files = "tokenizer.json",
    .recognize = td_tokenizer_json_recognize,
    .open = td_tokenizer_json_open,
    .encode = td_tokenizer_json_encode,
    .decode = td_tokenizer_json_decode,
    .free_state = td_tokenizer_json_free,
};
