/* Packing, and the choice of the table of products. */
#include "kernels/packed.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static uint16_t rounded(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static float widened(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static const struct {
    size_t size, group, step; /* bytes an element, inputs side by side, inputs a product takes at once */
} layouts[TD_PRECISIONS] = {{4, 1, 1}, {2, 2, 32}, {1, 4, 64}};

static size_t depth_of(td_precision precision, size_t inputs)
{
    size_t step = layouts[precision].step;
    return (inputs + step - 1) / step * step;
}

size_t td_packed_size(td_precision precision, size_t outputs, size_t inputs)
{
    size_t width = (outputs + TD_PANEL - 1) / TD_PANEL * TD_PANEL, depth = depth_of(precision, inputs), bytes;
    size_t sums = precision == TD_INT8 ? sizeof(float) + sizeof(int32_t) : 0; /* of an output */
    if (width < outputs || depth < inputs || td_multiply_overflows(depth, layouts[precision].size, &bytes) ||
        td_add_overflows(bytes, sums, &bytes) || td_multiply_overflows(bytes, width, &bytes))
        return SIZE_MAX;
    return bytes;
}

td_status td_packed_new(td_precision precision, size_t outputs, size_t inputs, td_packed **ret_packed, td_error *error)
{
    return td_packed_new_in(NULL, precision, outputs, inputs, ret_packed, error);
}

td_status td_packed_new_in(void *memory, td_precision precision, size_t outputs, size_t inputs, td_packed **ret_packed, td_error *error)
{
    size_t bytes = td_packed_size(precision, outputs, inputs);
    void *owned = memory || bytes == SIZE_MAX ? NULL : td_allocate_aligned(bytes);
    td_packed *packed = memory || owned ? td_allocate_array(1, sizeof *packed) : NULL;
    if (!packed) {
        td_release_aligned(owned);
        return td_fail_memory(error, bytes);
    }
    *packed =
        (td_packed){.precision = precision, .outputs = outputs, .inputs = inputs, .depth = depth_of(precision, inputs), .owned = owned};
    packed->data = memory ? memory : owned;
    if (precision == TD_INT8) {
        size_t width = td_packed_panels(packed) * TD_PANEL;
        packed->scales = (float *)(void *)((char *)packed->data + width * packed->depth);
        packed->offsets = (int32_t *)(void *)(packed->scales + width);
    }
    *ret_packed = packed;
    return TD_OK;
}

void td_packed_free(td_packed *packed)
{
    if (packed)
        td_release_aligned(packed->owned);
    td_release(packed);
}

/* Where input `input` of output `output` lies. */
static size_t place(const td_packed *packed, size_t output, size_t input)
{
    size_t group = layouts[packed->precision].group;
    return output / TD_PANEL * TD_PANEL * packed->depth + (input / group * TD_PANEL + output % TD_PANEL) * group + input % group;
}

/* Groups of four inputs of `count` outputs to their places, a cache line of each output at a time. */
static void move_groups(td_packed *packed, size_t first, size_t count, const int8_t *values)
{
    enum { GROUP = 4, TOGETHER = 16 };
    int8_t *panel = (int8_t *)packed->data + first * packed->depth;
    size_t groups = packed->inputs / GROUP;
    for (size_t start = 0; start < groups; start += TOGETHER)
        for (size_t i = 0; i < count; i++) {
            const int8_t *row = values + i * packed->inputs;
            for (size_t group = start; group < groups && group < start + TOGETHER; group++)
                memcpy(panel + (group * TD_PANEL + i) * GROUP, row + group * GROUP, GROUP);
        }
    for (size_t i = 0; i < count; i++)
        for (size_t k = groups * GROUP; k < packed->inputs; k++)
            ((int8_t *)packed->data)[place(packed, first + i, k)] = values[i * packed->inputs + k];
}

/* What is not finite makes the scale NaN, so that it shows in the results. */
static float scale_of(const float *values, size_t count)
{
    float largest = 0, finite = 0;
    for (size_t i = 0; i < count; i++) {
        float size = fabsf(values[i]);
        largest = size > largest ? size : largest;
        finite += values[i] * 0;
    }
    return largest / TD_INT8_LIMIT + finite;
}

static int8_t integer_of(float value, float inverse)
{
    long integer = inverse > 0 ? lrintf(value * inverse) : 0;
    return (int8_t)(integer > TD_INT8_LIMIT ? TD_INT8_LIMIT : integer < -TD_INT8_LIMIT ? -TD_INT8_LIMIT : integer);
}

float td_quantise_weights(const float *values, size_t count, int8_t *ret_integers)
{
    float scale = scale_of(values, count), inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < count; i++)
        ret_integers[i] = integer_of(values[i], inverse);
    return scale;
}

static void quantise_output(td_packed *packed, size_t output, const float *values)
{
    int8_t *data = packed->data;
    float scale = scale_of(values, packed->inputs), inverse = scale > 0 ? 1 / scale : 0;
    int32_t sum = 0;
    for (size_t i = 0; i < packed->inputs; i++) {
        int8_t value = integer_of(values[i], inverse);
        data[place(packed, output, i)] = value;
        sum += value;
    }
    packed->scales[output] = scale;
    packed->offsets[output] = -128 * sum;
}

/* A panel that is not full, or inputs that are, leave places that must multiply to nothing. */
static void clear_panel(td_packed *packed, size_t first, size_t count)
{
    size_t bytes = packed->depth * TD_PANEL * layouts[packed->precision].size;
    if (count < TD_PANEL || packed->depth > packed->inputs)
        memset((char *)packed->data + first / TD_PANEL * bytes, 0, bytes);
    for (size_t i = count; packed->precision == TD_INT8 && i < TD_PANEL; i++) {
        packed->scales[first + i] = 0;
        packed->offsets[first + i] = 0;
    }
}

void td_packed_fill(td_packed *packed, size_t first, size_t count, const float *values)
{
    clear_panel(packed, first, count);
    for (size_t i = 0; i < count; i++) {
        const float *row = values + i * packed->inputs;
        if (packed->precision == TD_INT8)
            quantise_output(packed, first + i, row);
        for (size_t k = 0; packed->precision == TD_FLOAT32 && k < packed->inputs; k++)
            ((float *)packed->data)[place(packed, first + i, k)] = row[k];
        for (size_t k = 0; packed->precision == TD_BFLOAT16 && k < packed->inputs; k++)
            ((uint16_t *)packed->data)[place(packed, first + i, k)] = rounded(row[k]);
    }
}

void td_packed_fill_int8(td_packed *packed, size_t first, size_t count, const int8_t *values, const float *scales)
{
    clear_panel(packed, first, count);
    move_groups(packed, first, count, values);
    for (size_t i = 0; i < count; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < packed->inputs; k++)
            sum += values[i * packed->inputs + k];
        packed->scales[first + i] = scales[i];
        packed->offsets[first + i] = -128 * sum;
    }
}

void td_packed_row(const td_packed *packed, size_t output, float factor, float *y)
{
    for (size_t i = 0; i < packed->inputs; i++) {
        size_t at = place(packed, output, i);
        if (packed->precision == TD_FLOAT32)
            y[i] = ((const float *)packed->data)[at] * factor;
        else if (packed->precision == TD_BFLOAT16)
            y[i] = widened(((const uint16_t *)packed->data)[at]) * factor;
        else
            y[i] = (float)((const int8_t *)packed->data)[at] * packed->scales[output] * factor;
    }
}

#ifdef TD_DOUBLE /* gradient checks pack nothing */

const td_packed_kernels *td_packed_kernels_for(td_matrix_isa isa)
{
    (void)isa;
    return NULL;
}

const td_packed_kernels *td_packed_kernels_get(void)
{
    return NULL;
}

#else

const td_packed_kernels *td_packed_kernels_for(td_matrix_isa isa)
{
    static const td_packed_kernels *const tables[TD_MATRIX_ISA_COUNT] = {
        [TD_MATRIX_PLAIN] = &td_packed_plain,
#if defined(__x86_64__)
        [TD_MATRIX_AVX2] = &td_packed_avx2,
        [TD_MATRIX_AVX512] = &td_packed_avx512,
        [TD_MATRIX_VNNI] = &td_packed_vnni,
        [TD_MATRIX_AMX] = &td_packed_amx,
#elif defined(__aarch64__)
        [TD_MATRIX_NEON] = &td_packed_neon,
        [TD_MATRIX_DOTPROD] = &td_packed_dotprod,
        [TD_MATRIX_BF16] = &td_packed_bf16,
#endif
    };
    if (!td_cpu_supports_matrix(isa))
        return NULL;
#if defined(__x86_64__)
    if (isa == TD_MATRIX_VNNI && td_cpu_has_bfloat16())
        return &td_packed_vnni_bfloat16;
#endif
    return tables[isa];
}

const td_packed_kernels *td_packed_kernels_get(void)
{
    const td_packed_kernels *kernels = td_packed_kernels_for(td_cpu_matrix_isa());
    return kernels ? kernels : &td_packed_plain;
}

#endif
