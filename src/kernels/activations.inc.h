/* Activation functions and their slopes, by kind; part of rows.inc.h. */

#define ROOT_HALF ((td_real)0.70710678118654752)       /* sqrt(1 / 2) */
#define DENSITY ((td_real)0.39894228040143268)         /* 1 / sqrt(2 pi) */
#define GELU_TANH_SCALE ((td_real)0.79788456080286536) /* sqrt(2 / pi) */
#define GELU_TANH_CUBE ((td_real)0.044715)

INLINE td_real activation_of(int kind, td_real x)
{
    switch (kind) {
    case TD_RELU:
        return x > 0 ? x : 0;
    case TD_RELU6:
        return x > 0 ? (x < 6 ? x : 6) : 0;
    case TD_GELU:
        return (td_real)0.5 * x * (1 + math_erf(x * ROOT_HALF));
    case TD_SWISH:
        return x * math_sigmoid(x);
    case TD_TANH:
        return math_tanh(x);
    case TD_SIGMOID:
        return math_sigmoid(x);
    case TD_GELU_TANH:
        return (td_real)0.5 * x * (1 + math_tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBE * x * x * x)));
    default:
        return x;
    }
}

INLINE td_real activation_slope(int kind, td_real x)
{
    switch (kind) {
    case TD_RELU:
        return x > 0 ? 1 : 0;
    case TD_RELU6:
        return x > 0 ? (x < 6 ? 1 : 0) : 0;
    case TD_GELU:
        return (td_real)0.5 * (1 + math_erf(x * ROOT_HALF)) + x * DENSITY * math_exp((td_real)-0.5 * x * x);
    case TD_SWISH: {
        td_real s = math_sigmoid(x);
        return s * (1 + x * (1 - s));
    }
    case TD_TANH: {
        td_real t = math_tanh(x);
        return 1 - t * t;
    }
    case TD_SIGMOID: {
        td_real s = math_sigmoid(x);
        return s * (1 - s);
    }
    case TD_GELU_TANH: {
        td_real t = math_tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBE * x * x * x));
        td_real inner = GELU_TANH_SCALE * (1 + 3 * GELU_TANH_CUBE * x * x);
        return (td_real)0.5 * (1 + t) + (td_real)0.5 * x * (1 - t * t) * inner;
    }
    default:
        return 1;
    }
}

INLINE void activate_part(int kind, td_real *y, const td_real *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = activation_of(kind, x[i]);
}

INLINE void activate_kind(int kind, td_real *y, const td_real *x, size_t n)
{
    size_t whole = n / WIDTH * WIDTH, rest = n - whole;
    activate_part(kind, y, x, whole);
    if (rest) {
        td_real part[WIDTH];
        store(part, load_part(x + whole, rest, 0));
        activate_part(kind, part, part, WIDTH);
        store_part(y + whole, load(part), rest);
    }
}

INLINE void activate_backward_part(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * activation_slope(kind, x[i]);
}

INLINE void activate_backward_kind(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n)
{
    size_t whole = n / WIDTH * WIDTH, rest = n - whole;
    activate_backward_part(kind, dx, x, dy, whole);
    if (rest) {
        td_real part[3][WIDTH];
        store(part[0], load_part(dx + whole, rest, 0));
        store(part[1], load_part(x + whole, rest, 0));
        store(part[2], load_part(dy + whole, rest, 0));
        activate_backward_part(kind, part[0], part[1], part[2], WIDTH);
        store_part(dx + whole, load(part[0]), rest);
    }
}

/* One loop for each kind, so that none has a branch inside. */
#define FOR_EACH_KIND(CALL)                                                                                                                \
    switch (kind) {                                                                                                                        \
    case TD_RELU:                                                                                                                          \
        CALL(TD_RELU);                                                                                                                     \
        break;                                                                                                                             \
    case TD_RELU6:                                                                                                                         \
        CALL(TD_RELU6);                                                                                                                    \
        break;                                                                                                                             \
    case TD_GELU:                                                                                                                          \
        CALL(TD_GELU);                                                                                                                     \
        break;                                                                                                                             \
    case TD_SWISH:                                                                                                                         \
        CALL(TD_SWISH);                                                                                                                    \
        break;                                                                                                                             \
    case TD_TANH:                                                                                                                          \
        CALL(TD_TANH);                                                                                                                     \
        break;                                                                                                                             \
    case TD_SIGMOID:                                                                                                                       \
        CALL(TD_SIGMOID);                                                                                                                  \
        break;                                                                                                                             \
    case TD_GELU_TANH:                                                                                                                     \
        CALL(TD_GELU_TANH);                                                                                                                \
        break;                                                                                                                             \
    default:                                                                                                                               \
        CALL(TD_IDENTITY);                                                                                                                 \
        break;                                                                                                                             \
    }

static void activate(int kind, td_real *y, const td_real *x, size_t n)
{
#define CALL(K) activate_kind(K, y, x, n)
    FOR_EACH_KIND(CALL)
#undef CALL
}

static void activate_backward(int kind, td_real *dx, const td_real *x, const td_real *dy, size_t n)
{
#define CALL(K) activate_backward_kind(K, dx, x, dy, n)
    FOR_EACH_KIND(CALL)
#undef CALL
}
