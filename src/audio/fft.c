/* Decimation in time with mixed radix (Cooley and Tukey 1965): a real frame of 2 M samples is one complex frame of M. */
#include "audio/fft.h"

#include <math.h>

#define LARGEST_FACTOR 61

/* Fours first: their butterfly needs no product. Returns false when a prime factor is too large. */
static bool factorise(size_t length, unsigned char *factors)
{
    size_t count = 0, factor = 4;
    while (length > 1) {
        while (length % factor != 0) {
            factor = factor == 4 ? 2 : factor == 2 ? 3 : factor + 2;
            if (factor > LARGEST_FACTOR)
                return false;
        }
        if (count + 1 >= sizeof(((td_fft *)0)->factors))
            return false;
        factors[count++] = (unsigned char)factor;
        length /= factor;
    }
    factors[count] = 0;
    return true;
}

bool td_fft_supports(size_t length)
{
    unsigned char factors[sizeof(((td_fft *)0)->factors)];
    return length >= 2 && length % 2 == 0 && factorise(length / 2, factors);
}

td_status td_fft_make(size_t length, td_fft *ret_fft, td_error *error)
{
    td_fft fft = {.length = length};
    if (length < 2 || length % 2 != 0 || !factorise(length / 2, fft.factors))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "a transform of %zu samples; the length must be even, without prime factors above %d",
                       length, LARGEST_FACTOR);
    fft.twiddles = td_allocate_array(length, 2 * sizeof(double));
    if (!fft.twiddles)
        return td_fail_memory(error, length * 2 * sizeof(double));
    for (size_t k = 0; k < length; k++) {
        double angle = -2.0 * M_PI * (double)k / (double)length;
        fft.twiddles[2 * k] = cos(angle);
        fft.twiddles[2 * k + 1] = sin(angle);
    }
    *ret_fft = fft;
    return TD_OK;
}

void td_fft_free(td_fft *fft)
{
    td_release(fft->twiddles);
    *fft = (td_fft){0};
}

/* x at point k of part j, turned by exp(-2 pi i j k / length) */
static inline void turn(const td_fft *fft, const double *out, size_t k, size_t j, size_t part, size_t step, double term[2])
{
    const double *x = out + 2 * (k + j * part), *w = fft->twiddles + 2 * (j * k * step);
    term[0] = x[0] * w[0] - x[1] * w[1];
    term[1] = x[0] * w[1] + x[1] * w[0];
}

/* Combines `radix` transforms of `part` points that lie end to end in `out`. `step`: how far twiddles are apart. */
static void combine(const td_fft *fft, double *out, size_t radix, size_t part, size_t step)
{
    double terms[LARGEST_FACTOR][2];
    for (size_t k = 0; k < part; k++) {
        for (size_t j = 0; j < radix; j++)
            turn(fft, out, k, j, part, step, terms[j]);
        for (size_t q = 0; q < radix; q++) {
            double real = terms[0][0], imaginary = terms[0][1];
            for (size_t j = 1, turns = q; j < radix; j++, turns = (turns + q) % radix) {
                const double *w = fft->twiddles + 2 * (turns * part * step);
                real += terms[j][0] * w[0] - terms[j][1] * w[1];
                imaginary += terms[j][0] * w[1] + terms[j][1] * w[0];
            }
            out[2 * (k + q * part)] = real;
            out[2 * (k + q * part) + 1] = imaginary;
        }
    }
}

static void combine_two(const td_fft *fft, double *out, size_t part, size_t step)
{
    for (size_t k = 0; k < part; k++) {
        double term[2], *first = out + 2 * k, *second = first + 2 * part;
        turn(fft, out, k, 1, part, step, term);
        for (size_t c = 0; c < 2; c++) {
            second[c] = first[c] - term[c];
            first[c] += term[c];
        }
    }
}

/* Five points: the first and fourth turn in opposite directions, and so do the second and third, so sums and differences share products. */
static void combine_five(const td_fft *fft, double *out, size_t part, size_t step)
{
    const double cosine1 = 0.30901699437494742410, sine1 = 0.95105651629515357212;  /* of 2 pi / 5 */
    const double cosine2 = -0.80901699437494742410, sine2 = 0.58778525229247312917; /* of 4 pi / 5 */
    for (size_t k = 0; k < part; k++) {
        double a[2], b[2], c[2], d[2], *point[5];
        turn(fft, out, k, 1, part, step, a);
        turn(fft, out, k, 2, part, step, b);
        turn(fft, out, k, 3, part, step, c);
        turn(fft, out, k, 4, part, step, d);
        for (size_t j = 0; j < 5; j++)
            point[j] = out + 2 * (k + j * part);
        double outer[2] = {a[0] + d[0], a[1] + d[1]}, inner[2] = {b[0] + c[0], b[1] + c[1]};
        double outer_difference[2] = {a[0] - d[0], a[1] - d[1]}, inner_difference[2] = {b[0] - c[0], b[1] - c[1]};
        for (size_t i = 0; i < 2; i++) {
            double sign = i == 0 ? 1 : -1, zero = point[0][i]; /* minus i times a difference: its other part, with this sign */
            double first = zero + cosine1 * outer[i] + cosine2 * inner[i], second = zero + cosine2 * outer[i] + cosine1 * inner[i];
            double first_turned = sign * (sine1 * outer_difference[1 - i] + sine2 * inner_difference[1 - i]);
            double second_turned = sign * (sine2 * outer_difference[1 - i] - sine1 * inner_difference[1 - i]);
            point[0][i] = zero + outer[i] + inner[i];
            point[1][i] = first + first_turned;
            point[4][i] = first - first_turned;
            point[2][i] = second + second_turned;
            point[3][i] = second - second_turned;
        }
    }
}

static void combine_four(const td_fft *fft, double *out, size_t part, size_t step)
{
    for (size_t k = 0; k < part; k++) {
        double terms[4][2];
        for (size_t j = 0; j < 4; j++)
            turn(fft, out, k, j, part, step, terms[j]);
        double even[2], odd[2], even_difference[2], odd_difference[2];
        for (size_t c = 0; c < 2; c++) {
            even[c] = terms[0][c] + terms[2][c];
            even_difference[c] = terms[0][c] - terms[2][c];
            odd[c] = terms[1][c] + terms[3][c];
            odd_difference[c] = terms[1][c] - terms[3][c];
        }
        double *first = out + 2 * k, *second = first + 2 * part, *third = second + 2 * part, *fourth = third + 2 * part;
        for (size_t c = 0; c < 2; c++) {
            first[c] = even[c] + odd[c];
            third[c] = even[c] - odd[c];
        }
        second[0] = even_difference[0] + odd_difference[1];
        second[1] = even_difference[1] - odd_difference[0];
        fourth[0] = even_difference[0] - odd_difference[1];
        fourth[1] = even_difference[1] + odd_difference[0];
    }
}

/* in [length points, `stride` points apart] -> out [length] */
static void transform(const td_fft *fft, const unsigned char *factors, size_t length, size_t stride, const double *in, double *out)
{
    if (length == 1) {
        out[0] = in[0];
        out[1] = in[1];
        return;
    }
    size_t radix = factors[0], part = length / radix;
    for (size_t j = 0; j < radix; j++)
        transform(fft, factors + 1, part, stride * radix, in + 2 * j * stride, out + 2 * j * part);
    size_t step = 2 * stride; /* twiddles are those of the real frame, twice as fine */
    if (radix == 2)
        combine_two(fft, out, part, step);
    else if (radix == 4)
        combine_four(fft, out, part, step);
    else if (radix == 5)
        combine_five(fft, out, part, step);
    else
        combine(fft, out, radix, part, step);
}

void td_fft_power(const td_fft *fft, const double *frame, double *scratch, double *power)
{
    size_t half = fft->length / 2;
    transform(fft, fft->factors, half, 1, frame, scratch);
    for (size_t k = 0; k <= half; k++) {
        const double *z = scratch + 2 * (k % half), *mirror = scratch + 2 * ((half - k) % half);
        /* z holds even samples as real part and odd ones as imaginary part; symmetry takes them apart. */
        double even_real = 0.5 * (z[0] + mirror[0]), even_imaginary = 0.5 * (z[1] - mirror[1]);
        double odd_real = 0.5 * (z[1] + mirror[1]), odd_imaginary = 0.5 * (mirror[0] - z[0]);
        double w_real = k == half ? -1.0 : fft->twiddles[2 * k], w_imaginary = k == half ? 0.0 : fft->twiddles[2 * k + 1];
        double real = even_real + w_real * odd_real - w_imaginary * odd_imaginary;
        double imaginary = even_imaginary + w_real * odd_imaginary + w_imaginary * odd_real;
        power[k] = real * real + imaginary * imaginary;
    }
}
