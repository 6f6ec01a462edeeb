#include "text/subword.h"

#include "io/json.h"

#include <stdio.h>
#include <string.h>

static const td_subword_kind *const kinds[] = {&td_subword_bpe, &td_subword_unigram, &td_subword_wordpiece};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Files older than the key "type" are told by what they hold. */
static const char *guess_type(const json_t *object)
{
    if (json_object_get(object, "merges"))
        return "BPE";
    return json_is_array(json_object_get(object, "vocab")) ? "Unigram" : "WordPiece";
}

static void list_bytes(td_subword *model)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char token[8];
        snprintf(token, sizeof token, "<0x%02X>", byte);
        model->bytes[byte] = td_vocabulary_find(&model->vocabulary, token, 6);
    }
    for (size_t id = 0; id < model->vocabulary.size; id++) {
        const char *piece = td_vocabulary_piece(&model->vocabulary, (int32_t)id);
        size_t length = piece ? strlen(piece) : 0;
        model->longest = length > model->longest ? length : model->longest;
    }
}

static td_status read_text(const json_t *object, const char *file, const char *key, const char *fallback, char **ret_text, td_error *error)
{
    const char *text;
    TD_TRY(td_json_get_string(object, file, key, fallback, &text, error));
    *ret_text = td_copy_string(text);
    return *ret_text ? TD_OK : td_fail_memory(error, strlen(text));
}

td_status td_subword_read(const json_t *object, const char *file, td_subword *ret_model, td_error *error)
{
    *ret_model = (td_subword){.unknown = -1};
    if (!json_is_object(object))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"model\" must be an object", file);
    const char *type = json_string_value(json_object_get(object, "type"));
    type = type ? type : guess_type(object);
    for (size_t i = 0; i < KINDS && !ret_model->kind; i++)
        if (strcmp(kinds[i]->type, type) == 0)
            ret_model->kind = kinds[i];
    if (!ret_model->kind)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"model\": type \"%s\" is not supported (BPE, Unigram, WordPiece)", file, type);
    bool pieces = ret_model->kind == &td_subword_wordpiece;
    TD_TRY(read_text(object, file, "continuing_subword_prefix", pieces ? "##" : "", &ret_model->prefix, error));
    TD_TRY(read_text(object, file, "end_of_word_suffix", "", &ret_model->suffix, error));
    TD_TRY(td_json_get_bool(object, file, "byte_fallback", false, &ret_model->byte_fallback, error));
    TD_TRY(ret_model->kind->read(ret_model, object, file, error));
    list_bytes(ret_model);
    return TD_OK;
}

td_status td_subword_encode(const td_subword *model, const char *word, size_t length, double dropout, td_random *random, td_ids *ids,
                            td_error *error)
{
    return length ? model->kind->encode(model, word, length, dropout, random, ids, error) : TD_OK;
}

void td_subword_free(td_subword *model)
{
    td_vocabulary_free(&model->vocabulary);
    td_release(model->prefix);
    td_release(model->suffix);
    td_release(model->merges);
    td_release(model->scores);
    *model = (td_subword){0};
}

bool td_subword_append_bytes(const td_subword *model, const char *text, size_t length, td_ids *ids)
{
    for (size_t i = 0; i < length; i++)
        if (model->bytes[(uint8_t)text[i]] < 0)
            return false;
    for (size_t i = 0; i < length; i++)
        td_ids_append(ids, model->bytes[(uint8_t)text[i]]);
    return true;
}

td_status td_subword_read_vocabulary(td_subword *model, const json_t *object, const char *file, td_error *error)
{
    const json_t *vocabulary = json_object_get(object, "vocab");
    const char *piece;
    json_t *value;
    if (!json_object_size(vocabulary))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"vocab\" must be an object of tokens and their ids", file);
    json_object_foreach((json_t *)(uintptr_t)vocabulary, piece, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= (json_int_t)TD_VOCABULARY_LIMIT)
            return td_fail(error, TD_ERROR_FORMAT, "%s: \"vocab\": \"%s\" must have an integer id from 0 to %zu", file, piece,
                           TD_VOCABULARY_LIMIT - 1);
        TD_TRY(td_vocabulary_set(&model->vocabulary, piece, strlen(piece), (int32_t)id, error));
    }
    const char *unknown;
    TD_TRY(td_json_get_string(object, file, "unk_token", NULL, &unknown, error));
    model->unknown = unknown ? td_vocabulary_find(&model->vocabulary, unknown, strlen(unknown)) : -1;
    return TD_OK;
}
