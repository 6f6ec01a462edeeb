/* Vocabularies of CTranslate2: a list of tokens for each side, or one for both. Text is tokens between spaces, as that library takes them,
 * unless SentencePiece models lie beside: source.spm and target.spm, or one sentencepiece.model, whose pieces the lists then number. */
#include "text/tokenizer_kind.h"

#include "io/json.h"
#include "platform/file.h"

#include <string.h>

enum { VOCABULARY_LIMIT = 1 << 28 };

typedef struct word_lists {
    td_vocabulary source; /* the target's is the tokenizer's own */
    int32_t unknown;      /* in the source's */
} word_lists;

static bool holds(const char *directory, const char *side)
{
    char text[64], json[64];
    snprintf(text, sizeof text, "%s_vocabulary.txt", side);
    snprintf(json, sizeof json, "%s_vocabulary.json", side);
    return td_directory_holds(directory, text) || td_directory_holds(directory, json);
}

static bool recognize(const char *directory)
{
    return holds(directory, "shared") || (holds(directory, "source") && holds(directory, "target"));
}

static td_status read_lines(td_vocabulary *vocabulary, const char *path, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_file_read(path, VOCABULARY_LIMIT, &text, error);
    size_t begin = 0;
    for (int32_t id = 0; status == TD_OK && begin < text.length; id++) {
        const char *end = memchr(text.data + begin, '\n', text.length - begin);
        size_t length = end ? (size_t)(end - text.data) - begin : text.length - begin;
        status = td_vocabulary_set(vocabulary, text.data + begin, length, id, error);
        begin += length + 1;
    }
    td_buffer_free(&text);
    return status;
}

static td_status read_array(td_vocabulary *vocabulary, const char *path, td_error *error)
{
    json_t *root = NULL;
    td_status status = td_json_load_file(path, &root, error);
    for (size_t id = 0; status == TD_OK && id < json_array_size(root); id++) {
        const json_t *token = json_array_get(root, id);
        status = json_is_string(token)
                     ? td_vocabulary_set(vocabulary, json_string_value(token), json_string_length(token), (int32_t)id, error)
                     : td_fail(error, TD_ERROR_FORMAT, "%s: token %zu is no string", path, id);
    }
    json_decref(root);
    return status;
}

/* directory/SIDE_vocabulary.json or .txt, or the shared one; the unknown token comes last where the list lacks it. */
static td_status read_side(const char *directory, const char *side, const char *unknown, td_vocabulary *vocabulary, td_error *error)
{
    const char *name = holds(directory, side) ? side : "shared";
    td_buffer path = TD_BUFFER_INIT;
    td_buffer_format(&path, "%s/%s_vocabulary.json", directory, name);
    bool json = td_buffer_ok(&path) && td_file_exists(td_buffer_text(&path));
    if (!json) {
        td_buffer_clear(&path);
        td_buffer_format(&path, "%s/%s_vocabulary.txt", directory, name);
    }
    td_status status =
        td_buffer_ok(&path) ? (json ? read_array : read_lines)(vocabulary, td_buffer_text(&path), error) : td_fail_memory(error, 0);
    if (status == TD_OK && td_vocabulary_find(vocabulary, unknown, strlen(unknown)) < 0)
        status = td_vocabulary_set(vocabulary, unknown, strlen(unknown), (int32_t)vocabulary->size, error);
    td_buffer_free(&path);
    return status;
}

static td_status load_settings(const char *directory, json_t **ret_settings, td_error *error)
{
    char *path = td_path_join(directory, "config.json");
    td_status status = TD_OK;
    if (!path || !td_file_exists(path))
        *ret_settings = path ? json_object() : NULL;
    else
        status = td_json_load_file(path, ret_settings, error);
    td_release(path);
    return status == TD_OK && !*ret_settings ? td_fail_memory(error, 0) : status;
}

static const char *setting(const json_t *settings, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(settings, key));
    return text ? text : fallback;
}

static td_status surround(td_tokenizer *tokenizer, const json_t *settings, const word_lists *lists, const char *bos, const char *eos,
                          td_error *error)
{
    if (json_is_true(json_object_get(settings, "add_source_bos")))
        td_ids_append(&tokenizer->prefix[TD_SOURCE], td_vocabulary_find(&lists->source, bos, strlen(bos)));
    if (json_is_true(json_object_get(settings, "add_source_eos")))
        td_ids_append(&tokenizer->suffix[TD_SOURCE], td_vocabulary_find(&lists->source, eos, strlen(eos)));
    td_ids_append(&tokenizer->suffix[TD_TARGET], tokenizer->eos);
    for (int side = 0; side < 2; side++)
        if (!td_ids_ok(&tokenizer->prefix[side]) || !td_ids_ok(&tokenizer->suffix[side]))
            return td_fail_memory(error, sizeof(int32_t));
    return TD_OK;
}

static td_status open_models(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    if (td_directory_holds(directory, "source.spm target.spm")) {
        TD_TRY(td_tokenizer_open_model(directory, "source.spm", &tokenizer->models[TD_SOURCE], error));
        return td_tokenizer_open_model(directory, "target.spm", &tokenizer->models[TD_TARGET], error);
    }
    if (!td_directory_holds(directory, "sentencepiece.model"))
        return TD_OK;
    TD_TRY(td_tokenizer_open_model(directory, "sentencepiece.model", &tokenizer->models[TD_SOURCE], error));
    tokenizer->models[TD_TARGET] = tokenizer->models[TD_SOURCE];
    return TD_OK;
}

static td_status set_up(td_tokenizer *tokenizer, const char *directory, const json_t *settings, td_error *error)
{
    word_lists *lists = tokenizer->state;
    const char *unknown = setting(settings, "unk_token", "<unk>"), *bos = setting(settings, "bos_token", "<s>"),
               *eos = setting(settings, "eos_token", "</s>");
    TD_TRY(read_side(directory, "source", unknown, &lists->source, error));
    TD_TRY(read_side(directory, "target", unknown, &tokenizer->vocabulary, error));
    lists->unknown = td_vocabulary_find(&lists->source, unknown, strlen(unknown));
    tokenizer->unknown = td_vocabulary_find(&tokenizer->vocabulary, unknown, strlen(unknown));
    tokenizer->bos = td_vocabulary_find(&tokenizer->vocabulary, bos, strlen(bos));
    tokenizer->eos = td_vocabulary_find(&tokenizer->vocabulary, eos, strlen(eos));
    if (tokenizer->eos < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the target vocabulary lacks the end token %s", directory, eos);
    TD_TRY(td_tokenizer_add_special(tokenizer, eos, tokenizer->eos, false, false, true, error));
    if (tokenizer->bos >= 0)
        TD_TRY(td_tokenizer_add_special(tokenizer, bos, tokenizer->bos, false, false, true, error));
    TD_TRY(open_models(tokenizer, directory, error));
    return surround(tokenizer, settings, lists, bos, eos, error);
}

static td_status open(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    json_t *settings = NULL;
    tokenizer->state = td_allocate_array(1, sizeof(word_lists));
    if (!tokenizer->state)
        return td_fail_memory(error, sizeof(word_lists));
    td_status status = load_settings(directory, &settings, error);
    if (status == TD_OK)
        status = set_up(tokenizer, directory, settings, error);
    json_decref(settings);
    return status;
}

/* One side's numbers for tokens. */
typedef struct numbering {
    const td_vocabulary *vocabulary;
    int32_t unknown;
    td_ids *ids;
} numbering;

static td_status number_piece(void *context, const char *piece, size_t length, int32_t model_id, td_error *error)
{
    (void)model_id;
    (void)error;
    const numbering *side = context;
    int32_t id = td_vocabulary_find(side->vocabulary, piece, length);
    td_ids_append(side->ids, id >= 0 ? id : side->unknown);
    return TD_OK;
}

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                        const td_sampling *sampling, td_ids *ids, td_error *error)
{
    (void)first;
    const word_lists *lists = tokenizer->state;
    bool source = side == TD_SOURCE;
    numbering to = {source ? &lists->source : &tokenizer->vocabulary, source ? lists->unknown : tokenizer->unknown, ids};
    if (tokenizer->models[side])
        return td_sentencepiece_sample(tokenizer->models[side], text, length, sampling->dropout, sampling->random, number_piece, &to,
                                       error);
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, ' ', length - at);
        size_t word = end ? (size_t)(end - text) - at : length - at;
        if (word)
            TD_TRY(number_piece(&to, text + at, word, 0, error));
        at += word + 1;
    }
    return TD_OK;
}

static td_status decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    if (tokenizer->models[TD_TARGET])
        return td_tokenizer_join_pieces(tokenizer, tokenizer->models[TD_TARGET], ids, count, " ", text, error);
    for (size_t i = 0; i < count; i++)
        td_buffer_format(text, "%s%s", i ? " " : "", td_tokenizer_piece_here(tokenizer, ids[i]));
    return TD_OK;
}

static void free_state(void *state)
{
    word_lists *lists = state;
    if (lists)
        td_vocabulary_free(&lists->source);
    td_release(lists);
}

const td_tokenizer_kind td_tokenizer_words = {
    .name = "words",
    .files = "shared_vocabulary.json (or .txt), or source_vocabulary and target_vocabulary",
    .recognize = recognize,
    .open = open,
    .encode = encode,
    .decode = decode,
    .free_state = free_state,
};
