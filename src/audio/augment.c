#include "audio/augment.h"

#include "audio/sound.h"

#include <math.h>

/* A width of 0 ... largest, then a start where it fits into `extent`. */
static size_t draw_mask(td_random *random, size_t largest, size_t extent, size_t *ret_start)
{
    size_t width = (size_t)td_random_below(random, (uint64_t)(largest < extent ? largest : extent) + 1);
    *ret_start = (size_t)td_random_below(random, (uint64_t)(extent - width) + 1);
    return width;
}

static void column_means(const td_features *features, float *means)
{
    for (size_t column = 0; column < features->width; column++) {
        double sum = 0.0;
        for (size_t row = 0; row < features->rows; row++)
            sum += (double)features->data[row * features->width + column];
        means[column] = (float)(sum / (double)features->rows);
    }
}

static void fill(td_features *features, size_t row_start, size_t rows, size_t column_start, size_t columns, const float *values)
{
    for (size_t row = row_start; row < row_start + rows; row++)
        for (size_t column = column_start; column < column_start + columns; column++)
            features->data[row * features->width + column] = values[column];
}

td_status td_mask_features(const td_mask_policy *policy, td_random *random, td_features *features, td_error *error)
{
    float *values = td_allocate_array(features->width, sizeof *values);
    if (!values)
        return td_fail_memory(error, features->width * sizeof *values);
    if (policy->fill_mean)
        column_means(features, values);
    size_t widest = policy->time_width, start;
    if (policy->time_fraction > 0.0 && policy->time_fraction < 1.0 && (double)features->rows * policy->time_fraction < (double)widest)
        widest = (size_t)((double)features->rows * policy->time_fraction);
    for (size_t i = 0; i < policy->time_masks; i++) {
        size_t width = draw_mask(random, widest, features->rows, &start);
        fill(features, start, width, 0, features->width, values);
    }
    for (size_t i = 0; i < policy->frequency_masks; i++) {
        size_t width = draw_mask(random, policy->frequency_width, features->width, &start);
        fill(features, 0, features->rows, start, width, values);
    }
    td_release(values);
    return TD_OK;
}

static td_status check_factor(double factor, td_error *error)
{
    if (factor >= 0.25 && factor <= 4.0)
        return TD_OK;
    return td_fail(error, TD_ERROR_ARGUMENT, "a speed of %g; it must be 0.25 to 4", factor);
}

td_status td_speed_samples(const float *samples, size_t count, double factor, float **ret_samples, size_t *ret_count, td_error *error)
{
    TD_TRY(check_factor(factor, error));
    return td_sound_resample(samples, count, factor, 1.0, ret_samples, ret_count, error);
}

td_status td_speed_features(td_features *features, double factor, td_error *error)
{
    TD_TRY(check_factor(factor, error));
    size_t rows = (size_t)lround((double)features->rows / factor), width = features->width;
    rows = rows ? rows : 1;
    float *data = td_allocate_array(rows, width * sizeof *data);
    if (!data)
        return td_fail_memory(error, rows * width * sizeof *data);
    for (size_t row = 0; row < rows; row++) {
        double at = fmin((double)row * factor, (double)(features->rows - 1));
        size_t before = (size_t)at, after = before + 1 < features->rows ? before + 1 : before;
        float part = (float)(at - (double)before);
        for (size_t column = 0; column < width; column++) {
            float left = features->data[before * width + column], right = features->data[after * width + column];
            data[row * width + column] = left + part * (right - left);
        }
    }
    td_release(features->data);
    *features = (td_features){data, rows, width};
    return TD_OK;
}
