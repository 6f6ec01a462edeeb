#include "base/random.h"

#include <math.h>

double td_random_normal(td_random *random)
{
    double radius = sqrt(-2.0 * log(1.0 - td_random_uniform(random)));
    return radius * cos(6.283185307179586 * td_random_uniform(random));
}

uint64_t td_random_permute(uint64_t key, uint64_t count, uint64_t i)
{
    unsigned half = 1;
    while (half < 32 && ((uint64_t)1 << (2 * half)) < count)
        half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    do { /* at most 4 expected rounds of walking, as the domain is below 4 * count */
        uint64_t left = i >> half, right = i & mask;
        for (unsigned round = 0; round < 4; round++) {
            uint64_t swapped = right;
            right = left ^ (td_mix64(key ^ td_mix64(right + ((uint64_t)round << 56))) & mask);
            left = swapped;
        }
        i = (left << half) | right;
    } while (i >= count);
    return i;
}
