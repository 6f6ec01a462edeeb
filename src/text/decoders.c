/* The decoders of a tokenizer.json: from the strings of tokens to strings that, end to end, are the text. */
#include "text/steps.h"

#include "base/utf8.h"
#include "io/json.h"
#include "text/tokenizer_kind.h"

#include <stdlib.h>
#include <string.h>

/* A token whose characters all stand for bytes is those bytes, another one is its own. */
static void append_bytes(td_buffer *bytes, const char *token, size_t length)
{
    size_t before = bytes->length;
    for (size_t at = 0, used; at < length; at += used) {
        uint32_t code = 0;
        used = td_utf8_decode(token + at, length - at, &code);
        int byte = used ? td_character_byte(code) : -1;
        if (byte < 0) {
            if (td_buffer_ok(bytes))
                bytes->length = before;
            td_buffer_append(bytes, token, length);
            return;
        }
        td_buffer_append(bytes, &(char){(char)byte}, 1);
    }
}

static td_status byte_level(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)step;
    td_buffer bytes = TD_BUFFER_INIT, text = TD_BUFFER_INIT;
    for (size_t i = 0; i < in->count; i++)
        append_bytes(&bytes, td_strings_at(in, i), in->items[i].length);
    td_append_repaired(&text, &bytes);
    td_strings_add(out, td_buffer_text(&text), text.length, true);
    bool good = td_buffer_ok(&bytes) && td_buffer_ok(&text);
    td_buffer_free(&bytes);
    td_buffer_free(&text);
    return good ? TD_OK : td_fail_memory(error, in->text.length);
}

static bool starts_with(const char *text, size_t length, const char *start, size_t start_length)
{
    return start_length && length >= start_length && memcmp(text, start, start_length) == 0;
}

static td_status metaspace(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)error;
    for (size_t i = 0; i < in->count; i++) {
        const char *token = td_strings_at(in, i);
        size_t length = in->items[i].length;
        td_strings_begin(out, i == 0);
        for (size_t at = 0; at < length;) {
            bool mark = starts_with(token + at, length - at, step->text, step->length);
            if (!mark || i > 0 || step->counts[0] == 0)
                td_strings_append(out, mark ? " " : token + at, 1);
            at += mark ? step->length : 1;
        }
    }
    return TD_OK;
}

void td_clean_up(td_buffer *text, size_t start, bool contract)
{
    static const char *const pairs[][2] = {{" do not", " don't"}, {" .", "."},     {" ?", "?"},     {" !", "!"},
                                           {" ,", ","},           {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"},
                                           {" 's", "'s"},         {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = contract ? 0 : 1; td_buffer_ok(text) && text->data && i < sizeof pairs / sizeof *pairs; i++) {
        size_t wanted = strlen(pairs[i][0]), shorter = strlen(pairs[i][1]), to = start;
        for (size_t at = start; at < text->length;) {
            bool found = starts_with(text->data + at, text->length - at, pairs[i][0], wanted);
            memmove(text->data + to, found ? pairs[i][1] : text->data + at, found ? shorter : 1);
            to += found ? shorter : 1;
            at += found ? wanted : 1;
        }
        text->length = to;
        text->data[to] = 0;
    }
}

static td_status word_piece(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    for (size_t i = 0; i < in->count; i++) {
        const char *token = td_strings_at(in, i);
        size_t length = in->items[i].length;
        bool continues = i > 0 && starts_with(token, length, step->text, step->length);
        td_buffer_clear(&text);
        td_buffer_append(&text, " ", i > 0 && !continues);
        td_buffer_append(&text, token + (continues ? step->length : 0), length - (continues ? step->length : 0));
        if (step->flags[0])
            td_clean_up(&text, 0, true);
        td_strings_add(out, td_buffer_text(&text), text.length, i == 0);
    }
    bool good = td_buffer_ok(&text);
    td_buffer_free(&text);
    return good ? TD_OK : td_fail_memory(error, in->text.length);
}

static td_status read_word_piece(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_json_get_bool(object, file, "cleanup", true, &step->flags[0], error));
    return td_step_read_text(step, object, file, "prefix", "##", error);
}

static td_status read_replace(td_step *step, const json_t *object, const char *file, td_error *error)
{
    TD_TRY(td_step_read_text(step, object, file, "content", NULL, error));
    return td_step_read_pattern(step, object, file, error);
}

/* The byte of a token like "<0x0A>", or -1. */
static int byte_of(const char *token, size_t length)
{
    char digits[3] = {0}, *end;
    if (length != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    memcpy(digits, token + 3, 2);
    long byte = strtol(digits, &end, 16);
    return end == digits + 2 && digits[0] != '+' && digits[0] != '-' && digits[0] != ' ' ? (int)byte : -1;
}

/* Bytes that are no text become a U+FFFD each. */
static void flush_bytes(td_buffer *bytes, td_strings *out)
{
    if (bytes->length && td_utf8_valid_prefix(bytes->data, bytes->length) == bytes->length)
        td_strings_add(out, bytes->data, bytes->length, out->count == 0);
    else
        for (size_t i = 0; i < bytes->length; i++)
            td_strings_add(out, "\xef\xbf\xbd", 3, out->count == 0);
    out->failed |= !td_buffer_ok(bytes);
    td_buffer_clear(bytes);
}

static td_status byte_fallback(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)step;
    (void)error;
    td_buffer bytes = TD_BUFFER_INIT;
    for (size_t i = 0; i < in->count; i++) {
        const char *token = td_strings_at(in, i);
        int byte = byte_of(token, in->items[i].length);
        if (byte >= 0) {
            td_buffer_append(&bytes, &(char){(char)byte}, 1);
            continue;
        }
        flush_bytes(&bytes, out);
        td_strings_add(out, token, in->items[i].length, out->count == 0);
    }
    flush_bytes(&bytes, out);
    td_buffer_free(&bytes);
    return TD_OK;
}

static td_status fuse(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)step;
    (void)error;
    td_strings_begin(out, true);
    for (size_t i = 0; i < in->count; i++)
        td_strings_append(out, td_strings_at(in, i), in->items[i].length);
    return TD_OK;
}

static td_status strip(const td_step *step, const td_strings *in, td_strings *out, td_error *error)
{
    (void)error;
    for (size_t i = 0; i < in->count; i++) {
        const char *token = td_strings_at(in, i);
        size_t begin = 0, end = in->items[i].length;
        for (size_t k = 0; k < step->counts[0] && starts_with(token + begin, end - begin, step->text, step->length); k++)
            begin += step->length;
        for (size_t k = 0;
             k < step->counts[1] && end - begin >= step->length && memcmp(token + end - step->length, step->text, step->length) == 0; k++)
            end -= step->length;
        td_strings_add(out, token + begin, end - begin, i == 0);
    }
    return TD_OK;
}

static td_status read_strip(td_step *step, const json_t *object, const char *file, td_error *error)
{
    int64_t start, stop;
    TD_TRY(td_step_read_text(step, object, file, "content", " ", error));
    TD_TRY(td_json_get_integer(object, file, "start", 0, &start, error));
    TD_TRY(td_json_get_integer(object, file, "stop", 0, &stop, error));
    if (start < 0 || stop < 0 || step->length == 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s: a Strip needs a \"content\", and \"start\" and \"stop\" from 0", file);
    step->counts[0] = (size_t)start;
    step->counts[1] = (size_t)stop;
    return TD_OK;
}

const td_step_kind td_decoder_kinds[] = {
    {"ByteLevel", NULL, byte_level},
    {"Metaspace", td_metaspace_read, metaspace},
    {"WordPiece", read_word_piece, word_piece},
    {"Replace", read_replace, td_step_replace},
    {"ByteFallback", NULL, byte_fallback},
    {"Fuse", NULL, fuse},
    {"Strip", read_strip, strip},
    {NULL, NULL, NULL},
};
