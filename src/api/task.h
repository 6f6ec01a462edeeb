/* What a Whisper checkpoint is told before it writes, where single outputs are asked for: the language spoken, and the task. */
#ifndef TD_API_TASK_H
#define TD_API_TASK_H

#include "api/request.h"

/* Fills request->whisper and language where the options name a task or Whisper's language; one that the model cannot be told is an
 * error. */
td_status td_task_open(td_request *request, td_error *error);
void td_task_close(td_request *request);
/* Writes the input's prompt, its language detected where none is named; nothing where the request names no task. */
td_status td_task_begin(const td_request *request, td_search *search, td_result_input *input, td_error *error);

#endif
