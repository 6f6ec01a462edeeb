/* Marian (OPUS-MT): a SentencePiece model for each side cuts the text, vocab.json numbers the pieces' strings, </s> ends. */
#include "text/tokenizer_kind.h"

#include "io/json.h"
#include "platform/file.h"

#include <string.h>

static bool recognize(const char *directory)
{
    return td_directory_holds(directory, "source.spm target.spm vocab.json");
}

static td_status open(td_tokenizer *tokenizer, const char *directory, td_error *error)
{
    TD_TRY(td_tokenizer_open_model(directory, "source.spm", &tokenizer->models[TD_SOURCE], error));
    TD_TRY(td_tokenizer_open_model(directory, "target.spm", &tokenizer->models[TD_TARGET], error));
    char *path = td_path_join(directory, "vocab.json");
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_status status = td_vocabulary_load(&tokenizer->vocabulary, path, error);
    td_release(path);
    TD_TRY(status);
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "eos_token", "</s>", true, &tokenizer->eos, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "unk_token", "<unk>", true, &tokenizer->unknown, error));
    TD_TRY(td_tokenizer_named_special(tokenizer, directory, "pad_token", "<pad>", true, &tokenizer->pad, error));
    td_ids_append(&tokenizer->suffix[TD_SOURCE], tokenizer->eos);
    td_ids_append(&tokenizer->suffix[TD_TARGET], tokenizer->eos);
    return td_ids_ok(&tokenizer->suffix[0]) && td_ids_ok(&tokenizer->suffix[1]) ? TD_OK : td_fail_memory(error, 0);
}

/* The id of a ">>xx<<" that the text begins with, or -1. One that the vocabulary lacks stays text. */
static int32_t leading_language(const td_tokenizer *tokenizer, const char *text, size_t length, size_t *ret_length)
{
    if (length < 5 || text[0] != '>' || text[1] != '>')
        return -1;
    for (size_t end = 4; end <= length; end++) {
        if (text[end - 2] != '<' || text[end - 1] != '<')
            continue;
        *ret_length = end;
        return td_vocabulary_find(&tokenizer->vocabulary, text, end);
    }
    return -1;
}

static td_status encode(const td_tokenizer *tokenizer, td_text_side side, const char *text, size_t length, bool first,
                        const td_sampling *sampling, td_ids *ids, td_error *error)
{
    size_t used = 0;
    int32_t language = leading_language(tokenizer, text, length, &used);
    if (language >= 0) {
        /* The text's own choice takes the place of the one set for all texts. */
        if (first && tokenizer->prefix[side].length && ids->length && ids->data[ids->length - 1] == tokenizer->prefix[side].data[0])
            ids->length--;
        td_ids_append(ids, language);
        text += used;
        length -= used;
    }
    return td_tokenizer_encode_pieces(tokenizer, side, true, text, length, sampling, ids, error);
}

static td_status decode(const td_tokenizer *tokenizer, const int32_t *ids, size_t count, td_buffer *text, td_error *error)
{
    size_t start = text->length;
    TD_TRY(td_tokenizer_join_pieces(tokenizer, tokenizer->models[TD_TARGET], ids, count, " ", text, error));
    td_buffer_strip(text, start);
    return TD_OK;
}

static td_status set_languages(td_tokenizer *tokenizer, const char *source, const char *target, td_error *error)
{
    (void)source; /* the encoder recognizes it */
    if (!target)
        return TD_OK;
    int32_t id = td_tokenizer_language_id(tokenizer, target);
    if (id < 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "the model has no token \">>%s<<\" for the target language", target);
    td_ids_clear(&tokenizer->prefix[TD_SOURCE]);
    td_ids_append(&tokenizer->prefix[TD_SOURCE], id);
    return td_ids_ok(&tokenizer->prefix[TD_SOURCE]) ? TD_OK : td_fail_memory(error, sizeof id);
}

const td_tokenizer_kind td_tokenizer_marian = {
    .name = "marian",
    .files = "source.spm, target.spm, vocab.json",
    .recognize = recognize,
    .open = open,
    .encode = encode,
    .decode = decode,
    .set_languages = set_languages,
    .language_use = TD_LANGUAGE_IN_SOURCE,
};

/* Both sides' sentences one after the other. */
typedef struct both_sides {
    const td_sentences *sides[2];
    int current;
} both_sides;

static td_status next_of_both(void *context, const char **ret_text, size_t *ret_length, td_error *error)
{
    both_sides *both = context;
    *ret_text = NULL;
    while (both->current < 2 && !*ret_text) {
        const td_sentences *side = both->sides[both->current];
        TD_TRY(side->next(side->context, ret_text, ret_length, error));
        if (!*ret_text)
            both->current++;
    }
    return TD_OK;
}

static td_status save_file(const char *directory, const char *name, const td_buffer *bytes, td_error *error)
{
    char *path = td_path_join(directory, name);
    if (!path)
        return td_fail_memory(error, strlen(directory));
    td_status status = td_file_write(path, bytes->data, bytes->length, error);
    td_release(path);
    return status;
}

/* Takes ownership of `value` (NULL: memory was out when it was made). */
static td_status save_json(const char *directory, const char *name, json_t *value, td_error *error)
{
    char *path = value ? td_path_join(directory, name) : NULL;
    td_status status = path ? td_json_save_file(path, value, error) : td_fail_memory(error, 0);
    td_release(path);
    json_decref(value);
    return status;
}

static bool add_token(json_t *vocabulary, const char *token)
{
    if (json_object_get(vocabulary, token))
        return true;
    return json_object_set_new(vocabulary, token, json_integer((json_int_t)json_object_size(vocabulary))) == 0;
}

static bool add_pieces(json_t *vocabulary, const td_sentencepiece *model)
{
    bool good = true;
    for (int32_t id = 0; good && (size_t)id < td_sentencepiece_size(model); id++)
        if (!td_sentencepiece_is_unknown(model, id) && !td_sentencepiece_is_control(model, id))
            good = add_token(vocabulary, td_sentencepiece_piece(model, id));
    return good;
}

static td_status make_vocabulary(const td_buffer models[2], const td_vocabulary_options *options, json_t **ret_vocabulary, td_error *error)
{
    json_t *vocabulary = json_object();
    bool good = vocabulary && add_token(vocabulary, "</s>") && add_token(vocabulary, "<unk>");
    for (int side = 0; good && side < (options->shared ? 1 : 2); side++) {
        td_sentencepiece *model = NULL;
        td_status status = td_sentencepiece_parse(models[side].data, models[side].length, "trained model", &model, error);
        if (status != TD_OK) {
            json_decref(vocabulary);
            return status;
        }
        good = add_pieces(vocabulary, model);
        td_sentencepiece_free(model);
    }
    for (size_t i = 0; good && i < options->language_count; i++) {
        td_buffer token = TD_BUFFER_INIT;
        td_buffer_format(&token, ">>%s<<", options->languages[i]);
        good = td_buffer_ok(&token) && add_token(vocabulary, token.data);
        td_buffer_free(&token);
    }
    if (!good || !add_token(vocabulary, "<pad>")) {
        json_decref(vocabulary);
        return td_fail_memory(error, 0);
    }
    *ret_vocabulary = vocabulary;
    return TD_OK;
}

static td_status train_models(const td_vocabulary_options *options, const td_sentences *source, const td_sentences *target,
                              td_buffer models[2], td_error *error)
{
    td_sentencepiece_options model = TD_SENTENCEPIECE_OPTIONS_INIT;
    /* Beside the pieces the vocabulary holds </s>, <unk>, <pad> and the languages; the model counts its <unk>. */
    size_t special = 2 + options->language_count;
    if (options->size <= special + 1)
        return td_fail(error, TD_ERROR_ARGUMENT, "vocabulary size %zu is too small: %zu tokens are special", options->size, special + 1);
    model.kind = options->kind;
    model.size = options->size - special;
    model.character_coverage = options->character_coverage;
    model.byte_fallback = options->byte_fallback;
    model.normalization = options->normalization;
    model.stop = options->stop;
    if (!options->shared) {
        TD_TRY(td_sentencepiece_train(&model, source, &models[TD_SOURCE], error));
        return td_sentencepiece_train(&model, target, &models[TD_TARGET], error);
    }
    both_sides both = {{source, target}, 0};
    td_sentences joined = {next_of_both, &both};
    TD_TRY(td_sentencepiece_train(&model, &joined, &models[TD_SOURCE], error));
    td_buffer_append(&models[TD_TARGET], models[TD_SOURCE].data, models[TD_SOURCE].length);
    return td_buffer_ok(&models[TD_TARGET]) ? TD_OK : td_fail_memory(error, models[TD_SOURCE].length);
}

static td_status save_others(const char *directory, const td_buffer models[2], td_error *error)
{
    TD_TRY(td_directory_create(directory, error));
    TD_TRY(save_file(directory, "source.spm", &models[TD_SOURCE], error));
    TD_TRY(save_file(directory, "target.spm", &models[TD_TARGET], error));
    TD_TRY(save_json(directory, "special_tokens_map.json",
                     json_pack("{s:s, s:s, s:s}", "eos_token", "</s>", "unk_token", "<unk>", "pad_token", "<pad>"), error));
    return save_json(directory, "tokenizer_config.json",
                     json_pack("{s:s, s:b, s:s, s:s, s:s}", "tokenizer_class", "MarianTokenizer", "separate_vocabs", 0, "eos_token", "</s>",
                               "unk_token", "<unk>", "pad_token", "<pad>"),
                     error);
}

/* vocab.json comes last: where it is, all is. */
static td_status save_all(const char *directory, const td_vocabulary_options *options, const td_buffer models[2], td_error *error)
{
    json_t *vocabulary = NULL;
    TD_TRY(make_vocabulary(models, options, &vocabulary, error));
    td_status status = save_others(directory, models, error);
    if (status == TD_OK)
        return save_json(directory, "vocab.json", vocabulary, error);
    json_decref(vocabulary);
    return status;
}

td_status td_tokenizer_train_marian(const char *directory, const td_vocabulary_options *options, const td_sentences *source,
                                    const td_sentences *target, td_error *error)
{
    td_buffer models[2] = {TD_BUFFER_INIT, TD_BUFFER_INIT};
    td_status status = train_models(options, source, target, models, error);
    if (status == TD_OK)
        status = save_all(directory, options, models, error);
    td_buffer_free(&models[TD_SOURCE]);
    td_buffer_free(&models[TD_TARGET]);
    return status;
}
