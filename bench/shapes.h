/* Models of the sizes that people run, with random weights: speed and memory need no trained ones. */
#ifndef TANDEM_BENCH_SHAPES_H
#define TANDEM_BENCH_SHAPES_H

#include <base/error.h>
#include <stddef.h>

/* By name: opus, tiny, gru, whisper-base, t5-small, vit-gpt2, donut, nllb-600m, or growth-N with N words. config.json as text, or NULL. */
const char *bench_shape_config(const char *name);
/* Writes the directory of a shape, its weights as F32, F16 or BF16, in so many files. They are made as they are written: no more
 * than a block of them is in memory. */
td_status bench_shape_write(const char *directory, const char *name, const char *dtype, size_t shards, td_error *error);

#endif
