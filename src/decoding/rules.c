/* Logits processors (transformers' generation/logits_process.py): each bans or reweighs a few ids of a row, so the cost
 * of a step is that of the ids concerned and not of the vocabulary, but for the forced tokens. */
#include "decoding/rules.h"

#include <math.h>

static td_status check_id(int32_t id, size_t vocabulary, const char *field, td_error *error)
{
    if (id >= 0 && (size_t)id < vocabulary)
        return TD_OK;
    return td_fail(error, TD_ERROR_ARGUMENT, "generation: %s: %d is no id of this model; ids are 0 to %zu", field, (int)id, vocabulary - 1);
}

static td_status check_list(td_id_list list, size_t vocabulary, const char *field, td_error *error)
{
    for (size_t i = 0; i < list.count; i++)
        TD_TRY(check_id(list.ids[i], vocabulary, field, error));
    return TD_OK;
}

static td_status check_ids(const td_generation *generation, size_t vocabulary, td_error *error)
{
    TD_TRY(check_list(generation->eos_token_id, vocabulary, "eos_token_id", error));
    TD_TRY(check_list(generation->forced_eos_token_id, vocabulary, "forced_eos_token_id", error));
    TD_TRY(check_list(generation->suppress_tokens, vocabulary, "suppress_tokens", error));
    TD_TRY(check_list(generation->begin_suppress_tokens, vocabulary, "begin_suppress_tokens", error));
    for (size_t i = 0; i < generation->bad_words_count; i++) {
        if (generation->bad_words[i].count == 0)
            return td_fail(error, TD_ERROR_ARGUMENT, "generation: bad_words_ids: item %zu is empty; each needs an id", i);
        TD_TRY(check_list(generation->bad_words[i], vocabulary, "bad_words_ids", error));
    }
    if (generation->return_timestamps) /* time stamps follow it: it cannot be the last */
        TD_TRY(check_id(generation->no_timestamps_token_id, vocabulary - 1, "no_timestamps_token_id (for return_timestamps)", error));
    if (generation->forced_bos_token_id >= 0)
        TD_TRY(check_id(generation->forced_bos_token_id, vocabulary, "forced_bos_token_id", error));
    return TD_OK;
}

static td_status check_numbers(const td_generation *generation, td_error *error)
{
    if (generation->num_beams < 1 || generation->num_beams > 1024)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: num_beams is %zu; it must be 1 to 1024", generation->num_beams);
    if (generation->num_return_sequences < 1 || generation->num_return_sequences > 1024)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: num_return_sequences is %zu; it must be 1 to 1024",
                       generation->num_return_sequences);
    bool samples = generation->do_sample && generation->num_beams == 1;
    if (!samples && generation->num_return_sequences > generation->num_beams)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: num_return_sequences is %zu but num_beams %zu; ask for more beams",
                       generation->num_return_sequences, generation->num_beams);
    if (!isfinite(generation->length_penalty))
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: length_penalty must be a finite number");
    if (!(generation->repetition_penalty > 0) || !isfinite(generation->repetition_penalty))
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: repetition_penalty is %g; it must be above 0",
                       generation->repetition_penalty);
    if (generation->do_sample && (!(generation->temperature > 0) || !isfinite(generation->temperature)))
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: temperature is %g; it must be above 0", generation->temperature);
    if (generation->do_sample && !(generation->top_p >= 0 && generation->top_p <= 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: top_p is %g; it must be 0 to 1", generation->top_p);
    if (!(generation->ctc_weight >= 0 && generation->ctc_weight <= 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: ctc_weight is %g; it must be 0 to 1", generation->ctc_weight);
    if (generation->ctc_weight > 0 && generation->do_sample)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: ctc_weight needs beam search; unset do_sample");
    if (generation->do_sample && !(generation->min_p >= 0 && generation->min_p <= 1))
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: min_p is %g; it must be 0 to 1", generation->min_p);
    return TD_OK;
}

td_status td_rules_init(td_rules *rules, const td_generation *generation, const td_network *network, td_error *error)
{
    TD_TRY(check_numbers(generation, error));
    TD_TRY(check_ids(generation, network->vocabulary, error));
    uint32_t *stamps = rules->stamps;
    uint32_t stamp = rules->stamp;
    size_t stamp_count = rules->stamp_count;
    *rules = (td_rules){.generation = generation, .vocabulary = network->vocabulary, .stamps = stamps, .stamp = stamp};
    rules->stamp_count = stamp_count;
    rules->eos = generation->eos_token_id.ids;
    rules->eos_count = generation->eos_token_id.count;
    rules->default_eos = network->eos_id;
    if (rules->eos_count == 0 && network->eos_id >= 0) {
        rules->eos = &rules->default_eos;
        rules->eos_count = 1;
    }
    rules->start = generation->decoder_start_token_id;
    if (rules->start < 0)
        rules->start = network->decoder_start_id;
    if (rules->start < 0)
        rules->start = generation->bos_token_id >= 0 ? generation->bos_token_id : network->bos_id;
    if (rules->start < 0)
        return td_fail(error, TD_ERROR_ARGUMENT, "generation: the model names no start token; set decoder_start_token_id");
    rules->max_positions = network->max_positions;
    rules->beams = generation->num_beams > 1 || generation->ctc_weight > 0;
    rules->active = generation->return_timestamps || generation->repetition_penalty != 1 || generation->no_repeat_ngram_size > 0 ||
                    generation->encoder_no_repeat_ngram_size > 0 || generation->bad_words_count > 0 || generation->min_length > 0 ||
                    generation->min_new_tokens > 0 || generation->forced_bos_token_id >= 0 || generation->forced_eos_token_id.count > 0 ||
                    generation->suppress_tokens.count > 0 || generation->begin_suppress_tokens.count > 0;
    return TD_OK;
}

td_status td_rules_lengths(const td_rules *rules, size_t prefix_count, td_lengths *ret_lengths, td_error *error)
{
    const td_generation *generation = rules->generation;
    size_t prompt = prefix_count + 1;
    size_t maximum = prompt + TD_DEFAULT_NEW_TOKENS, limit = rules->max_positions;
    if (generation->max_new_tokens > 0)
        maximum = generation->max_new_tokens > INT32_MAX - prompt ? INT32_MAX : prompt + generation->max_new_tokens;
    else if (generation->max_length > 0)
        maximum = generation->max_length > INT32_MAX ? INT32_MAX : generation->max_length;
    if (limit > 0 && maximum > limit + 1)
        maximum = limit + 1; /* the last token is never fed */
    if (maximum <= prompt)
        return td_fail(error, TD_ERROR_ARGUMENT,
                       "generation: at most %zu positions but the start token and prefix take %zu; raise max_length", maximum, prompt);
    size_t minimum = generation->min_length;
    if (generation->min_new_tokens > 0)
        minimum = generation->min_new_tokens > INT32_MAX ? INT32_MAX : prompt + generation->min_new_tokens;
    *ret_lengths = (td_lengths){prompt, minimum, maximum};
    return TD_OK;
}

bool td_rules_ends(const td_rules *rules, int32_t id)
{
    for (size_t i = 0; i < rules->eos_count; i++)
        if (rules->eos[i] == id)
            return true;
    return false;
}

static void ban(td_real *row, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        row[ids[i]] = (td_real)-INFINITY;
}

/* Keskar 2019, section 4.1, with the sign handled as transformers does. Each id once, however often it was written. */
static void penalise_repetition(td_rules *rules, const td_token *tokens, size_t count, td_real *row)
{
    td_real penalty = (td_real)rules->generation->repetition_penalty;
    if (++rules->stamp == 0) {
        for (size_t i = 0; i < rules->stamp_count; i++)
            rules->stamps[i] = 0;
        rules->stamp = 1;
    }
    for (size_t i = 0; i < count; i++) {
        size_t id = (size_t)tokens[i].id;
        if (id >= rules->vocabulary || rules->stamps[id] == rules->stamp)
            continue;
        rules->stamps[id] = rules->stamp;
        row[id] = row[id] < 0 ? row[id] * penalty : row[id] / penalty;
    }
}

/* Paulus 2017, section 2.5: an n-gram that was written may not be written again. */
static void ban_repeated_ngrams(const td_rules *rules, const td_token *tokens, size_t count, td_real *row)
{
    size_t n = rules->generation->no_repeat_ngram_size;
    for (size_t start = 0; start + n <= count; start++) {
        size_t same = 0;
        while (same + 1 < n && tokens[start + same].id == tokens[count + 1 - n + same].id)
            same++;
        if (same + 1 == n && (size_t)tokens[start + same].id < rules->vocabulary)
            row[tokens[start + same].id] = (td_real)-INFINITY;
    }
}

static void ban_source_ngrams(const td_rules *rules, const td_source *source, const td_token *tokens, size_t count, td_real *row)
{
    size_t n = rules->generation->encoder_no_repeat_ngram_size;
    if (!source->ids || count + 1 < n)
        return;
    for (size_t start = 0; start + n <= source->length; start++) {
        size_t same = 0;
        while (same + 1 < n && source->ids[start + same] == tokens[count + 1 - n + same].id)
            same++;
        if (same + 1 == n && (size_t)source->ids[start + same] < rules->vocabulary)
            row[source->ids[start + same]] = (td_real)-INFINITY;
    }
}

static void ban_words(const td_rules *rules, const td_token *tokens, size_t count, td_real *row)
{
    for (size_t w = 0; w < rules->generation->bad_words_count; w++) {
        td_id_list word = rules->generation->bad_words[w];
        if (word.count > count + 1 || (word.count == 1 && td_rules_ends(rules, word.ids[0])))
            continue;
        size_t same = 0;
        while (same + 1 < word.count && tokens[count + 1 - word.count + same].id == word.ids[same])
            same++;
        if (same + 1 == word.count)
            row[word.ids[same]] = (td_real)-INFINITY;
    }
}

static void force(td_real *row, size_t n, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < n; i++)
        row[i] = (td_real)-INFINITY;
    for (size_t i = 0; i < count; i++)
        row[ids[i]] = 0;
}

static void ban_range(td_real *row, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        row[i] = (td_real)-INFINITY;
}

/* Time stamps come in pairs but at the end, and never go back. */
static void order_timestamps(const td_rules *rules, const td_token *written, size_t count, td_real *row)
{
    int32_t first = rules->generation->no_timestamps_token_id + 1, last = -1;
    bool after_one = count >= 1 && written[count - 1].id >= first;
    bool after_two = count < 2 || written[count - 2].id >= first;
    for (size_t i = 0; i < count; i++)
        last = written[i].id >= first ? written[i].id : last;
    if (after_one && after_two)
        ban_range(row, (size_t)first, rules->vocabulary);
    else if (after_one)
        ban_range(row, 0, rules->eos_count > 0 ? (size_t)rules->eos[0] : (size_t)first);
    if (last >= 0) /* the second of a pair may be that of the first; a new segment takes some time */
        ban_range(row, (size_t)first, (size_t)last + !(after_one && !after_two));
}

/* Whisper's rules (Radford 2022, section 4.5; transformers' WhisperTimeStampLogitsProcessor). */
static void keep_timestamps(const td_rules *rules, const td_lengths *lengths, const td_token *tokens, size_t count, td_real *row)
{
    size_t first = (size_t)rules->generation->no_timestamps_token_id + 1, n = rules->vocabulary;
    int32_t latest = rules->generation->max_initial_timestamp_index;
    row[first - 1] = (td_real)-INFINITY;
    order_timestamps(rules, tokens + lengths->prompt, count - lengths->prompt, row);
    if (count == lengths->prompt) {
        ban_range(row, 0, first);
        if (latest >= 0 && first + (size_t)latest + 1 < n)
            ban_range(row, first + (size_t)latest + 1, n);
    }
    double highest = -INFINITY, stamps = 0;
    td_real text = (td_real)-INFINITY;
    for (size_t i = first; i < n; i++)
        highest = fmax(highest, (double)row[i]);
    for (size_t i = first; i < n && highest > -INFINITY; i++)
        stamps += exp((double)row[i] - highest);
    for (size_t i = 0; i < first; i++)
        text = row[i] > text ? row[i] : text;
    if (highest > -INFINITY && highest + log(stamps) > (double)text) /* all stamps together beat every word */
        ban_range(row, 0, first);
}

bool td_rules_only_ban(const td_rules *rules, const td_lengths *lengths, size_t count)
{
    const td_generation *generation = rules->generation;
    bool forces = (generation->forced_bos_token_id >= 0 && count == 1) ||
                  (generation->forced_eos_token_id.count > 0 && count + 1 == lengths->maximum);
    return generation->repetition_penalty == 1 && !forces;
}

size_t td_rules_most_banned(const td_rules *rules, const td_lengths *lengths, const td_source *source, size_t count)
{
    const td_generation *generation = rules->generation;
    if (generation->return_timestamps)
        return rules->vocabulary;
    return (count < lengths->minimum ? rules->eos_count : 0) + generation->bad_words_count + generation->suppress_tokens.count +
           generation->begin_suppress_tokens.count + (generation->no_repeat_ngram_size > 0 ? count : 0) +
           (generation->encoder_no_repeat_ngram_size > 0 ? source->length : 0);
}

void td_rules_apply(td_rules *rules, const td_lengths *lengths, const td_source *source, const td_token *tokens, size_t count, td_real *row)
{
    const td_generation *generation = rules->generation;
    bool forces_begin = generation->forced_bos_token_id >= 0;
    if (generation->repetition_penalty != 1)
        penalise_repetition(rules, tokens, count, row);
    if (generation->no_repeat_ngram_size > 0)
        ban_repeated_ngrams(rules, tokens, count, row);
    if (generation->encoder_no_repeat_ngram_size > 0)
        ban_source_ngrams(rules, source, tokens, count, row);
    ban_words(rules, tokens, count, row);
    if (count < lengths->minimum)
        ban(row, rules->eos, rules->eos_count);
    if (forces_begin && count == 1)
        force(row, rules->vocabulary, &generation->forced_bos_token_id, 1);
    if (generation->forced_eos_token_id.count > 0 && count + 1 == lengths->maximum)
        force(row, rules->vocabulary, generation->forced_eos_token_id.ids, generation->forced_eos_token_id.count);
    ban(row, generation->suppress_tokens.ids, generation->suppress_tokens.count);
    if (count == lengths->prompt + (lengths->prompt == 1 && forces_begin))
        ban(row, generation->begin_suppress_tokens.ids, generation->begin_suppress_tokens.count);
    if (generation->return_timestamps)
        keep_timestamps(rules, lengths, tokens, count, row);
}
