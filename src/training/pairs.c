#include "training/pairs.h"

#include "io/json.h"
#include "training/lines.h"

#include <string.h>

struct td_pairs {
    const td_corpus_options *options;
    size_t corpus;
    td_lines *source, *target; /* target NULL: source holds both sides */
    json_t *object;            /* of the present jsonl line */
};

static bool has_ending(const char *path, const char *ending)
{
    size_t length = strlen(path), wanted = strlen(ending);
    if (length > 3 && strcmp(path + length - 3, ".gz") == 0)
        length -= 3;
    return length > wanted && strncmp(path + length - wanted, ending, wanted) == 0;
}

static bool is_jsonl(const char *path)
{
    return has_ending(path, ".jsonl");
}

/* Both sides in one file. */
static bool is_paired(const char *path)
{
    return is_jsonl(path) || has_ending(path, ".tsv");
}

td_status td_pairs_open(const td_corpus_options *options, td_pairs **ret_pairs, td_error *error)
{
    td_pairs *pairs = td_allocate_array(1, sizeof *pairs);
    if (!pairs)
        return td_fail_memory(error, sizeof *pairs);
    pairs->options = options;
    *ret_pairs = pairs;
    return TD_OK;
}

static void close_files(td_pairs *pairs)
{
    td_lines_close(pairs->source);
    td_lines_close(pairs->target);
    json_decref(pairs->object);
    pairs->source = pairs->target = NULL;
    pairs->object = NULL;
}

void td_pairs_close(td_pairs *pairs)
{
    if (pairs)
        close_files(pairs);
    td_release(pairs);
}

td_status td_pairs_where(const td_pairs *pairs, td_error *error)
{
    return td_error_prefix(error, "%s:%zu", td_lines_path(pairs->source), td_lines_number(pairs->source));
}

char *td_source_path(const td_corpus_options *options, const td_text_pair *pair)
{
    if (*pair->source == '/')
        return td_copy_string(pair->source);
    if (*options->folder)
        return td_path_join(options->folder, pair->source);
    td_buffer path = TD_BUFFER_INIT;
    const char *list = options->files->source.items[pair->corpus], *slash = strrchr(list, '/');
    td_buffer_append(&path, list, slash ? (size_t)(slash - list) + 1 : 0);
    td_buffer_text_append(&path, pair->source);
    if (td_buffer_ok(&path))
        return path.data;
    td_buffer_free(&path);
    return NULL;
}

static td_status open_files(td_pairs *pairs, td_error *error)
{
    const td_recipe_corpus *files = pairs->options->files;
    const char *source = files->source.items[pairs->corpus];
    bool paired = is_paired(source) && (pairs->corpus >= files->target.count || strcmp(files->target.items[pairs->corpus], source) == 0);
    if (!paired && pairs->corpus >= files->target.count)
        return td_fail(error, TD_ERROR_ARGUMENT, "%s: no file of targets goes with it", source);
    TD_TRY(td_lines_open(source, &pairs->source, error));
    return paired ? TD_OK : td_lines_open(files->target.items[pairs->corpus], &pairs->target, error);
}

static td_status jsonl_text(td_pairs *pairs, const char *key, const char **ret_text, size_t *ret_bytes, td_error *error)
{
    const json_t *value = json_object_get(pairs->object, key);
    if (!json_is_string(value))
        return td_fail(error, TD_ERROR_FORMAT, "%s:%zu: no string under the key \"%s\" (data.keys names the keys)",
                       td_lines_path(pairs->source), td_lines_number(pairs->source), key);
    *ret_text = json_string_value(value);
    *ret_bytes = json_string_length(value);
    return TD_OK;
}

static td_status next_jsonl(td_pairs *pairs, td_text_pair *pair, td_error *error)
{
    const char *line;
    size_t length;
    TD_TRY(td_lines_next(pairs->source, &line, &length, error));
    if (!line)
        return TD_OK;
    json_decref(pairs->object);
    pairs->object = NULL;
    json_error_t problem;
    pairs->object = json_loadb(line, length, 0, &problem);
    if (!json_is_object(pairs->object))
        return td_fail(error, TD_ERROR_FORMAT, "%s:%zu: not a JSON object: %s", td_lines_path(pairs->source),
                       td_lines_number(pairs->source), pairs->object ? "another value" : problem.text);
    TD_TRY(jsonl_text(pairs, pairs->options->source_key, &pair->source, &pair->source_bytes, error));
    return jsonl_text(pairs, pairs->options->target_key, &pair->target, &pair->target_bytes, error);
}

static td_status next_tsv(td_pairs *pairs, td_text_pair *pair, td_error *error)
{
    const char *line;
    size_t length;
    TD_TRY(td_lines_next(pairs->source, &line, &length, error));
    if (!line)
        return TD_OK;
    const char *tab = memchr(line, '\t', length);
    if (!tab)
        return td_fail(error, TD_ERROR_FORMAT, "%s:%zu: no tab; a line is source, tab, target", td_lines_path(pairs->source),
                       td_lines_number(pairs->source));
    pair->source = line;
    pair->source_bytes = (size_t)(tab - line);
    pair->target = tab + 1;
    pair->target_bytes = length - pair->source_bytes - 1;
    return TD_OK;
}

/* Lines that are only counted may be malformed. */
static size_t count_rest(td_lines *lines)
{
    const char *line;
    size_t length;
    td_status status;
    do
        status = td_lines_next(lines, &line, &length, NULL);
    while (status == TD_ERROR_FORMAT || (status == TD_OK && line));
    return td_lines_number(lines);
}

static td_status next_lines(td_pairs *pairs, td_text_pair *pair, td_error *error)
{
    TD_TRY(td_lines_next(pairs->source, &pair->source, &pair->source_bytes, error));
    TD_TRY(td_lines_next(pairs->target, &pair->target, &pair->target_bytes, error));
    if (!pair->source == !pair->target)
        return TD_OK;
    size_t source = count_rest(pairs->source), target = count_rest(pairs->target);
    return td_fail(error, TD_ERROR_FORMAT, "%s has %zu lines and %s has %zu: parallel files need the same number",
                   td_lines_path(pairs->source), source, td_lines_path(pairs->target), target);
}

td_status td_pairs_stop(td_error *error)
{
    return td_fail(error, TD_ERROR_CANCELLED, "stopped while reading the data; the same command reads it again");
}

td_status td_pairs_next(td_pairs *pairs, td_text_pair *ret_pair, td_error *error)
{
    td_text_pair pair = {0};
    if (td_corpus_stopped(&pairs->options->watch))
        return td_pairs_stop(error);
    while (pairs->corpus < pairs->options->files->source.count) {
        if (!pairs->source)
            TD_TRY(open_files(pairs, error));
        bool jsonl = !pairs->target && is_jsonl(td_lines_path(pairs->source));
        TD_TRY((pairs->target ? next_lines : jsonl ? next_jsonl : next_tsv)(pairs, &pair, error));
        if (pair.source)
            break;
        close_files(pairs);
        pairs->corpus++;
    }
    pair.corpus = pairs->corpus;
    *ret_pair = pair;
    return TD_OK;
}

/* ---- text alone, for vocabulary training ---- */

struct td_corpus_text {
    td_pairs *pairs;
    bool source, target, pending;
    td_text_pair pair;
    uint64_t total, keep, passed; /* total 0: all */
};

td_status td_corpus_text_open(const td_corpus_options *options, bool source, bool target, td_corpus_text **ret_text, td_error *error)
{
    td_corpus_text *text = td_allocate_array(1, sizeof *text);
    if (!text)
        return td_fail_memory(error, sizeof *text);
    text->source = source;
    text->target = target;
    td_status status = td_pairs_open(options, &text->pairs, error);
    if (status != TD_OK) {
        td_release(text);
        return status;
    }
    *ret_text = text;
    return TD_OK;
}

void td_corpus_text_close(td_corpus_text *text)
{
    if (text)
        td_pairs_close(text->pairs);
    td_release(text);
}

void td_corpus_text_thin_out(td_corpus_text *text, uint64_t total, uint64_t keep)
{
    text->total = keep < total ? total : 0;
    text->keep = keep;
}

/* The next pair that is taken: of every total / keep one. */
static td_status next_taken(td_corpus_text *text, td_error *error)
{
    bool taken = false;
    while (!taken) {
        TD_TRY(td_pairs_next(text->pairs, &text->pair, error));
        uint64_t number = text->passed++;
        taken = !text->pair.source || !text->total ||
                (unsigned __int128)(number + 1) * text->keep / text->total > (unsigned __int128)number * text->keep / text->total;
    }
    return TD_OK;
}

static td_status next_sentence(void *context, const char **ret_text, size_t *ret_length, td_error *error)
{
    td_corpus_text *text = context;
    if (!text->pending) {
        TD_TRY(next_taken(text, error));
        if (text->source && text->target)
            text->pending = true;
        if (text->source || !text->pair.source) {
            *ret_text = text->pair.source;
            *ret_length = text->pair.source_bytes;
            return TD_OK;
        }
    }
    text->pending = false;
    *ret_text = text->pair.target;
    *ret_length = text->pair.target_bytes;
    return TD_OK;
}

td_sentences td_corpus_text_sentences(td_corpus_text *text)
{
    return (td_sentences){next_sentence, text};
}
