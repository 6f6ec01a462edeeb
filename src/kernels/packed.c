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

td_status td_packed_new(td_precision precision, size_t outputs, size_t inputs, td_packed **ret_packed, td_error *error)
{
    size_t step = layouts[precision].step, depth, width, bytes;
    if (td_add_overflows(inputs, step - 1, &depth) || td_add_overflows(outputs, TD_PANEL - 1, &width))
        return td_fail_memory(error, SIZE_MAX);
    depth = depth / step * step;
    width = width / TD_PANEL * TD_PANEL;
    if (td_multiply_overflows(depth, width, &bytes) || td_multiply_overflows(bytes, layouts[precision].size, &bytes))
        return td_fail_memory(error, SIZE_MAX);
    td_packed *packed = td_allocate_array(1, sizeof *packed);
    if (!packed)
        return td_fail_memory(error, sizeof *packed);
    *packed = (td_packed){.precision = precision, .outputs = outputs, .inputs = inputs, .depth = depth};
    packed->data = td_allocate_aligned(bytes);
    if (precision == TD_INT8) {
        packed->scales = td_allocate_aligned(width * sizeof *packed->scales);
        packed->offsets = td_allocate_aligned(width * sizeof *packed->offsets);
    }
    if (!packed->data || (precision == TD_INT8 && (!packed->scales || !packed->offsets))) {
        td_packed_free(packed);
        return td_fail_memory(error, bytes);
    }
    *ret_packed = packed;
    return TD_OK;
}

void td_packed_free(td_packed *packed)
{
    if (!packed)
        return;
    td_release_aligned(packed->data);
    td_release_aligned(packed->scales);
    td_release_aligned(packed->offsets);
    td_release(packed);
}

size_t td_packed_bytes(const td_packed *packed)
{
    size_t width = td_packed_panels(packed) * TD_PANEL;
    return packed->depth * width * layouts[packed->precision].size + (packed->precision == TD_INT8 ? 8 * width : 0);
}

/* Where input `input` of output `output` lies. */
static size_t place(const td_packed *packed, size_t output, size_t input)
{
    size_t group = layouts[packed->precision].group;
    return output / TD_PANEL * TD_PANEL * packed->depth + (input / group * TD_PANEL + output % TD_PANEL) * group + input % group;
}

static void fill_output_int8(td_packed *packed, size_t output, const int8_t *values, float scale)
{
    int8_t *data = packed->data;
    int32_t sum = 0;
    for (size_t i = 0; i < packed->inputs; i++) {
        data[place(packed, output, i)] = values[i];
        sum += values[i];
    }
    packed->scales[output] = scale;
    packed->offsets[output] = -128 * sum;
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
    for (size_t i = 0; i < count; i++)
        fill_output_int8(packed, first + i, values + i * packed->inputs, scales[i]);
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
    return td_cpu_supports_matrix(isa) ? tables[isa] : NULL;
}

const td_packed_kernels *td_packed_kernels_get(void)
{
    const td_packed_kernels *kernels = td_packed_kernels_for(td_cpu_matrix_isa());
    return kernels ? kernels : &td_packed_plain;
}

#endif
