/* A vocabulary from text files. */
#include "tandem/tools.h"
#include "text/tokenizer.h"
#include "training/lines.h"

#include <string.h>

/* Files one after the other. */
typedef struct td_file_sentences {
    const char *const *paths;
    size_t count, next;
    td_lines *lines;
} td_file_sentences;

static td_status next_sentence(void *context, const char **ret_text, size_t *ret_length, td_error *error)
{
    td_file_sentences *files = context;
    for (;;) {
        if (!files->lines) {
            *ret_text = NULL;
            if (files->next == files->count)
                return TD_OK;
            TD_TRY(td_lines_open(files->paths[files->next++], &files->lines, error));
        }
        TD_TRY(td_lines_next(files->lines, ret_text, ret_length, error));
        if (*ret_text)
            return TD_OK;
        td_lines_close(files->lines);
        files->lines = NULL;
    }
}

static td_vocabulary_options options_of(const td_vocabulary_request *request)
{
    td_vocabulary_request given = TD_VOCABULARY_REQUEST_INIT;
    if (request)
        memcpy(&given, request, request->struct_size < sizeof given ? request->struct_size : sizeof given);
    return (td_vocabulary_options){.kind = given.kind,
                                   .size = given.size,
                                   .shared = given.shared,
                                   .normalization = given.normalization,
                                   .character_coverage = given.character_coverage,
                                   .byte_fallback = given.byte_fallback,
                                   .languages = given.languages,
                                   .language_count = given.language_count};
}

td_status td_vocabulary_train(const td_vocabulary_request *request, const char *const *sources, size_t source_count,
                              const char *const *targets, size_t target_count, const char *directory, td_error *error)
{
    if (!sources || source_count == 0 || !targets || target_count == 0 || !directory)
        return td_fail(error, TD_ERROR_ARGUMENT, "a vocabulary needs at least one source file, one target file and a directory");
    td_vocabulary_options options = options_of(request);
    td_file_sentences source_files = {sources, source_count, 0, NULL}, target_files = {targets, target_count, 0, NULL};
    td_sentences source = {next_sentence, &source_files}, target = {next_sentence, &target_files};
    td_status status = td_tokenizer_train_marian(directory, &options, &source, &target, error);
    td_lines_close(source_files.lines);
    td_lines_close(target_files.lines);
    return status;
}
