/* ByT5 (Xue et al. 2022): the bytes of the text are its tokens. There is no vocabulary file: <pad>, </s>, <unk>, 256 bytes, and the
 * tokens that stand for what is left out in training. */
#include "text/tokenizer_kind.h"

#include "base/utf8.h"
#include "io/json.h"
#include "platform/file.h"

#include <string.h>

enum { FIRST_BYTE = 3, BYTES = 256, EXTRA = 125, MOST_EXTRA = 1 << 16 };

static bool recognize(const char *directory)
{
    return td_directory_is(directory, "ByT5Tokenizer", "");
}

static td_status count_extra(const char *directory, int64_t *ret_count, td_error *error)
{
    char *path = td_path_join(directory, "tokenizer_config.json");
    json_t *root = NULL;
    td_status status = path ? td_json_load_file(path, &root, error) : td_fail_memory(error, strlen(directory));
    if (status == TD_OK)
        status = td_json_get_integer(root, path, "extra_ids", EXTRA, ret_count, error);
    if (status == TD_OK && (*ret_count < 0 || *ret_count > MOST_EXTRA))
        status = td_fail(error, TD_ERROR_FORMAT, "%s: \"extra_ids\" must be from 0 to %d", path, MOST_EXTRA);
    json_decref(root);
    td_release(path);
    return status;
}

static td_status open(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    static const char *const first[FIRST_BYTE] = {"<pad>", "</s>", "<unk>"};
    int64_t extra;
    TD_TRY(count_extra(directory, &extra, error));
    for (int32_t id = 0; id < FIRST_BYTE; id++) {
        TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, first[id], strlen(first[id]), id, error));
        TD_TRY(td_tokenizer_add_special(tokenizer, first[id], id, true, true, true, error));
    }
    for (uint32_t byte = 0; byte < BYTES; byte++) {
        char character[4]; /* a byte is shown as the character of that number */
        TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, character, td_utf8_encode(byte, character), (int32_t)byte + FIRST_BYTE, error));
    }
    for (int32_t i = 0; i < (int32_t)extra; i++) {
        char token[32];
        snprintf(token, sizeof token, "<extra_id_%d>", i);
        TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, token, strlen(token), FIRST_BYTE + BYTES + i, error));
        TD_TRY(td_tokenizer_add_special(tokenizer, token, FIRST_BYTE + BYTES + i, false, false, true, error));
    }
    tokenizer->pad = 0;
    tokenizer->eos = 1;
    tokenizer->unknown = 2;
    for (int side = 0; side < 2; side++) {
        td_ids_append(&tokenizer->suffix[side], tokenizer->eos);
        if (!td_ids_ok(&tokenizer->suffix[side]))
            return td_fail_memory(error, sizeof tokenizer->eos);
    }
    return TD_OK;
}

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                        const td_sampling *sampling, td_ids *ids, td_error *error)
{
    (void)tokenizer;
    (void)side;
    (void)first;
    (void)sampling;
    (void)error;
    for (size_t i = 0; i < length; i++)
        td_ids_append(ids, (uint8_t)text[i] + FIRST_BYTE);
    return TD_OK;
}

/* Bytes that are no character are left out. */
static td_status decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    td_buffer bytes = TD_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= FIRST_BYTE && ids[i] < FIRST_BYTE + BYTES)
            td_buffer_append(&bytes, &(char){(char)(ids[i] - FIRST_BYTE)}, 1);
        else
            td_buffer_text_append(&bytes, td_tokenizer_piece_here(tokenizer, ids[i]));
    }
    for (size_t at = 0; at < bytes.length; at++) {
        size_t valid = td_utf8_valid_prefix(bytes.data + at, bytes.length - at);
        td_buffer_append(text, bytes.data + at, valid);
        at += valid;
    }
    td_status status = td_buffer_ok(&bytes) ? TD_OK : td_fail_memory(error, count);
    td_buffer_free(&bytes);
    return status;
}

const td_tokenizer_kind td_tokenizer_byt5 = {
    .name = "byt5",
    .files = "tokenizer_config.json with \"tokenizer_class\": \"ByT5Tokenizer\"",
    .recognize = recognize,
    .open = open,
    .encode = encode,
    .decode = decode,
};
