/* The families with one SentencePiece model whose ids are shifted: T5, Pegasus, mBART, NLLB; and Speech2Text, which numbers pieces by
 * vocab.json. All put every piece into the vocabulary at its final id, so that text is cut by the model and numbered by a lookup. */
#include "text/tokenizer_kind.h"

#include "base/utf8.h"
#include "io/json.h"
#include "platform/file.h"

#include <string.h>

static td_status set_token(td_tokenizer *tokenizer, const char *text, int32_t id, bool strip_left, bool hide, td_error *error)
{
    TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, text, strlen(text), id, error));
    return td_tokenizer_add_special(tokenizer, text, id, strip_left, false, hide, error);
}

/* Gives the model's pieces from `first` on the ids piece + offset. Both sides share the model. */
static td_status add_pieces(td_tokenizer *tokenizer, int32_t first, int32_t offset, td_error *error)
{
    td_sentencepiece *model = tokenizer->models[TD_TARGET] = tokenizer->models[TD_SOURCE];
    for (int32_t id = first; (size_t)id < td_sentencepiece_size(model); id++) {
        const char *piece = td_sentencepiece_piece(model, id);
        TD_TRY(td_vocabulary_set(&tokenizer->vocabulary, piece, strlen(piece), id + offset, error));
    }
    return TD_OK;
}

static td_status load_model(td_tokenizer *tokenizer, const char *directory, const char *file, int32_t first, int32_t offset, td_error *error)
{
    TD_TRY(td_tokenizer_open_model(directory, file, &tokenizer->models[TD_SOURCE], error));
    return add_pieces(tokenizer, first, offset, error);
}

static td_status end_with(td_tokenizer *tokenizer, int32_t id, td_error *error)
{
    td_ids_append(&tokenizer->suffix[TD_SOURCE], id);
    td_ids_append(&tokenizer->suffix[TD_TARGET], id);
    return td_ids_ok(&tokenizer->suffix[0]) && td_ids_ok(&tokenizer->suffix[1]) ? TD_OK : td_fail_memory(error, sizeof id);
}

typedef struct encoding {
    const td_tokenizer *tokenizer;
    td_ids *ids;
    td_local_pieces *local;
} encoding;

static td_status visit_piece(void *context, const char *piece, size_t length, int32_t model_id, td_error *error)
{
    encoding *state = context;
    const td_tokenizer *tokenizer = state->tokenizer;
    /* Text that happens to spell an unknown or control piece is not that piece. */
    bool plain = !td_sentencepiece_is_unknown(tokenizer->models[0], model_id) && !td_sentencepiece_is_control(tokenizer->models[0], model_id);
    int32_t id = plain ? td_vocabulary_find(&tokenizer->vocabulary, piece, length) : -1;
    if (id < 0)
        return td_tokenizer_append_unknown(tokenizer, state->local, piece, length, state->ids, error);
    td_ids_append(state->ids, id);
    return TD_OK;
}

/* Unicode's White_Space. */
static bool is_white(uint32_t code)
{
    return (code >= 0x9 && code <= 0xd) || code == 0x20 || code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
           code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

/* A model without normalizer knows only the plain space. */
static void append_spaced(td_buffer *spaced, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        uint32_t code = 0;
        size_t bytes = td_utf8_decode(text + at, length - at, &code);
        bool white = bytes && is_white(code);
        bytes = bytes ? bytes : 1;
        td_buffer_append(spaced, white ? " " : text + at, white ? 1 : bytes);
        at += bytes;
    }
}

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first, const td_sampling *sampling, td_ids *ids,
                        td_error *error)
{
    (void)first;
    encoding state = {tokenizer, ids, sampling->local};
    td_buffer spaced = TD_BUFFER_INIT;
    if (tokenizer->raw) {
        append_spaced(&spaced, text, length);
        text = td_buffer_text(&spaced);
        length = spaced.length;
    }
    td_status status = td_buffer_ok(&spaced) ? TD_OK : td_fail_memory(error, length);
    if (status == TD_OK)
        status = td_sentencepiece_sample(tokenizer->models[side], text, length, sampling->dropout, sampling->random, visit_piece, &state, error);
    td_buffer_free(&spaced);
    return status;
}

/* The model's id of one of our ids; its unknown id when it is not one of the model's pieces. */
static int32_t model_id(const td_tokenizer *tokenizer, int32_t id)
{
    const char *piece = td_vocabulary_piece(&tokenizer->vocabulary, id);
    return td_sentencepiece_id(tokenizer->models[TD_TARGET], piece, strlen(piece));
}

/* Pieces end to end with a space for every U+2581, but none for one that the first piece begins with. (SentencePiece itself would also
 * drop the space of a second piece after a lone U+2581.) Stretches of byte pieces are left to the model. */
static td_status decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    const td_sentencepiece *model = tokenizer->models[TD_TARGET];
    for (size_t i = 0; i < count; i++) {
        const char *piece = td_vocabulary_piece(&tokenizer->vocabulary, ids[i]);
        size_t end = i;
        while (end < count && td_sentencepiece_is_byte(model, model_id(tokenizer, ids[end])))
            end++;
        if (end > i) {
            TD_TRY(td_tokenizer_join_pieces(tokenizer, model, ids + i, end - i, "", text, error));
            i = end - 1;
            continue;
        }
        for (const char *at = piece; *at;) {
            bool mark = strncmp(at, "\xe2\x96\x81", 3) == 0;
            if (!mark || at > piece || i > 0)
                td_buffer_append(text, mark ? " " : at, 1);
            at += mark ? 3 : 1;
        }
    }
    return TD_OK;
}

/* As the model joins pieces, without space at the ends. */
static td_status decode_stripped(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    size_t start = text->length;
    TD_TRY(td_tokenizer_join_pieces(tokenizer, tokenizer->models[TD_TARGET], ids, count, " ", text, error));
    td_buffer_strip(text, start);
    return TD_OK;
}

/* T5: the model's own ids, then <extra_id_99> down to <extra_id_0>. */
static bool recognize_t5(const char *directory)
{
    return td_directory_holds(directory, "spiece.model") && td_directory_is(directory, "T5Tokenizer MT5Tokenizer", "t5 mt5 umt5");
}

static td_status open_t5(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(load_model(tokenizer, directory, "spiece.model", 0, 0, error));
    int32_t size = (int32_t)tokenizer->vocabulary.size;
    for (int32_t i = 0; i < 100; i++) {
        char token[32];
        snprintf(token, sizeof token, "<extra_id_%d>", i);
        TD_TRY(set_token(tokenizer, token, size + 99 - i, false, true, error));
    }
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "pad_token", "<pad>", false, &tokenizer->pad, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "eos_token", "</s>", false, &tokenizer->eos, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "unk_token", "<unk>", false, &tokenizer->unknown, error));
    return end_with(tokenizer, tokenizer->eos, error);
}

const td_tokenizer_kind td_tokenizer_t5 = {
    .name = "t5",
    .files = "spiece.model",
    .recognize = recognize_t5,
    .open = open_t5,
    .encode = encode,
    .decode = decode,
};

/* Pegasus: <pad>, </s>, two masks and <unk_2>..<unk_102> come first; pieces follow at model id + 103. */
static bool recognize_pegasus(const char *directory)
{
    return td_directory_holds(directory, "spiece.model") && td_directory_is(directory, "PegasusTokenizer", "pegasus bigbird_pegasus pegasus_x");
}

static td_status open_pegasus(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(load_model(tokenizer, directory, "spiece.model", 2, 103, error));
    static const char *const first[] = {"<pad>", "</s>", "<mask_1>", "<mask_2>"};
    for (int32_t id = 0; id < 4; id++)
        TD_TRY(set_token(tokenizer, first[id], id, false, true, error));
    for (int32_t i = 2; i <= 102; i++) {
        char token[32];
        snprintf(token, sizeof token, "<unk_%d>", i);
        TD_TRY(set_token(tokenizer, token, i + 2, false, true, error));
    }
    tokenizer->pad = 0;
    tokenizer->eos = 1;
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "unk_token", "<unk>", false, &tokenizer->unknown, error));
    return end_with(tokenizer, tokenizer->eos, error);
}

const td_tokenizer_kind td_tokenizer_pegasus = {
    .name = "pegasus",
    .files = "spiece.model",
    .recognize = recognize_pegasus,
    .open = open_pegasus,
    .encode = encode,
    .decode = decode,
    .keeps_space = true,
};

/* fairseq's order: <s>, <pad>, </s>, <unk>, then pieces at model id + 1, languages, <mask>. */
static td_status open_fairseq(td_tokenizer *tokenizer, const char *directory, const json_t *languages, td_error *error)
{
    TD_TRY(add_pieces(tokenizer, 3, 1, error));
    static const char *const first[] = {"<s>", "<pad>", "</s>", "<unk>"};
    for (int32_t id = 0; id < 4; id++)
        TD_TRY(set_token(tokenizer, first[id], id, false, true, error));
    int32_t id = tokenizer->language_begin = (int32_t)td_sentencepiece_size(tokenizer->models[TD_SOURCE]) + 1;
    for (size_t i = 0; i < json_array_size(languages); i++) {
        const json_t *item = json_array_get(languages, i);
        const char *code = json_string_value(json_is_object(item) ? json_object_get(item, "content") : item);
        if (!code)
            return td_fail(error, TD_ERROR_FORMAT, "%s/special_tokens_map.json: \"additional_special_tokens\" must hold strings", directory);
        if (strcmp(code, "<mask>") != 0)
            TD_TRY(set_token(tokenizer, code, id++, false, true, error));
    }
    tokenizer->language_end = id;
    TD_TRY(set_token(tokenizer, "<mask>", id, true, true, error));
    tokenizer->bos = 0;
    tokenizer->pad = 1;
    tokenizer->eos = 2;
    tokenizer->unknown = 3;
    return TD_OK;
}

enum { MODEL_LIMIT = 1 << 28 };

/* transformers makes mBART's tokenizer.json without the model's normalizer; models tuned since have seen text as it stands. */
static td_status is_raw(const td_tokenizer *tokenizer, const char *directory, bool *ret_raw, td_error *error)
{
    *ret_raw = false;
    if (tokenizer->kind != &td_tokenizer_mbart || !td_directory_holds(directory, "tokenizer.json"))
        return TD_OK;
    char *path = td_path_join(directory, "tokenizer.json");
    json_t *root = NULL;
    td_status status = path ? td_json_load_file(path, &root, error) : td_fail_memory(error, strlen(directory));
    if (status == TD_OK)
        *ret_raw = json_is_null(json_object_get(root, "normalizer"));
    json_decref(root);
    td_release(path);
    return status;
}

static td_status open_fairseq_model(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    static const char file[] = "sentencepiece.bpe.model";
    /* ModelProto.normalizer_spec (3) { precompiled_charsmap (2): "" }: of a field that comes twice the last counts. */
    static const char no_map[] = {0x1a, 2, 0x12, 0};
    bool raw;
    TD_TRY(is_raw(tokenizer, directory, &raw, error));
    tokenizer->raw = raw;
    if (!raw)
        return td_tokenizer_open_model(directory, file, &tokenizer->models[TD_SOURCE], error);
    char *path = td_path_join(directory, file);
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_buffer data = TD_BUFFER_INIT;
    td_status status = td_file_read(path, MODEL_LIMIT, &data, error);
    td_buffer_append(&data, no_map, sizeof no_map);
    if (status == TD_OK && !td_buffer_ok(&data))
        status = td_fail_memory(error, data.length);
    if (status == TD_OK)
        status = td_sentencepiece_parse(data.data, data.length, path, &tokenizer->models[TD_SOURCE], error);
    td_buffer_free(&data);
    td_release(path);
    return status;
}

/* The languages that special_tokens_map.json lists, else `fallback` (separated by spaces). New reference. */
static td_status list_languages(const char *directory, const char *fallback, json_t **ret_list, td_error *error)
{
    char *path = td_path_join(directory, "special_tokens_map.json");
    json_t *root = NULL, *list = NULL;
    td_status status = path ? TD_OK : td_fail_memory(error, strlen(directory));
    if (status == TD_OK && td_file_exists(path))
        status = td_json_load_file(path, &root, error);
    td_release(path);
    if (status == TD_OK && json_array_size(json_object_get(root, "additional_special_tokens")))
        list = json_incref(json_object_get(root, "additional_special_tokens"));
    json_decref(root);
    TD_TRY(status);
    if (!list && !*fallback)
        return td_fail(error, TD_ERROR_FORMAT, "%s/special_tokens_map.json: \"additional_special_tokens\" must list the languages", directory);
    bool good = list || (list = json_array());
    for (const char *at = fallback; good && json_array_size(list) < 25 && *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        good = json_array_append_new(list, json_stringn(at, length)) == 0;
        at += length;
    }
    if (!good) {
        json_decref(list);
        return td_fail_memory(error, 0);
    }
    *ret_list = list;
    return TD_OK;
}

/* Opens with the languages of tokenizer_config.json, or `language` on both sides until td_tokenizer_set_languages. */
static td_status open_multilingual(td_tokenizer *tokenizer, const char *directory, const char *fallback, const char *language, td_error *error)
{
    json_t *languages = NULL;
    TD_TRY(open_fairseq_model(tokenizer, directory, error));
    TD_TRY(list_languages(directory, fallback, &languages, error));
    td_status status = open_fairseq(tokenizer, directory, languages, error);
    json_decref(languages);
    TD_TRY(status);
    char *source = NULL, *target = NULL;
    status = td_tokenizer_setting(directory, "src_lang", &source, error);
    if (status == TD_OK)
        status = td_tokenizer_setting(directory, "tgt_lang", &target, error);
    if (status == TD_OK)
        status = tokenizer->kind->set_languages(tokenizer, source ? source : language, target ? target : language, error);
    td_release(source);
    td_release(target);
    return status;
}

static td_status place_language(td_tokenizer *tokenizer, td_text_side side, const char *language, bool before, td_error *error)
{
    if (!language)
        return TD_OK;
    int32_t id = td_tokenizer_language_id(tokenizer, language);
    if (id < 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model has no language \"%s\"", language);
    td_ids_clear(&tokenizer->prefix[side]);
    td_ids_clear(&tokenizer->suffix[side]);
    if (before)
        td_ids_append(&tokenizer->prefix[side], id);
    td_ids_append(&tokenizer->suffix[side], tokenizer->eos);
    if (!before)
        td_ids_append(&tokenizer->suffix[side], id);
    return td_ids_ok(&tokenizer->prefix[side]) && td_ids_ok(&tokenizer->suffix[side]) ? TD_OK : td_fail_memory(error, sizeof id);
}

td_status td_languages_after(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error)
{
    TD_TRY(place_language(tokenizer, TD_SOURCE, source, false, error));
    return place_language(tokenizer, TD_TARGET, target, false, error);
}

td_status td_languages_before(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error)
{
    TD_TRY(place_language(tokenizer, TD_SOURCE, source, true, error));
    return place_language(tokenizer, TD_TARGET, target, true, error);
}

static bool recognize_mbart(const char *directory)
{
    return td_directory_holds(directory, "sentencepiece.bpe.model") && td_directory_is(directory, "MBartTokenizer", "mbart");
}

static td_status open_mbart(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    static const char languages[] = "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU "
                                    "si_LK tr_TR vi_VN zh_CN";
    return open_multilingual(tokenizer, directory, languages, "en_XX", error);
}

const td_tokenizer_kind td_tokenizer_mbart = {
    .name = "mbart",
    .files = "sentencepiece.bpe.model",
    .recognize = recognize_mbart,
    .open = open_mbart,
    .encode = encode,
    .decode = decode,
    .set_languages = td_languages_after,
    .language_use = TD_LANGUAGE_STARTS,
};

static bool recognize_nllb(const char *directory)
{
    return td_directory_holds(directory, "sentencepiece.bpe.model") && td_directory_is(directory, "NllbTokenizer", "");
}

static td_status open_nllb(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    return open_multilingual(tokenizer, directory, "", "eng_Latn", error);
}

const td_tokenizer_kind td_tokenizer_nllb = {
    .name = "nllb",
    .files = "sentencepiece.bpe.model, special_tokens_map.json",
    .recognize = recognize_nllb,
    .open = open_nllb,
    .encode = encode,
    .decode = decode,
    .set_languages = td_languages_before,
    .language_use = TD_LANGUAGE_FORCED_FIRST,
    .keeps_space = true,
};

/* Speech2Text: pieces numbered by vocab.json. */
static bool recognize_speech_to_text(const char *directory)
{
    return td_directory_holds(directory, "sentencepiece.bpe.model vocab.json") && td_directory_is(directory, "Speech2TextTokenizer", "speech_to_text");
}

static td_status open_speech_to_text(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    char *path = td_path_join(directory, "vocab.json");
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_status status = td_vocabulary_load(&tokenizer->vocabulary, path, error);
    td_release(path);
    TD_TRY(status);
    TD_TRY(td_tokenizer_open_model(directory, "sentencepiece.bpe.model", &tokenizer->models[TD_SOURCE], error));
    tokenizer->models[TD_TARGET] = tokenizer->models[TD_SOURCE];
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "bos_token", "<s>", true, &tokenizer->bos, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "pad_token", "<pad>", true, &tokenizer->pad, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "eos_token", "</s>", true, &tokenizer->eos, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "unk_token", "<unk>", true, &tokenizer->unknown, error));
    return end_with(tokenizer, tokenizer->eos, error);
}

const td_tokenizer_kind td_tokenizer_speech_to_text = {
    .name = "speech_to_text",
    .files = "sentencepiece.bpe.model, vocab.json",
    .recognize = recognize_speech_to_text,
    .open = open_speech_to_text,
    .encode = encode,
    .decode = decode_stripped,
};
