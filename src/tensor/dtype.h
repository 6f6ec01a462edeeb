/* Element types as files and tensors hold them: one table row each, and the conversions of the half-width floats. */
#ifndef TD_TENSOR_DTYPE_H
#define TD_TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One row per type: enumerator, bytes per element, name in safetensors files. */
#define TD_DTYPE_TABLE(X)                                                                                                                  \
    X(TD_F32, 4, "F32")                                                                                                                    \
    X(TD_F16, 2, "F16")                                                                                                                    \
    X(TD_BF16, 2, "BF16")                                                                                                                  \
    X(TD_F64, 8, "F64")                                                                                                                    \
    X(TD_I8, 1, "I8")                                                                                                                      \
    X(TD_I16, 2, "I16")                                                                                                                    \
    X(TD_I32, 4, "I32")                                                                                                                    \
    X(TD_I64, 8, "I64")                                                                                                                    \
    X(TD_U8, 1, "U8")                                                                                                                      \
    X(TD_U16, 2, "U16")                                                                                                                    \
    X(TD_U32, 4, "U32")                                                                                                                    \
    X(TD_U64, 8, "U64")                                                                                                                    \
    X(TD_BOOL, 1, "BOOL")

typedef enum td_dtype {
#define X(name, size, text) name,
    TD_DTYPE_TABLE(X)
#undef X
        TD_DTYPE_COUNT
} td_dtype;

static inline size_t td_dtype_size(td_dtype dtype)
{
    static const uint8_t sizes[] = {
#define X(name, size, text) size,
        TD_DTYPE_TABLE(X)
#undef X
    };
    return sizes[dtype];
}

static inline const char *td_dtype_name(td_dtype dtype)
{
    static const char *const names[] = {
#define X(name, size, text) text,
        TD_DTYPE_TABLE(X)
#undef X
    };
    return names[dtype];
}

static inline uint32_t td_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float td_float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float td_bfloat16_to_float(uint16_t value)
{
    return td_float_of_bits((uint32_t)value << 16);
}

/* Round to nearest even; a NaN stays a (quiet) NaN. */
static inline uint16_t td_float_to_bfloat16(float value)
{
    uint32_t bits = td_float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float td_float16_to_float(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    uint32_t exponent = (value >> 10) & 0x1fu;
    uint32_t mantissa = value & 0x3ffu;
    if (exponent == 0x1f)
        return td_float_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) { /* zero and subnormal: mantissa * 2^-24, exact in float */
        float magnitude = (float)mantissa * 0x1.0p-24f;
        return sign ? -magnitude : magnitude;
    }
    return td_float_of_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* Round to nearest even; too large becomes infinity, too small becomes subnormal or zero. */
static inline uint16_t td_float_to_float16(float value)
{
    uint32_t bits = td_float_bits(value);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) /* normal: 2^-14 and above */
        return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
    /* Adding 0.5 puts the subnormal's last bit at the float's last bit; the addition rounds to nearest even. */
    return (uint16_t)(sign | (td_float_bits(td_float_of_bits(magnitude) + 0.5f) - 0x3f000000u));
}

#endif
