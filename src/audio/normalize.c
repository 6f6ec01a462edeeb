#include "audio/normalize.h"

#include <math.h>
#include <string.h>

void td_normalize_utterance(td_features *features, bool means, bool deviations)
{
    for (size_t column = 0; column < features->width; column++) {
        float *data = features->data + column;
        double mean = 0.0, variance = 0.0;
        for (size_t row = 0; row < features->rows; row++)
            mean += (double)data[row * features->width];
        mean /= (double)features->rows;
        for (size_t row = 0; row < features->rows; row++) {
            double difference = (double)data[row * features->width] - mean;
            variance += difference * difference;
        }
        double deviation = sqrt(variance / (double)features->rows);
        /* Below the rounding of the values themselves there is nothing to be scaled up. */
        double scale = !deviations ? 1.0 : deviation > 1e-6 * (1.0 + fabs(mean)) ? 1.0 / deviation : 0.0;
        for (size_t row = 0; row < features->rows; row++)
            data[row * features->width] = (float)(((double)data[row * features->width] - (means ? mean : 0.0)) * scale);
    }
}

void td_normalize_global(td_features *features, const float *mean, const float *deviation)
{
    for (size_t row = 0; row < features->rows; row++)
        for (size_t column = 0; column < features->width; column++) {
            float *value = features->data + row * features->width + column;
            *value = (*value - mean[column]) / deviation[column];
        }
}

/* Column block `from` -> block `to` of rows of 3 `width` values: sum over n = 1, 2 of n (x[t + n] - x[t - n]) / 10 */
static void difference(float *data, size_t rows, size_t width, size_t from, size_t to)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < width; column++) {
            double sum = 0.0;
            for (size_t n = 1; n <= 2; n++) {
                size_t after = row + n < rows ? row + n : rows - 1, before = row > n ? row - n : 0;
                sum += (double)n * ((double)data[(after * 3 + from) * width + column] - (double)data[(before * 3 + from) * width + column]);
            }
            data[(row * 3 + to) * width + column] = (float)(sum / 10.0);
        }
}

td_status td_append_deltas(td_features *features, td_error *error)
{
    size_t rows = features->rows, width = features->width;
    float *data = td_allocate_array(rows, 3 * width * sizeof *data);
    if (!data)
        return td_fail_memory(error, rows * 3 * width * sizeof *data);
    for (size_t row = 0; row < rows; row++)
        memcpy(data + row * 3 * width, features->data + row * width, width * sizeof *data);
    difference(data, rows, width, 0, 1);
    difference(data, rows, width, 1, 2);
    td_release(features->data);
    *features = (td_features){data, rows, 3 * width};
    return TD_OK;
}
