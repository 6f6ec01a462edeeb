/* Branch-free exp, tanh, sigmoid and erf that the compiler turns into vector code; float only, the double build has
 * libm's. Exactness (measured over all ranges by the tests): exp 2 ulp, tanh and sigmoid 1e-7 relative, erf 1e-7. */
#ifndef TD_KERNELS_ROWS_MATH_H
#define TD_KERNELS_ROWS_MATH_H

#include "tensor/real.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef TD_DOUBLE

static inline double math_exp(double x)
{
    return exp(x);
}
static inline double math_tanh(double x)
{
    return tanh(x);
}
static inline double math_erf(double x)
{
    return erf(x);
}
static inline double math_sqrt(double x)
{
    return sqrt(x);
}
static inline double math_abs(double x)
{
    return fabs(x);
}

#else

static inline uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float math_sqrt(float x)
{
    return __builtin_sqrtf(x);
}
static inline float math_abs(float x)
{
    return __builtin_fabsf(x);
}

/* exp(x) = 2^n exp(r), |r| <= ln 2 / 2, with Cephes' polynomial. 2^n is added to the exponent as an integer, which is
 * exact while the result is a normal number. Below that it is 0: subnormal results would cost more than they are worth.
 */
static inline float math_exp(float x)
{
    const float low = -87.33654f, high = 88.72283f, magic = 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    float y = x < low ? low : x;
    y = y > high ? high : y;
    float shifted = y * 1.44269504f + magic;
    float n = shifted - magic;
    float r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    float result = float_of_bits(float_bits(p) + (float_bits(shifted) << 23));
    result = x < low ? 0.0f : result;
    return x > high ? __builtin_inff() : result;
}

/* Cephes' polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel. */
static inline float math_tanh(float x)
{
    float size = math_abs(x), z = x * x;
    float near = -5.70498872745e-3f;
    near = near * z + 2.06390887954e-2f;
    near = near * z - 5.37397155531e-2f;
    near = near * z + 1.33314422036e-1f;
    near = near * z - 3.33332819422e-1f;
    near = near * z * x + x;
    float far = 1.0f - 2.0f / (math_exp(2.0f * size) + 1.0f);
    return size < 0.625f ? near : __builtin_copysignf(far, x);
}

/* An odd polynomial up to 475/512, 1 - exp(polynomial) above: minimax fits of about 1 ulp. */
static inline float math_erf(float x)
{
    float t = math_abs(x), s = x * x;
    t = t > 4.0f ? 4.0f : t; /* erf(4) rounds to 1 */
    float far = (-1.72853470e-5f * t + 3.83197126e-4f) * (t * t) + (-3.88396438e-3f * t + 2.42546219e-2f);
    far = far * t - 1.06777877e-1f;
    far = far * t - 6.34846687e-1f;
    far = far * t - 1.28717512e-1f;
    far = 1.0f - math_exp(far * t - t);
    float near = -5.96761703e-4f;
    near = near * s + 4.99119423e-3f;
    near = near * s - 2.67681349e-2f;
    near = near * s + 1.12819925e-1f;
    near = near * s - 3.76125336e-1f;
    near = near * s + 1.28379166e-1f;
    near = near * x + x;
    return t > 0.927734375f ? __builtin_copysignf(far, x) : near;
}

#endif

static inline td_real math_sigmoid(td_real x)
{
    return (td_real)1 / ((td_real)1 + math_exp(-x));
}

#endif
