#include "audio/settings.h"

#include "io/json.h"

static td_status read_count(const td_setting *row, const json_t *config, const char *file, td_error *error)
{
    int64_t value;
    TD_TRY(td_json_get_integer(config, file, row->key, (int64_t)row->fallback, &value, error));
    if ((double)value < row->low || (double)value > row->high)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": %lld is not supported (%g to %g)", file, row->key, (long long)value,
                       row->low, row->high);
    *row->count = (size_t)value;
    return TD_OK;
}

td_status td_settings_read(const td_setting *rows, const json_t *config, const char *file, td_error *error)
{
    for (const td_setting *row = rows; row->key; row++) {
        if (row->count) {
            TD_TRY(read_count(row, config, file, error));
            continue;
        }
        double value;
        TD_TRY(td_json_get_real(config, file, row->key, row->fallback, &value, error));
        if (!(value >= row->low && value <= row->high))
            return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": %g is not supported (%g to %g)", file, row->key, value, row->low,
                           row->high);
        *row->real = value;
    }
    return TD_OK;
}
