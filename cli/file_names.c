#include "file_names.h"

#include "line_stream.h"

#include <stdlib.h>

enum { TOGETHER = 256 };

static int each_listed(const file_names *names, int (*answer)(void *, const char *const *, size_t), void *context, bool *failed)
{
    line_stream lines;
    stream_line line;
    stream_read outcome = STREAM_END;
    int code = -1;
    if (!line_stream_open(&lines, &names->list, 1, names->stop))
        return cli_complain(names->command, CLI_FAILED, "out of memory");
    do {
        char *kept[TOGETHER];
        const char *named[TOGETHER];
        size_t count = 0, named_count = 0;
        while (count < TOGETHER && (outcome = line_stream_next(&lines, &line)) == STREAM_LINE) {
            kept[count++] = line.text;
            if (*line.text)
                named[named_count++] = line.text;
        }
        *failed |= outcome == STREAM_FAILED;
        code = named_count ? answer(context, named, named_count) : -1;
        for (size_t i = 0; i < count; i++)
            free(kept[i]);
    } while (code < 0 && outcome == STREAM_LINE && !*names->stop);
    line_stream_close(&lines);
    return code;
}

int file_names_each(const file_names *names, int (*answer)(void *context, const char *const *names, size_t count), void *context, bool *failed)
{
    if (names->list)
        return each_listed(names, answer, context, failed);
    int code = -1;
    for (int i = 0; i < names->count && code < 0; i += TOGETHER) {
        const char *named[TOGETHER];
        size_t count = 0;
        for (; count < TOGETHER && i + (int)count < names->count; count++)
            named[count] = names->names[i + (int)count];
        code = answer(context, named, count);
    }
    return code;
}
