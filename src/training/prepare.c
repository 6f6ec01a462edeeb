#define _POSIX_C_SOURCE 200809L
#include "training/prepare.h"

#include "training/manifest.h"
#include "training/pairs.h"
#include "training/recipe_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct preparation {
    const td_recipe *recipe;
    td_prepare_report report;
    td_corpus_options train;
} preparation;

static void say(const preparation *work, const char *line)
{
    if (work->report.line)
        work->report.line(work->report.context, line, false);
}

/* In the order of writing; removed in the other order. */
static const char *const vocabulary_files[] = {
    "source.spm", "target.spm",     "spiece.model",      "sentencepiece.bpe.model", "merges.txt",
    "vocab.txt",  "tokenizer.json", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json",
    "vocab.json"};
enum { VOCABULARY_FILES = sizeof vocabulary_files / sizeof *vocabulary_files };

static td_status remove_file(const char *directory, const char *name, td_error *error)
{
    char *path = td_path_join(directory, name);
    if (!path)
        return td_fail_memory(error, strlen(directory));
    unlink(path);
    td_release(path);
    return TD_OK;
}

/* Renamed first: a run killed in the middle of this must not find half a checkpoint. */
static td_status remove_checkpoints(const char *output, td_error *error)
{
    char *checkpoints = td_path_join(output, "checkpoints"), *removed = td_path_join(output, "checkpoints.removed");
    td_status status = checkpoints && removed ? td_directory_remove(removed, error) : td_fail_memory(error, 0);
    if (status == TD_OK && td_file_exists(checkpoints) && rename(checkpoints, removed) != 0)
        status = td_fail(error, TD_ERROR_IO, "%s: cannot rename: %s", checkpoints, strerror(errno));
    if (status == TD_OK)
        status = td_directory_remove(removed, error);
    td_release(checkpoints);
    td_release(removed);
    return status;
}

static td_status forget_run(const char *output, td_error *error)
{
    td_status status = remove_checkpoints(output, error);
    for (size_t i = VOCABULARY_FILES; status == TD_OK && i-- > 0;)
        status = remove_file(output, vocabulary_files[i], error);
    if (status == TD_OK)
        status = remove_file(output, "log.jsonl", error);
    if (status == TD_OK)
        status = remove_file(output, "preprocessor_config.json", error);
    if (status == TD_OK)
        status = remove_file(output, "config.json", error);
    if (status == TD_OK)
        status = remove_file(output, "generation_config.json", error);
    return status == TD_OK ? remove_file(output, "model.safetensors", error) : status;
}

/* ---- an earlier run ---- */

/* vocab.json is written last, so its presence says that the vocabulary is whole. */
static bool has_vocabulary(const char *output)
{
    char *path = td_path_join(output, "vocab.json");
    bool found = path && td_file_exists(path);
    td_release(path);
    return found;
}

/* The key in which two recipes' vocabularies differ; NULL: none. */
static const char *changed_vocabulary(const td_recipe *before, const td_recipe *now)
{
    if (!*before->model.from != !*now->model.from)
        return "model.from";
    if (*now->model.from)
        return NULL;
    const char *key = td_recipe_difference(before, now, "data.vocabulary.from");
    return key || *now->data.vocabulary.from ? key : td_recipe_difference(before, now, "data.vocabulary.");
}

/* The key in which two recipes' models differ; the shape of one that another model starts is in no recipe. */
static const char *changed_model(const td_recipe *before, const td_recipe *now)
{
    const char *key = td_recipe_difference(before, now, "task");
    return key || *now->model.from ? key : td_recipe_difference(before, now, "model.");
}

static bool holds_weights(const char *output)
{
    char *checkpoints = td_path_join(output, "checkpoints"), *model = td_path_join(output, "model.safetensors");
    bool found = !checkpoints || !model || td_file_exists(model);
    DIR *directory = found ? NULL : opendir(checkpoints);
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));)
        found = strncmp(entry->d_name, "step-", 5) == 0;
    if (directory)
        closedir(directory);
    td_release(checkpoints);
    td_release(model);
    return found;
}

static td_status drop_changed_vocabulary(const preparation *work, const td_recipe *before, td_error *error)
{
    const char *key = changed_vocabulary(before, work->recipe);
    char line[256];
    if (!key)
        return TD_OK;
    snprintf(line, sizeof line, "%s has changed: the vocabulary is made anew", key);
    say(work, line);
    td_status status = TD_OK;
    for (size_t i = VOCABULARY_FILES; status == TD_OK && i-- > 0;)
        status = remove_file(work->recipe->output, vocabulary_files[i], error);
    return status;
}

/* What decides which pairs a step gets may change in the middle of a run, but not unsaid. */
static void say_changed_order(const preparation *work, const td_recipe *before)
{
    static const char *const keys[] = {"training.seed", "training.batch_tokens", "training.accumulation", "training.shards",
                                       "data.shuffle_window"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char line[256];
        if (!td_recipe_difference(before, work->recipe, keys[i]))
            continue;
        snprintf(line, sizeof line, "%s has changed: the run goes on from its last step with the new value (--restart begins again)",
                 keys[i]);
        say(work, line);
    }
}

/* What weights were begun with must not change; before there are any, only the vocabulary is lost. */
static td_status compare_recipes(const preparation *work, const td_recipe *before, td_error *error)
{
    const char *output = work->recipe->output, *key = changed_vocabulary(before, work->recipe);
    if (!key)
        key = changed_model(before, work->recipe);
    if (key && holds_weights(output))
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: the model in %s was begun with another value; --restart begins again with this one",
                       key, output);
    if (holds_weights(output))
        say_changed_order(work, before);
    return has_vocabulary(output) ? drop_changed_vocabulary(work, before, error) : TD_OK;
}

/* recipe.yaml in the output directory says what an earlier run was begun with. It is left as it is when that must not change. */
static td_status check_earlier_run(const preparation *work, const char *recipe_copy, td_error *error)
{
    td_recipe *before;
    td_error ignored;
    if (!td_file_exists(recipe_copy))
        return TD_OK;
    td_status status = td_recipe_load(recipe_copy, &before, &ignored);
    if (status != TD_OK) /* of another version, or not ours */
        return status == TD_ERROR_MEMORY ? td_fail_memory(error, 0) : TD_OK;
    status = compare_recipes(work, before, error);
    td_recipe_free(before);
    return status;
}

/* Files that a killed run was writing. */
static td_status remove_partial(const char *path, td_error *error)
{
    static const char ending[] = ".partial";
    DIR *directory = opendir(path);
    td_status status = TD_OK;
    for (struct dirent *entry; status == TD_OK && directory && (entry = readdir(directory));) {
        size_t length = strlen(entry->d_name);
        if (length >= sizeof ending && strcmp(entry->d_name + length - (sizeof ending - 1), ending) == 0)
            status = remove_file(path, entry->d_name, error);
    }
    if (directory)
        closedir(directory);
    return status;
}

static td_status clean_up(const char *output, td_error *error)
{
    char *data = td_path_join(output, "data");
    td_status status = data ? remove_partial(data, error) : td_fail_memory(error, 0);
    td_release(data);
    return status == TD_OK ? remove_partial(output, error) : status;
}

/* The lock is gone with the process, however it ends. */
static td_status lock_output(const char *output, int *ret_lock, td_error *error)
{
    char *path = td_path_join(output, ".lock");
    if (!path)
        return td_fail_memory(error, 0);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    td_status status = TD_OK;
    if (lock < 0)
        status = td_fail(error, TD_ERROR_IO, "%s: cannot create: %s", path, strerror(errno));
    else if (fcntl(lock, F_SETLK, &whole) != 0 && (errno == EACCES || errno == EAGAIN))
        status = td_fail(error, TD_ERROR_IO, "%s: another run is writing to this directory", output);
    td_release(path);
    if (status != TD_OK && lock >= 0)
        close(lock);
    if (status == TD_OK)
        *ret_lock = lock;
    return status;
}

static td_corpus_options corpus_options(const td_recipe *recipe, bool validation, const td_feature_reader *features,
                                        const volatile sig_atomic_t *stop)
{
    td_corpus_options options = {.files = validation ? &recipe->data.validation : &recipe->data.train,
                                 .languages = &recipe->data.languages,
                                 .source_language = recipe->data.source_language,
                                 .target_language = recipe->data.target_language,
                                 .source_key = recipe->data.keys.source,
                                 .target_key = recipe->data.keys.target,
                                 .max_source_length = (size_t)recipe->data.max_source_length,
                                 .max_target_length = (size_t)recipe->data.max_target_length,
                                 .max_length_ratio = validation ? 0 : recipe->data.max_length_ratio,
                                 .cut_sources = recipe->data.truncate_source,
                                 .copy = recipe->model.copy,
                                 .keep_text =
                                     validation || recipe->data.bpe_dropout > 0 || recipe->training.minimum_risk.weight > 0 || features,
                                 .features = features,
                                 .folder = recipe->data.folder,
                                 .watch.stop = stop};
    if (recipe->data.audio.speed_perturbation && features && !validation) {
        static const double speeds[] = {1, 0.9, 1.1};
        memcpy(options.speeds, speeds, sizeof speeds);
        options.speed_count = sizeof speeds / sizeof *speeds;
    }
    return options;
}

static td_status copy_file(const char *from, const char *to, const char *name, td_error *error)
{
    char *source = td_path_join(from, name), *target = td_path_join(to, name);
    td_buffer bytes = TD_BUFFER_INIT;
    td_status status = source && target ? TD_OK : td_fail_memory(error, 0);
    if (status == TD_OK && td_file_exists(source)) {
        status = td_file_read(source, 0, &bytes, error);
        if (status == TD_OK)
            status = td_file_write(target, bytes.data, bytes.length, error);
    }
    td_buffer_free(&bytes);
    td_release(source);
    td_release(target);
    return status;
}

/* Some tokenizers are known by config.json's "model_type" alone. A run that goes on keeps its own. */
static td_status copy_configuration(const char *from, const char *to, td_error *error)
{
    char *path = td_path_join(to, "config.json");
    if (!path)
        return td_fail_memory(error, strlen(to));
    bool there = td_file_exists(path);
    td_release(path);
    return there ? TD_OK : copy_file(from, to, "config.json", error);
}

static td_status copy_vocabulary(const char *from, const char *to, td_error *error)
{
    if (!td_file_exists(from))
        return td_fail(error, TD_ERROR_IO, "%s: there is no such model directory", from);
    td_status status = copy_configuration(from, to, error);
    for (size_t i = 0; status == TD_OK && i < VOCABULARY_FILES; i++)
        status = copy_file(from, to, vocabulary_files[i], error);
    return status;
}

/* Languages without repetition, for the vocabulary's ">>xx<<" tokens. */
static size_t distinct_languages(const td_string_list *list, const char **ret_names, size_t limit)
{
    size_t count = 0;
    for (size_t i = 0; i < list->count && count < limit; i++) {
        bool seen = false;
        for (size_t k = 0; k < count; k++)
            seen |= strcmp(ret_names[k], list->items[i]) == 0;
        if (!seen)
            ret_names[count++] = list->items[i];
    }
    return count;
}

/* Counted for every vocabulary: reading text is quick beside learning pieces of it. */
static td_status thin_out(const preparation *work, td_corpus_text *source, td_corpus_text *target, td_error *error)
{
    td_pairs *pairs;
    td_text_pair pair;
    uint64_t total = 0, keep = (uint64_t)work->recipe->data.vocabulary.max_sentences;
    if (work->recipe->data.vocabulary.shared)
        keep = (keep + 1) / 2; /* of each side */
    TD_TRY(td_pairs_open(&work->train, &pairs, error));
    td_status status;
    while ((status = td_pairs_next(pairs, &pair, error)) == TD_OK && pair.source)
        total++;
    td_pairs_close(pairs);
    td_corpus_text_thin_out(source, total, keep);
    td_corpus_text_thin_out(target, total, keep);
    return status;
}

static td_status train_vocabulary(const preparation *work, td_error *error)
{
    const td_recipe *recipe = work->recipe;
    const char *languages[256];
    td_vocabulary_options options = TD_VOCABULARY_OPTIONS_INIT;
    options.kind = td_recipe_choice("data.vocabulary.kind", recipe->data.vocabulary.kind);
    options.size = (size_t)recipe->data.vocabulary.size;
    options.shared = recipe->data.vocabulary.shared;
    options.normalization = td_recipe_choice("data.vocabulary.normalization", recipe->data.vocabulary.normalization);
    options.character_coverage = recipe->data.vocabulary.character_coverage;
    options.byte_fallback = recipe->data.vocabulary.byte_fallback;
    options.languages = languages;
    options.language_count = distinct_languages(&recipe->data.languages, languages, 256);
    td_corpus_text *source = NULL, *target = NULL;
    bool text = td_recipe_reads_text(recipe); /* else both sides of a shared vocabulary are the targets */
    td_status status = td_corpus_text_open(&work->train, text, !text, &source, error);
    if (status == TD_OK)
        status = td_corpus_text_open(&work->train, false, true, &target, error);
    if (status == TD_OK)
        status = thin_out(work, source, target, error);
    if (status == TD_OK) {
        td_sentences source_text = td_corpus_text_sentences(source), target_text = td_corpus_text_sentences(target);
        say(work, "training the vocabulary");
        options.stop = work->report.stop;
        status = td_tokenizer_train_marian(recipe->output, &options, &source_text, &target_text, error);
        if (status == TD_ERROR_CANCELLED)
            td_fail(error, status, "stopped while training the vocabulary; the same command begins it again");
    }
    td_corpus_text_close(source);
    td_corpus_text_close(target);
    return status;
}

/* Languages go into the texts of a Marian model; elsewhere the tokenizer knows one pair of them. */
static td_status set_languages(const td_recipe *recipe, td_tokenizer *tokenizer, td_error *error)
{
    const td_string_list *list = &recipe->data.languages;
    const char *source = recipe->data.source_language, *target = recipe->data.target_language;
    td_language_use use = td_tokenizer_language_use(tokenizer);
    if (list->count && use != TD_LANGUAGE_IN_SOURCE && use != TD_LANGUAGE_UNUSED) {
        for (size_t i = 1; i < list->count; i++)
            if (strcmp(list->items[i], list->items[0]) != 0)
                return td_fail(error, TD_ERROR_UNSUPPORTED,
                               "data.languages: a %s tokenizer writes one language in a run; train for %s and %s in turns",
                               td_tokenizer_kind_name(tokenizer), list->items[0], list->items[i]);
        target = list->items[0];
    }
    if (!*source && !*target)
        return TD_OK;
    if (td_tokenizer_set_languages(tokenizer, *source ? source : NULL, *target ? target : NULL, error) != TD_OK)
        return td_error_prefix(error, *target ? "data.target_language" : "data.source_language");
    return TD_OK;
}

static td_status set_up_vocabulary(const preparation *work, td_error *error)
{
    const td_recipe *recipe = work->recipe;
    if (has_vocabulary(recipe->output))
        return TD_OK;
    if (*recipe->model.from)
        return copy_vocabulary(recipe->model.from, recipe->output, error);
    if (*recipe->data.vocabulary.from)
        return copy_vocabulary(recipe->data.vocabulary.from, recipe->output, error);
    return train_vocabulary(work, error);
}

/* ---- progress ---- */

typedef struct progress_line {
    const preparation *work;
    const char *name;
} progress_line;

/* 1234567 -> "1,234,567" */
static void format_count(uint64_t count, char *ret_text, size_t size)
{
    char digits[24];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, count), to = 0;
    for (size_t i = 0; i < length && to + 2 < size; i++) {
        if (i && (length - i) % 3 == 0)
            ret_text[to++] = ',';
        ret_text[to++] = digits[i];
    }
    ret_text[to] = 0;
}

static void show_progress(void *context, uint64_t read)
{
    const progress_line *it = context;
    const td_prepare_report *report = &it->work->report;
    char line[160], count[32];
    format_count(read, count, sizeof count);
    snprintf(line, sizeof line, "%s: %s %s read", it->name, count, it->work->train.features ? "files" : "pairs");
    if (report->line)
        report->line(report->context, line, true);
}

static td_status build_anew(const preparation *work, const td_corpus_options *options, const td_tokenizer *tokenizer, const char *directory,
                            const char *name, td_corpus *ret_corpus, td_corpus_report *ret_report, td_error *error)
{
    td_corpus corpus;
    TD_TRY(td_manifest_remove(directory, name, error));
    progress_line progress = {work, name};
    td_corpus_options watched = *options;
    watched.watch.progress = show_progress;
    watched.watch.context = &progress;
    TD_TRY(td_corpus_build(&watched, tokenizer, directory, name, &corpus, ret_report, error));
    td_status status = td_manifest_save(options, work->recipe->output, directory, name, &corpus, ret_report, error);
    if (status == TD_OK)
        *ret_corpus = corpus;
    else
        td_corpus_close(&corpus);
    return status;
}

static td_status build_corpus(const preparation *work, const td_corpus_options *options, const td_tokenizer *tokenizer, const char *name,
                              td_corpus *ret_corpus, td_error *error)
{
    td_corpus_report report;
    bool found = false;
    char *directory = td_path_join(work->recipe->output, "data");
    td_status status = directory ? td_directory_create(directory, error) : td_fail_memory(error, 0);
    bool before = status == TD_OK && td_manifest_exists(directory, name) && holds_weights(work->recipe->output);
    if (status == TD_OK)
        status = td_manifest_open(options, work->recipe->output, directory, name, ret_corpus, &report, &found, error);
    if (status == TD_OK && !found)
        status = build_anew(work, options, tokenizer, directory, name, ret_corpus, &report, error);
    td_release(directory);
    TD_TRY(status);
    char line[512];
    if (before && !found) {
        snprintf(line, sizeof line,
                 "%s: the files are not those of the run so far (by path, size and time): it goes on from its last step with these "
                 "(--restart begins again)",
                 name);
        say(work, line);
    }
    snprintf(line, sizeof line,
             "%s: %" PRIu64 " pairs of %" PRIu64 " kept, %" PRIu64 " source and %" PRIu64 " target tokens (left out: %" PRIu64
             " empty, %" PRIu64 " too long, %" PRIu64 " of unlike length)",
             name, report.kept, report.read, ret_corpus->source_tokens, ret_corpus->target_tokens, report.empty, report.too_long,
             report.bad_ratio);
    say(work, line);
    if (report.cut) {
        snprintf(line, sizeof line, "%s: %" PRIu64 " sources cut to %zu tokens", name, report.cut, options->max_source_length);
        say(work, line);
    }
    return TD_OK;
}

static td_status build_corpora(const preparation *work, td_prepared *prepared, td_error *error)
{
    TD_TRY(build_corpus(work, &work->train, prepared->tokenizer, "train", &prepared->train, error));
    if (!work->recipe->data.validation.source.count)
        return TD_OK;
    td_corpus_options options = corpus_options(work->recipe, true, work->train.features, work->report.stop);
    TD_TRY(build_corpus(work, &options, prepared->tokenizer, "validation", &prepared->validation, error));
    prepared->has_validation = true;
    return prepared->validation.count ? TD_OK : td_fail(error, TD_ERROR_ARGUMENT, "the validation corpus holds no usable pair");
}

td_status td_prepare_vocabulary(const td_recipe *recipe, bool restart, td_prepare_report report, td_prepared *ret_prepared, td_error *error)
{
    preparation work = {recipe, report, corpus_options(recipe, false, NULL, report.stop)};
    td_prepared prepared = {.lock = -1};
    TD_TRY(td_directory_create(recipe->output, error));
    TD_TRY(lock_output(recipe->output, &prepared.lock, error));
    td_status status = clean_up(recipe->output, error);
    if (status == TD_OK && restart)
        status = forget_run(recipe->output, error);
    char *copy = td_path_join(recipe->output, "recipe.yaml");
    if (status == TD_OK && !copy)
        status = td_fail_memory(error, 0);
    if (status == TD_OK)
        status = check_earlier_run(&work, copy, error);
    if (status == TD_OK)
        status = td_recipe_write(recipe, copy, error);
    td_release(copy);
    if (status == TD_OK)
        status = set_up_vocabulary(&work, error);
    if (status == TD_OK)
        status = td_tokenizer_open(recipe->output, &prepared.tokenizer, error);
    if (status == TD_OK)
        status = set_languages(recipe, prepared.tokenizer, error);
    if (status == TD_OK)
        *ret_prepared = prepared;
    else
        td_prepared_free(&prepared);
    return status;
}

td_status td_prepare_corpora(const td_recipe *recipe, const td_feature_reader *features, td_prepare_report report, td_prepared *prepared,
                             td_error *error)
{
    preparation work = {recipe, report, corpus_options(recipe, false, features, report.stop)};
    return build_corpora(&work, prepared, error);
}

void td_prepared_free(td_prepared *prepared)
{
    td_corpus_close(&prepared->train);
    td_corpus_close(&prepared->validation);
    td_tokenizer_free(prepared->tokenizer);
    if (prepared->lock >= 0)
        close(prepared->lock);
    *prepared = (td_prepared){.lock = -1};
}
