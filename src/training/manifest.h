/* Whether a corpus on disk is still what building it again would give: data/NAME.json names everything it was made from. */
#ifndef TD_TRAINING_MANIFEST_H
#define TD_TRAINING_MANIFEST_H

#include "training/corpus.h"

/* Maps directory/name.* as an earlier call left them; *ret_found is false when they are absent or were made from something else: other
 * text, another vocabulary (files of `model_directory`), other limits. Text counts by path, size and time of change. */
td_status td_manifest_open(const td_corpus_options *options, const char *model_directory, const char *directory, const char *name,
                           td_corpus *ret_corpus, td_corpus_report *ret_report, bool *ret_found, td_error *error);
/* Appends what tells a file from another: path, size and time of change; nothing when there is no such file. */
void td_manifest_add_file(td_buffer *text, const char *path);
bool td_manifest_exists(const char *directory, const char *name);
/* Forgets what is there: call before building. */
td_status td_manifest_remove(const char *directory, const char *name, td_error *error);
/* Remembers a corpus just built. */
td_status td_manifest_save(const td_corpus_options *options, const char *model_directory, const char *directory, const char *name,
                           const td_corpus *corpus, const td_corpus_report *report, td_error *error);

#endif
