/* Families whose tokenizer.json wants something beside it: languages, prompts, ends of labels; and BERT's vocab.txt,
 * read as the tokenizer.json that says what BERT does. */
#include "text/tokenizer_json.h"

#include "io/json.h"
#include "platform/file.h"

#include <string.h>

/* ---- languages ---- */

/* "de_DE", "deu_Latn" */
static bool is_language(const char *piece)
{
    size_t letters = strspn(piece, "abcdefghijklmnopqrstuvwxyz");
    return (letters == 2 || letters == 3) && piece[letters] == '_' && piece[letters + 1] >= 'A' && piece[letters + 1] <= 'Z';
}

static td_status open_multilingual(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(td_tokenizer_json_open(tokenizer, directory, error));
    if (tokenizer->eos < 0)
        tokenizer->eos = td_tokenizer_id(tokenizer, "</s>");
    if (tokenizer->eos < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s/tokenizer.json: there must be a token \"</s>\"", directory);
    for (int32_t id = 0; (size_t)id < tokenizer->vocabulary.size; id++) {
        const char *piece = td_vocabulary_piece(&tokenizer->vocabulary, id);
        if (!piece || !td_tokenizer_is_special(tokenizer, id) || !is_language(piece))
            continue;
        if (tokenizer->language_end != id)
            tokenizer->language_begin = id;
        tokenizer->language_end = id + 1;
    }
    char *source = NULL, *target = NULL;
    td_status status = td_tokenizer_setting(directory, "src_lang", &source, error);
    if (status == TD_OK)
        status = td_tokenizer_setting(directory, "tgt_lang", &target, error);
    if (status == TD_OK)
        status = tokenizer->kind->set_languages(tokenizer, source, target, error);
    td_release(source);
    td_release(target);
    return status;
}

static bool recognize_mbart(const char *directory)
{
    return td_tokenizer_json_recognize(directory) && td_directory_is(directory, "MBartTokenizer", "mbart");
}

static bool recognize_nllb(const char *directory)
{
    return td_tokenizer_json_recognize(directory) && td_directory_is(directory, "NllbTokenizer MBart50Tokenizer", "");
}

const td_tokenizer_kind td_tokenizer_json_mbart = {
    .name = "mbart",
    .files = "tokenizer.json",
    .recognize = recognize_mbart,
    .open = open_multilingual,
    .encode = td_tokenizer_json_encode,
    .decode = td_tokenizer_json_decode,
    .set_languages = td_languages_after,
    .free_state = td_tokenizer_json_free,
    .language_use = TD_LANGUAGE_STARTS,
};

const td_tokenizer_kind td_tokenizer_json_nllb = {
    .name = "nllb",
    .files = "tokenizer.json",
    .recognize = recognize_nllb,
    .open = open_multilingual,
    .encode = td_tokenizer_json_encode,
    .decode = td_tokenizer_json_decode,
    .set_languages = td_languages_before,
    .free_state = td_tokenizer_json_free,
    .language_use = TD_LANGUAGE_FORCED_FIRST,
};

/* ---- prompts and ends of labels ---- */

static td_status put(td_ids *list, int32_t id, td_error *error)
{
    if (id >= 0)
        td_ids_append(list, id);
    return td_ids_ok(list) ? TD_OK : td_fail_memory(error, sizeof id);
}

static td_status end_by(td_tokenizer *tokenizer, const char *directory, const char *token, td_error *error)
{
    if (tokenizer->eos < 0)
        tokenizer->eos = td_tokenizer_id(tokenizer, token);
    if (tokenizer->eos < 0)
        return td_fail(error, TD_ERROR_FORMAT, "%s/tokenizer.json: there must be a token \"%s\"", directory, token);
    tokenizer->bos = tokenizer->pad = tokenizer->eos;
    return TD_OK;
}

static bool recognize_whisper(const char *directory)
{
    return td_tokenizer_json_recognize(directory) && td_directory_is(directory, "WhisperTokenizer", "whisper");
}

/* The prompt without language and task, which speech models set; time stamps (<|0.00|>) are hidden with the special
 * tokens. */
static td_status open_whisper(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(td_tokenizer_json_open(tokenizer, directory, error));
    TD_TRY(end_by(tokenizer, directory, "<|endoftext|>", error));
    for (int32_t id = 0; (size_t)id < td_tokenizer_size(tokenizer); id++) {
        const char *piece = td_tokenizer_piece(tokenizer, id);
        size_t length = piece ? strlen(piece) : 0;
        if (length > 4 && strncmp(piece, "<|", 2) == 0 && strcmp(piece + length - 2, "|>") == 0)
            TD_TRY(td_tokenizer_add_special(tokenizer, "", id, false, false, true, error));
    }
    for (int side = 0; side < 2; side++) {
        td_ids_clear(&tokenizer->prefix[side]);
        td_ids_clear(&tokenizer->suffix[side]);
        TD_TRY(put(&tokenizer->prefix[side], td_tokenizer_id(tokenizer, "<|startoftranscript|>"), error));
        TD_TRY(put(&tokenizer->prefix[side], td_tokenizer_id(tokenizer, "<|notimestamps|>"), error));
        TD_TRY(put(&tokenizer->suffix[side], tokenizer->eos, error));
    }
    return TD_OK;
}

static bool recognize_gpt2(const char *directory)
{
    return td_tokenizer_json_recognize(directory) && td_directory_is(directory, "GPT2Tokenizer", "gpt2 vision-encoder-decoder");
}

/* GPT-2 puts nothing around a text; a caption that a model learns ends. */
static td_status open_gpt2(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(td_tokenizer_json_open(tokenizer, directory, error));
    if (tokenizer->suffix[TD_TARGET].length)
        return TD_OK;
    TD_TRY(end_by(tokenizer, directory, "<|endoftext|>", error));
    return put(&tokenizer->suffix[TD_TARGET], tokenizer->eos, error);
}

const td_tokenizer_kind td_tokenizer_json_whisper = {
    .name = "whisper",
    .files = "tokenizer.json",
    .recognize = recognize_whisper,
    .open = open_whisper,
    .encode = td_tokenizer_json_encode,
    .decode = td_tokenizer_json_decode,
    .free_state = td_tokenizer_json_free,
};

const td_tokenizer_kind td_tokenizer_json_gpt2 = {
    .name = "gpt2",
    .files = "tokenizer.json",
    .recognize = recognize_gpt2,
    .open = open_gpt2,
    .encode = td_tokenizer_json_encode,
    .decode = td_tokenizer_json_decode,
    .free_state = td_tokenizer_json_free,
};

/* ---- BERT's vocab.txt ---- */

static bool recognize_bert(const char *directory)
{
    return td_directory_holds(directory, "vocab.txt") &&
           td_directory_is(directory, "BertTokenizer ElectraTokenizer DistilBertTokenizer", "bert encoder-decoder blip");
}

/* A token a line, numbered from 0. New reference. */
static td_status read_lines(const char *path, json_t **ret_vocabulary, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    td_status status = td_file_read(path, TD_JSON_LIMIT, &text, error);
    json_t *vocabulary = json_object();
    json_int_t id = 0;
    bool good = vocabulary != NULL;
    for (const char *at = td_buffer_text(&text); status == TD_OK && good && *at; id++) {
        size_t length = strcspn(at, "\n"), used = length && at[length - 1] == '\r' ? length - 1 : length;
        char *line = td_copy_bytes(at, used);
        good = line != NULL;
        if (good && json_object_set_new(vocabulary, line, json_integer(id)) != 0)
            status = td_fail(error, TD_ERROR_FORMAT, "%s:%lld: a token must be UTF-8", path, id + 1);
        td_release(line);
        at += length + (at[length] == '\n');
    }
    td_buffer_free(&text);
    if (status == TD_OK && !good)
        status = td_fail_memory(error, 0);
    if (status == TD_OK)
        *ret_vocabulary = vocabulary;
    else
        json_decref(vocabulary);
    return status;
}

/* The tokenizer.json that transformers would make of the vocabulary and tokenizer_config.json. New reference, or NULL
 * without memory. */
static json_t *make_root(json_t *vocabulary, const json_t *config)
{
    static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    const json_t *accents = json_object_get(config, "strip_accents"), *lower = json_object_get(config, "do_lower_case");
    const json_t *chinese = json_object_get(config, "tokenize_chinese_chars");
    json_t *added = json_array(), *cls = json_object_get(vocabulary, "[CLS]"), *sep = json_object_get(vocabulary, "[SEP]");
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        if (json_object_get(vocabulary, specials[i]))
            json_array_append_new(added, json_pack("{sOsssbsb}", "id", json_object_get(vocabulary, specials[i]), "content", specials[i],
                                                   "special", 1, "normalized", 0));
    json_t *normalizer = json_pack("{sssbsbsb}", "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars", !json_is_false(chinese),
                                   "lowercase", !json_is_false(lower));
    if (json_is_boolean(accents))
        json_object_set(normalizer, "strip_accents", (json_t *)(uintptr_t)accents);
    json_t *around = json_pack("{sss[sO]s[sO]}", "type", "BertProcessing", "sep", "[SEP]", sep, "cls", "[CLS]", cls);
    return json_pack("{sosos{ss}s{ssssss sO}s{ss}so}", "added_tokens", added, "normalizer", normalizer, "pre_tokenizer", "type",
                     "BertPreTokenizer", "model", "type", "WordPiece", "unk_token", "[UNK]", "continuing_subword_prefix", "##", "vocab",
                     vocabulary, "decoder", "type", "WordPiece", "post_processor", around);
}

static td_status open_bert(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    char *path = td_path_join(directory, "vocab.txt"), *config_path = td_path_join(directory, "tokenizer_config.json");
    json_t *vocabulary = NULL, *config = NULL, *root = NULL;
    td_status status = path && config_path ? read_lines(path, &vocabulary, error) : td_fail_memory(error, strlen(directory));
    if (status == TD_OK && td_file_exists(config_path))
        status = td_json_load_file(config_path, &config, error);
    static const char *const wanted[] = {"[UNK]", "[CLS]", "[SEP]"};
    for (size_t i = 0; status == TD_OK && i < sizeof wanted / sizeof *wanted; i++)
        if (!json_object_get(vocabulary, wanted[i]))
            status = td_fail(error, TD_ERROR_FORMAT, "%s: there must be a token %s", path, wanted[i]);
    if (status == TD_OK && !(root = make_root(vocabulary, config)))
        status = td_fail_memory(error, 0);
    if (status == TD_OK)
        status = td_tokenizer_json_open_root(tokenizer, directory, root, path, error);
    if (status == TD_OK) {
        tokenizer->bos = tokenizer->bos >= 0 ? tokenizer->bos : td_tokenizer_id(tokenizer, "[CLS]");
        tokenizer->eos = tokenizer->eos >= 0 ? tokenizer->eos : td_tokenizer_id(tokenizer, "[SEP]");
        tokenizer->pad = tokenizer->pad >= 0 ? tokenizer->pad : td_tokenizer_id(tokenizer, "[PAD]");
    }
    json_decref(root);
    json_decref(vocabulary);
    json_decref(config);
    td_release(path);
    td_release(config_path);
    return status;
}

const td_tokenizer_kind td_tokenizer_bert = {
    .name = "bert",
    .files = "vocab.txt",
    .recognize = recognize_bert,
    .open = open_bert,
    .encode = td_tokenizer_json_encode,
    .decode = td_tokenizer_json_decode,
    .free_state = td_tokenizer_json_free,
};
