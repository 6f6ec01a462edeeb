/* WordPiece as BERT has it (Devlin et al. 2019): the longest piece that fits, again and again; a word that cannot be written so is
 * unknown as a whole. */
#include "text/subword.h"

#include "io/json.h"

#include <string.h>

static td_status read(td_subword *model, const json_t *object, const char *file, td_error *error)
{
    int64_t most;
    TD_TRY(td_json_get_integer(object, file, "max_input_chars_per_word", 100, &most, error));
    if (most < 1)
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"max_input_chars_per_word\" must be at least 1", file);
    model->most_characters = (size_t)most;
    TD_TRY(td_subword_read_vocabulary(model, object, file, error));
    return model->unknown >= 0 ? TD_OK : td_fail(error, TD_ERROR_FORMAT, "%s: \"unk_token\" must be a token of \"vocab\"", file);
}

/* The id of the longest piece that the word goes on with, and its bytes; -1 for none. */
static int32_t longest_piece(const td_subword *model, const char *word, size_t length, bool inside, td_buffer *piece, size_t *ret_used)
{
    td_buffer_clear(piece);
    td_buffer_text_append(piece, inside ? model->prefix : "");
    size_t prefix = piece->length, most = length < model->longest ? length : model->longest;
    td_buffer_append(piece, word, most);
    for (size_t used = most; used > 0 && td_buffer_ok(piece); used--) {
        int32_t id = td_vocabulary_find(&model->vocabulary, piece->data, prefix + used);
        if (id >= 0) {
            *ret_used = used;
            return id;
        }
    }
    return -1;
}

static td_status encode(const td_subword *model, const char *word, size_t length, double dropout, td_random *random, td_ids *ids,
                        td_error *error)
{
    (void)dropout;
    (void)random;
    size_t characters = 0, before = ids->length;
    for (size_t i = 0; i < length; i++)
        characters += ((uint8_t)word[i] & 0xc0) != 0x80;
    td_buffer piece = TD_BUFFER_INIT;
    int32_t id = characters <= model->most_characters ? 0 : -1;
    for (size_t at = 0, used = 0; id >= 0 && at < length; at += used) {
        id = longest_piece(model, word + at, length - at, at > 0, &piece, &used);
        if (id >= 0)
            td_ids_append(ids, id);
    }
    if (id < 0) {
        ids->length = before;
        td_ids_append(ids, model->unknown);
    }
    bool good = td_buffer_ok(&piece);
    td_buffer_free(&piece);
    return good ? TD_OK : td_fail_memory(error, length);
}

const td_subword_kind td_subword_wordpiece = {"WordPiece", read, encode};
