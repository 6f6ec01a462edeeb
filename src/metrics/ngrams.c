/* Clipped n-gram matches (Papineni et al. 2002, 2.1.1). */
#include "metrics/ngrams.h"

#include "base/array.h"

void td_ngrams_init(td_ngrams *ngrams)
{
    *ngrams = (td_ngrams){0};
    td_sequence_map_init(&ngrams->map, false);
}

void td_ngrams_free(td_ngrams *ngrams)
{
    td_sequence_map_free(&ngrams->map);
    td_release(ngrams->counts);
    *ngrams = (td_ngrams){0};
}

td_status td_ngrams_start(td_ngrams *ngrams, td_codes hypothesis, size_t order, td_error *error)
{
    td_sequence_map_clear(&ngrams->map);
    ngrams->order = order;
    for (size_t start = 0; start < hypothesis.count; start++) {
        uint64_t hash = TD_SEQUENCE_SEED;
        for (size_t n = 1; n <= order && start + n <= hypothesis.count; n++) {
            size_t before = ngrams->map.count;
            uint32_t number;
            hash = td_sequence_hash_add(hash, hypothesis.data[start + n - 1]);
            TD_TRY(td_sequence_map_add(&ngrams->map, hypothesis.data + start, n, hash, &number, error));
            TD_TRY(td_reserve_array(&ngrams->counts, &ngrams->capacity, ngrams->map.count, sizeof *ngrams->counts, error));
            if (ngrams->map.count > before)
                ngrams->counts[number] = (td_ngram_count){0, 0, 0};
            ngrams->counts[number].hypothesis++;
        }
    }
    return TD_OK;
}

void td_ngrams_add_reference(td_ngrams *ngrams, td_codes reference)
{
    for (size_t start = 0; start < reference.count; start++) {
        uint64_t hash = TD_SEQUENCE_SEED;
        for (size_t n = 1; n <= ngrams->order && start + n <= reference.count; n++) {
            hash = td_sequence_hash_add(hash, reference.data[start + n - 1]);
            uint32_t number = td_sequence_map_find(&ngrams->map, reference.data + start, n, hash);
            if (number == TD_SEQUENCE_ABSENT)
                break; /* no longer n-gram from here can match either */
            ngrams->counts[number].reference++;
        }
    }
    for (size_t i = 0; i < ngrams->map.count; i++) {
        td_ngram_count *count = &ngrams->counts[i];
        if (count->reference > count->best)
            count->best = count->reference;
        count->reference = 0;
    }
}

void td_ngrams_forget_references(td_ngrams *ngrams)
{
    for (size_t i = 0; i < ngrams->map.count; i++)
        ngrams->counts[i].best = 0;
}

void td_ngrams_matches(const td_ngrams *ngrams, uint32_t *ret_matches)
{
    for (size_t n = 0; n < ngrams->order; n++)
        ret_matches[n] = 0;
    for (size_t i = 0; i < ngrams->map.count; i++) {
        const td_ngram_count *count = &ngrams->counts[i];
        ret_matches[ngrams->map.entries[i].length - 1] += count->hypothesis < count->best ? count->hypothesis : count->best;
    }
}
