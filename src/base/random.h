/* Random numbers without hidden state: a value is a function of (key, counter), so a stream's position is one integer that a
 * checkpoint can hold, and threads draw the same numbers however they are scheduled. */
#ifndef TD_BASE_RANDOM_H
#define TD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct td_random {
    uint64_t key;
    uint64_t counter;
} td_random;

/* SplitMix64's output function (Steele, Lea, Flood 2014): a bijection with good avalanche. */
static inline uint64_t td_mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* FNV-1a (Fowler, Noll, Vo): for look-up and to tell contents apart, not against an adversary. */
static inline uint64_t td_hash_bytes(const void *bytes, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

/* An independent key for a sub-stream: seed and up to two labels (step, shard, layer, ...). */
static inline uint64_t td_random_key(uint64_t seed, uint64_t label, uint64_t sublabel)
{
    return td_mix64(td_mix64(td_mix64(seed) ^ label) ^ sublabel);
}

static inline uint64_t td_random_next(td_random *random)
{
    return td_mix64(random->key ^ td_mix64(random->counter++));
}

/* Uniform in [0, 1) with 53 bits. */
static inline double td_random_uniform(td_random *random)
{
    return (double)(td_random_next(random) >> 11) * 0x1.0p-53;
}

/* Uniform in [0, bound) without bias worth naming (Lemire 2019's multiply). */
static inline uint64_t td_random_below(td_random *random, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)td_random_next(random) * bound) >> 64);
}

double td_random_normal(td_random *random); /* mean 0, variance 1 (Box-Muller) */

/* The i-th element of a pseudo-random permutation of 0..count-1 chosen by key, in O(1) memory: a Feistel network over the next
 * power of four with cycle walking. i < count. */
uint64_t td_random_permute(uint64_t key, uint64_t count, uint64_t i);

#endif
