/* The families with one SentencePiece model whose ids are shifted: T5, Pegasus, mBART, mBART-50, NLLB; and Speech2Text and M2M-100, which
 * number pieces by vocab.json. All put every piece into the vocabulary at its final id, so that text is cut by the model and numbered by a
 * lookup. */
#include "text/tokenizer_kind.h"

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

static td_status load_model(td_tokenizer *tokenizer, const char *directory, const char *file, int32_t first, int32_t offset,
                            td_error *error)
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

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                        const td_sampling *sampling, td_ids *ids, td_error *error)
{
    (void)first;
    return td_tokenizer_encode_pieces(tokenizer, side, false, text, length, sampling, ids, error);
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
    return td_directory_holds(directory, "spiece.model") &&
           td_directory_is(directory, "PegasusTokenizer", "pegasus bigbird_pegasus pegasus_x");
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
            return td_fail(error, TD_ERROR_FORMAT, "%s/special_tokens_map.json: \"additional_special_tokens\" must hold strings",
                           directory);
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
        return td_fail(error, TD_ERROR_FORMAT, "%s/special_tokens_map.json: \"additional_special_tokens\" must list the languages",
                       directory);
    bool listed = list != NULL, good = listed || (list = json_array());
    for (const char *at = fallback; good && !listed && *at; at += strspn(at, " ")) {
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

/* Those of tokenizer_config.json, or `language` on both sides until td_tokenizer_set_languages. */
static td_status set_configured_languages(td_tokenizer *tokenizer, const char *directory, const char *language, td_error *error)
{
    char *source = NULL, *target = NULL;
    td_status status = td_tokenizer_setting(directory, "src_lang", &source, error);
    if (status == TD_OK)
        status = td_tokenizer_setting(directory, "tgt_lang", &target, error);
    if (status == TD_OK)
        status = tokenizer->kind->set_languages(tokenizer, source ? source : language, target ? target : language, error);
    td_release(source);
    td_release(target);
    return status;
}

static td_status open_multilingual(td_tokenizer *tokenizer, const char *directory, const char *fallback, const char *language,
                                   td_error *error)
{
    json_t *languages = NULL;
    TD_TRY(td_tokenizer_open_model(directory, "sentencepiece.bpe.model", &tokenizer->models[TD_SOURCE], error));
    TD_TRY(list_languages(directory, fallback, &languages, error));
    td_status status = open_fairseq(tokenizer, directory, languages, error);
    json_decref(languages);
    TD_TRY(status);
    return set_configured_languages(tokenizer, directory, language, error);
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

#define MBART_LANGUAGES                                                                                                                    \
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU "       \
    "si_LK tr_TR vi_VN zh_CN"
#define MBART50_LANGUAGES                                                                                                                  \
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH "       \
    "tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI"

static bool recognize_mbart(const char *directory)
{
    return td_directory_holds(directory, "sentencepiece.bpe.model") && td_directory_is(directory, "MBartTokenizer", "mbart");
}

static td_status open_mbart(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    return open_multilingual(tokenizer, directory, MBART_LANGUAGES, "en_XX", error);
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

/* mBART-50: the language before the text on both sides. */
static bool recognize_mbart50(const char *directory)
{
    return td_directory_holds(directory, "sentencepiece.bpe.model") && td_directory_is(directory, "MBart50Tokenizer", "");
}

static td_status open_mbart50(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    return open_multilingual(tokenizer, directory, MBART_LANGUAGES " " MBART50_LANGUAGES, "en_XX", error);
}

const td_tokenizer_kind td_tokenizer_mbart50 = {
    .name = "mbart50",
    .files = "sentencepiece.bpe.model",
    .recognize = recognize_mbart50,
    .open = open_mbart50,
    .encode = encode,
    .decode = decode,
    .set_languages = td_languages_before,
    .language_use = TD_LANGUAGE_FORCED_FIRST,
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
    return td_directory_holds(directory, "sentencepiece.bpe.model vocab.json") &&
           td_directory_is(directory, "Speech2TextTokenizer", "speech_to_text");
}

static td_status open_numbered(td_tokenizer *tokenizer, const char *directory, td_error *error)
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
    return td_tokenizer_named_special(tokenizer, directory, "unk_token", "<unk>", true, &tokenizer->unknown, error);
}

static td_status open_speech_to_text(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(open_numbered(tokenizer, directory, error));
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

/* M2M-100: pieces numbered by vocab.json, "__de__" and the like after them, before the text on both sides. */
#define M2M100_LANGUAGES                                                                                                                   \
    "af am ar ast az ba be bg bn br bs ca ceb cs cy da de el en es et fa ff fi fr fy ga gd gl gu ha he hi hr ht hu hy id ig ilo is it "    \
    "ja jv ka kk km kn ko lb lg ln lo lt lv mg mk ml mn mr ms my ne nl no ns oc or pa pl ps pt ro ru sd si sk sl so sq sr ss su sv sw "    \
    "ta th tl tn tr uk ur uz vi wo xh yi yo zh zu"

static bool recognize_m2m100(const char *directory)
{
    return td_directory_holds(directory, "sentencepiece.bpe.model vocab.json") && td_directory_is(directory, "M2M100Tokenizer", "m2m_100");
}

static td_status open_m2m100(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(open_numbered(tokenizer, directory, error));
    tokenizer->language_begin = (int32_t)tokenizer->vocabulary.size;
    for (const char *at = M2M100_LANGUAGES; *at; at += strspn(at, " ")) {
        char token[16];
        size_t length = strcspn(at, " ");
        snprintf(token, sizeof token, "__%.*s__", (int)length, at);
        TD_TRY(set_token(tokenizer, token, (int32_t)tokenizer->vocabulary.size, false, true, error));
        at += length;
    }
    tokenizer->language_end = (int32_t)tokenizer->vocabulary.size;
    return set_configured_languages(tokenizer, directory, "en", error);
}

const td_tokenizer_kind td_tokenizer_m2m100 = {
    .name = "m2m100",
    .files = "sentencepiece.bpe.model, vocab.json",
    .recognize = recognize_m2m100,
    .open = open_m2m100,
    .encode = encode,
    .decode = decode_stripped,
    .set_languages = td_languages_before,
    .language_use = TD_LANGUAGE_FORCED_FIRST,
};
