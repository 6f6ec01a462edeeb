/* What every architecture promises: reading a target step by step, in any portions, with rows reordered, repeated and dropped, gives what
 * reading it whole gives; a sentence's numbers do not depend on its company, to the bit; and once warm nothing is allocated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "io/json.h"
#include "models/configuration.h"
#include "models/copying.h"

#define SIZES                                                                                                                              \
    "\"vocab_size\": 40, \"d_model\": 32, \"encoder_layers\": 2, \"decoder_layers\": 2, \"encoder_attention_heads\": 2, "                  \
    "\"decoder_attention_heads\": 4, \"encoder_ffn_dim\": 48, \"decoder_ffn_dim\": 40, \"max_position_embeddings\": 64, "                  \
    "\"pad_token_id\": 1, \"eos_token_id\": 2, \"bos_token_id\": 0, \"decoder_start_token_id\": 2"
#define RECURRENT                                                                                                                          \
    "{\"model_type\": \"tandem-rnn\", \"vocab_size\": 40, \"embedding_size\": 12, \"hidden_size\": 20, \"encoder_layers\": 2, "            \
    "\"decoder_layers\": 2, \"pad_token_id\": 1, \"eos_token_id\": 2, \"decoder_start_token_id\": 2, "

#define FEATURES(type)                                                                                                                     \
    "{\"model_type\": \"" type "\", \"feature_size\": 5, \"vocab_size\": 40, \"embedding_size\": 12, \"hidden_size\": 20, "                \
    "\"encoder_layers\": 2, \"decoder_layers\": 2, \"pad_token_id\": 1, \"eos_token_id\": 2, "                                             \
    "\"decoder_start_token_id\": 2, "
#define T5                                                                                                                                 \
    "{\"model_type\": \"t5\", \"vocab_size\": 40, \"d_model\": 32, \"d_kv\": 12, \"d_ff\": 40, \"num_layers\": 2, \"num_heads\": 4, "      \
    "\"relative_attention_num_buckets\": 8, \"relative_attention_max_distance\": 11, \"decoder_start_token_id\": 0"

#define COPIES "\"tandem\": {\"copy\": true, \"unk_token_id\": 3}"

/* One model of each row of the table; where a row has kinds that differ in what they keep between steps, one of each kind. */
static const char *const configurations[] = {
    "{\"model_type\": \"marian\", " SIZES "}",
    "{\"model_type\": \"bart\", " SIZES "}",
    "{\"model_type\": \"mbart\", " SIZES "}",
    "{\"model_type\": \"pegasus\", " SIZES "}",
    "{\"model_type\": \"m2m_100\", " SIZES "}",
    T5 "}",
    T5 ", \"feed_forward_proj\": \"gated-gelu\", \"tie_word_embeddings\": false}",
    "{\"model_type\": \"marian\", " COPIES ", " SIZES "}",
    T5 ", " COPIES "}",
    RECURRENT "\"cell\": \"lstm\"}",
    RECURRENT "\"cell\": \"gru\"}",
    FEATURES("tandem-rnn-speech") "\"cell\": \"lstm\", \"encoder_bidirectional\": true, \"attention\": \"additive\", \"ctc\": true}",
    FEATURES("tandem-rnn-image") "\"cell\": \"lstm\", \"attention\": \"additive\"}",
    FEATURES("tandem-rnn-image") "\"cell\": \"gru\"}",
    "{\"model_type\": \"tandem-transformer-image\", \"feature_size\": 5, " SIZES "}",
    "{\"model_type\": \"tandem-transformer-image\", \"feature_size\": 5, \"normalize_before\": true, " SIZES "}",
    "{\"model_type\": \"whisper\", \"num_mel_bins\": 5, \"max_source_positions\": 12, \"max_target_positions\": 64, " SIZES "}",
    "{\"model_type\": \"speech_to_text\", \"input_feat_per_channel\": 5, \"num_conv_layers\": 2, \"conv_kernel_sizes\": [5, 3], "
    "\"conv_channels\": 6, \"max_source_positions\": 12, \"max_target_positions\": 64, \"tandem\": {\"ctc\": true}, " SIZES "}",
};
enum {
    CONFIGURATIONS = sizeof configurations / sizeof *configurations,
    SENTENCES = 21,
    LONGEST = 23,
    WORDS = 40,
    WIDEST = 64,
    FEATURE_WIDTH = 5
};

typedef struct fixture {
    td_network network;
    td_decoder_state *state;
    td_arena arena;
    td_graph graph;
    int32_t source[SENTENCES][LONGEST], target[SENTENCES][LONGEST];
    size_t source_length[SENTENCES], target_length[SENTENCES];
    td_real whole[SENTENCES][LONGEST][WIDEST]; /* hidden states of the target, read whole with the source alone */
    td_real memory[SENTENCES][LONGEST][WIDEST];
    size_t memory_length[SENTENCES]; /* fewer rows than the source's where an encoder begins with convolutions */
    int32_t fed_source[SENTENCES * LONGEST], fed_target[SENTENCES * LONGEST]; /* batches must outlive a recording */
    int32_t source_offsets[SENTENCES + 1], target_offsets[SENTENCES + 1];
    td_real features[SENTENCES * LONGEST * FEATURE_WIDTH];
    size_t width;
} fixture;

static const td_architecture *architecture(const fixture *it)
{
    return it->network.architecture;
}

/* A batch of chosen parts of the sentences: from[i] .. to[i] of `ids`. */
typedef struct part {
    size_t sentence, from, to;
} part;

static td_batch lay(const part *parts, size_t count, const int32_t (*ids)[LONGEST], int32_t *storage, int32_t *offsets)
{
    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = parts[i].to - parts[i].from;
        memcpy(storage + offsets[i], ids[parts[i].sentence] + parts[i].from, length * sizeof *storage);
        offsets[i + 1] = offsets[i] + (int32_t)length;
    }
    return (td_batch){{count, offsets}, storage, NULL, 0};
}

/* For models of sound and pictures each id stands for a row of features. */
static td_batch feature_batch(fixture *it, td_batch words)
{
    for (size_t i = 0; i < td_ragged_total(words.ragged) * FEATURE_WIDTH; i++)
        it->features[i] = (td_real)sin((double)words.ids[i / FEATURE_WIDTH] * (1.3 + (double)(i % FEATURE_WIDTH)));
    return (td_batch){words.ragged, NULL, it->features, FEATURE_WIDTH};
}

static void begin_graph(fixture *it, bool recording)
{
    td_arena_reset(&it->arena);
    td_graph_begin(&it->graph, &it->arena, recording);
}

static void check(const fixture *it)
{
    if (it->graph.error.status != TD_OK)
        fail_msg("%s: %s", architecture(it)->model_type, it->graph.error.message);
}

/* Encodes these sentences and appends them to the state. */
static td_tensor *add_sources(fixture *it, const size_t *sentences, size_t count)
{
    part parts[SENTENCES];
    td_memory memory;
    for (size_t i = 0; i < count; i++)
        parts[i] = (part){sentences[i], 0, it->source_length[sentences[i]]};
    td_batch batch = lay(parts, count, (const int32_t(*)[LONGEST])it->source, it->fed_source, it->source_offsets);
    if (it->network.feature_width)
        batch = feature_batch(it, batch);
    architecture(it)->encode(&it->network, &it->graph, &batch, &memory);
    check(it);
    architecture(it)->begin(&it->network, &it->graph, &memory, it->state);
    check(it);
    return memory.states;
}

/* Of a network that copies: what it copies by, the gate and then the weights, in columns behind the hidden state's. */
static td_tensor *beside_copying(fixture *it, const td_tensor *hidden)
{
    td_copying copying = td_network_copying(&it->network, it->state);
    td_tensor *all = td_tensor_zeroed(&it->graph, hidden->rows, hidden->columns + 1 + LONGEST, false);
    assert_non_null(all);
    assert_true(copying.gate->rows == hidden->rows && copying.weights->rows == hidden->rows && copying.weights->columns <= LONGEST);
    for (size_t i = 0; i < hidden->rows; i++) {
        td_real *row = all->data + i * all->stride;
        memcpy(row, hidden->data + i * hidden->stride, hidden->columns * sizeof *row);
        row[hidden->columns] = copying.gate->data[i * copying.gate->stride];
        memcpy(row + hidden->columns + 1, copying.weights->data + i * copying.weights->stride, copying.weights->columns * sizeof *row);
    }
    return all;
}

static td_tensor *read_hidden(fixture *it, const part *parts, size_t count)
{
    td_tensor *hidden = NULL;
    td_batch batch = lay(parts, count, (const int32_t(*)[LONGEST])it->target, it->fed_target, it->target_offsets);
    const td_real *attention;
    architecture(it)->decode(&it->network, &it->graph, it->state, &batch, &hidden, &attention);
    check(it);
    return hidden;
}

static td_tensor *read_parts(fixture *it, const part *parts, size_t count)
{
    td_tensor *hidden = read_hidden(it, parts, count);
    return it->network.copies ? beside_copying(it, hidden) : hidden;
}

static void reorder(fixture *it, const int32_t *parents, size_t rows)
{
    td_error error = {0};
    if (architecture(it)->reorder(it->state, parents, rows, &error) != TD_OK)
        fail_msg("%s", error.message);
    assert_int_equal(architecture(it)->state_rows(it->state), rows);
}

/* hidden holds the parts one after the other; each row must be the one found when the target was read whole. */
static void compare(const fixture *it, const td_tensor *hidden, const part *parts, size_t count, double tolerance)
{
    const td_real *row = hidden->data;
    for (size_t i = 0; i < count; i++)
        for (size_t at = parts[i].from; at < parts[i].to; at++, row += hidden->stride)
            for (size_t c = 0; c < it->width; c++) {
                double got = (double)row[c], wanted = (double)it->whole[parts[i].sentence][at][c];
                if (!(fabs(got - wanted) <= tolerance))
                    fail_msg("%s: sentence %zu, position %zu, column %zu: %.9g, whole %.9g", architecture(it)->model_type,
                             parts[i].sentence, at, c, got, wanted);
            }
}

/* Sentence 0 has one word on either side, 1 and 2 have the longest. */
static void make_sentences(fixture *it)
{
    td_random random = {td_random_key(5, 0, 0), 0};
    for (size_t i = 0; i < SENTENCES; i++) {
        it->source_length[i] = i == 0 ? 1 : i < 3 ? LONGEST : 1 + td_random_below(&random, LONGEST);
        it->target_length[i] = i == 0 ? 1 : i < 3 ? LONGEST : 1 + td_random_below(&random, LONGEST);
        for (size_t k = 0; k < LONGEST; k++) {
            it->source[i][k] = 3 + (int32_t)td_random_below(&random, WORDS - 3);
            it->target[i][k] = k ? 3 + (int32_t)td_random_below(&random, WORDS - 3) : 2;
        }
    }
}

static void store(const fixture *it, td_real (*to)[WIDEST], const td_tensor *rows)
{
    assert_true(rows->columns <= WIDEST && rows->rows <= LONGEST);
    for (size_t i = 0; i < rows->rows; i++)
        memcpy(to[i], rows->data + i * rows->stride, rows->columns * sizeof(td_real));
    (void)it;
}

static void set_up(fixture *it, const char *configuration)
{
    td_error error = {0};
    memset(it, 0, sizeof *it);
    json_t *config;
    assert_int_equal(td_json_parse(configuration, strlen(configuration), "config.json", &config, &error), TD_OK);
    if (td_network_configure(config, "config.json", &it->network, &error) != TD_OK)
        fail_msg("%s", error.message);
    json_decref(config);
    td_parameters_initialise(&it->network.parameters, 3);
    for (size_t i = 0; i < it->network.parameters.count; i++) { /* so that biases and norms matter too */
        const td_parameter *parameter = &it->network.parameters.entries[i]->parameter;
        for (size_t k = 0; !parameter->constant && k < parameter->rows * parameter->columns; k++)
            parameter->data[k] = parameter->data[k] + (td_real)(0.1 * sin((double)(k + i)));
    }
    assert_int_equal(architecture(it)->state_new(&it->network, &it->state, &error), TD_OK);
    td_arena_init(&it->arena);
    make_sentences(it);
    for (size_t i = 0; i < SENTENCES; i++) {
        begin_graph(it, false);
        td_tensor *states = add_sources(it, &i, 1);
        it->memory_length[i] = states->rows;
        store(it, it->memory[i], states);
        td_tensor *hidden = read_parts(it, &(part){i, 0, it->target_length[i]}, 1);
        it->width = hidden->columns;
        store(it, it->whole[i], hidden);
        reorder(it, NULL, 0);
    }
}

static void tear_down(fixture *it)
{
    architecture(it)->state_free(it->state);
    td_arena_free(&it->arena);
    td_network_free(&it->network);
}

static void every_model(void (*test)(fixture *it))
{
    static fixture it;
    for (size_t i = 0; i < CONFIGURATIONS; i++) {
        set_up(&it, configurations[i]);
        test(&it);
        tear_down(&it);
    }
}

/* ---- one token at a time, one sentence ---- */

static void step_by_step(fixture *it)
{
    for (size_t i = 0; i < SENTENCES; i++) {
        begin_graph(it, false);
        add_sources(it, &i, 1);
        for (size_t at = 0; at < it->target_length[i]; at++) {
            part one = {i, at, at + 1};
            begin_graph(it, false);
            compare(it, read_parts(it, &one, 1), &one, 1, 1e-5);
        }
        reorder(it, NULL, 0);
    }
}

static void steps_equal_whole(void **state)
{
    (void)state;
    every_model(step_by_step);
}

/* ---- a batch in which rows move, are copied, end and are joined by others, in portions of several tokens ---- */

static void shuffle(fixture *it, td_random *random, size_t *sentence, size_t *length, size_t *rows)
{
    int32_t parents[SENTENCES];
    size_t next_sentence[SENTENCES], next_length[SENTENCES], next = 0;
    for (size_t row = 0; row < *rows && next < SENTENCES; row++) {
        size_t parent = td_random_below(random, *rows);
        if (length[parent] < it->target_length[sentence[parent]]) {
            parents[next] = (int32_t)parent;
            next_sentence[next] = sentence[parent];
            next_length[next++] = length[parent];
        }
    }
    reorder(it, parents, next);
    memcpy(sentence, next_sentence, sizeof next_sentence);
    memcpy(length, next_length, sizeof next_length);
    *rows = next;
}

static void portions(fixture *it)
{
    td_random random = {td_random_key(9, 0, 0), 0};
    size_t sentence[SENTENCES], length[SENTENCES], rows = 0, widest = 0, portion_most = 0;
    for (size_t round = 0; round < 60; round++) {
        begin_graph(it, false);
        if (rows < 6 || round % 7 == 3) {
            size_t added[5], count = rows + 5 <= SENTENCES ? 5 : SENTENCES - rows;
            for (size_t i = 0; i < count; i++) {
                added[i] = td_random_below(&random, SENTENCES);
                sentence[rows + i] = added[i];
                length[rows + i] = 0;
            }
            if (count)
                add_sources(it, added, count);
            rows += count;
        }
        part parts[SENTENCES];
        for (size_t row = 0; row < rows; row++) {
            size_t left = it->target_length[sentence[row]] - length[row], take = 1 + td_random_below(&random, left < 4 ? left : 4);
            parts[row] = (part){sentence[row], length[row], length[row] + take};
            length[row] += take;
            portion_most = take > portion_most ? take : portion_most;
        }
        compare(it, read_parts(it, parts, rows), parts, rows, 1e-5);
        widest = rows > widest ? rows : widest;
        shuffle(it, &random, sentence, length, &rows);
    }
    assert_true(widest > 8 && portion_most > 2);
    reorder(it, NULL, 0);
}

static void portions_equal_whole(void **state)
{
    (void)state;
    every_model(portions);
}

/* ---- company ---- */

static void company(fixture *it)
{
    for (size_t count = 2; count <= SENTENCES; count += count < 5 ? 1 : 8) {
        size_t sentences[SENTENCES];
        part parts[SENTENCES];
        for (size_t i = 0; i < count; i++) {
            sentences[i] = (i * 8 + count) % SENTENCES;
            parts[i] = (part){sentences[i], 0, it->target_length[sentences[i]]};
        }
        begin_graph(it, false);
        td_tensor *states = add_sources(it, sentences, count);
        const td_real *row = states->data;
        for (size_t i = 0; i < count; i++)
            for (size_t at = 0; at < it->memory_length[sentences[i]]; at++, row += states->stride)
                if (memcmp(row, it->memory[sentences[i]][at], states->columns * sizeof *row))
                    fail_msg("%s: the encoder gives sentence %zu other numbers among %zu", architecture(it)->model_type, sentences[i],
                             count);
        compare(it, read_parts(it, parts, count), parts, count, 0);
        reorder(it, NULL, 0);
    }
}

static void company_changes_nothing(void **state)
{
    (void)state;
    every_model(company);
}

/* The same token fed alone and in a batch of rows with other pasts. */
static void step_company(fixture *it)
{
    size_t sentences[SENTENCES];
    static td_real alone[SENTENCES][LONGEST][WIDEST];
    for (size_t i = 0; i < SENTENCES; i++) {
        sentences[i] = i;
        begin_graph(it, false);
        add_sources(it, &i, 1);
        for (size_t at = 0; at < it->target_length[i]; at++) {
            begin_graph(it, false);
            store(it, &alone[i][at], read_parts(it, &(part){i, at, at + 1}, 1));
        }
        reorder(it, NULL, 0);
    }
    memcpy(it->whole, alone, sizeof alone);
    begin_graph(it, false);
    add_sources(it, sentences, SENTENCES);
    size_t rows = SENTENCES;
    for (size_t at = 0; rows; at++) {
        part parts[SENTENCES];
        int32_t parents[SENTENCES];
        size_t next = 0;
        for (size_t row = 0; row < rows; row++)
            parts[row] = (part){sentences[row], at, at + 1};
        begin_graph(it, false);
        compare(it, read_parts(it, parts, rows), parts, rows, 0);
        for (size_t row = 0; row < rows; row++)
            if (at + 1 < it->target_length[sentences[row]]) {
                sentences[next] = sentences[row];
                parents[next++] = (int32_t)row;
            }
        reorder(it, parents, rows = next);
    }
}

static void step_company_changes_nothing(void **state)
{
    (void)state;
    every_model(step_company);
}

/* ---- the path of training ---- */

static void recorded(fixture *it)
{
    size_t sentences[SENTENCES];
    part parts[SENTENCES];
    for (size_t i = 0; i < SENTENCES; i++) {
        sentences[i] = i;
        parts[i] = (part){i, 0, it->target_length[i]};
    }
    begin_graph(it, true);
    add_sources(it, sentences, SENTENCES);
    compare(it, read_parts(it, parts, SENTENCES), parts, SENTENCES, 1e-5);
}

static void recorded_equals_whole(void **state)
{
    (void)state;
    every_model(recorded);
}

/* ---- memory ---- */

static void translate(fixture *it)
{
    size_t sentences[SENTENCES];
    int32_t parents[SENTENCES];
    for (size_t i = 0; i < SENTENCES; i++) {
        sentences[i] = i;
        parents[i] = (int32_t)(i / 2);
    }
    begin_graph(it, false);
    add_sources(it, sentences, SENTENCES);
    for (size_t at = 0; at < LONGEST; at++) {
        part parts[SENTENCES];
        for (size_t row = 0; row < SENTENCES; row++)
            parts[row] = (part){1, at, at + 1};
        begin_graph(it, false);
        td_tensor *hidden = read_hidden(it, parts, SENTENCES);
        td_project(&it->network, &it->graph, hidden);
        check(it);
        reorder(it, parents, SENTENCES);
    }
    reorder(it, NULL, 0);
}

static void warm(fixture *it)
{
    for (size_t i = 0; i < 3; i++)
        translate(it);
    uint64_t before = td_allocation_count();
    translate(it);
    translate(it);
    if (td_allocation_count() != before)
        fail_msg("%s: %llu allocations", architecture(it)->model_type, (unsigned long long)(td_allocation_count() - before));
}

static void warm_steps_allocate_nothing(void **state)
{
    (void)state;
    every_model(warm);
}

/* ---- settings ---- */

static void activations_have_the_names_of_transformers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        td_activation activation;
    } known[] = {
        {"relu", TD_RELU},  {"relu6", TD_RELU6}, {"gelu", TD_GELU}, {"gelu_new", TD_GELU_TANH}, {"gelu_pytorch_tanh", TD_GELU_TANH},
        {"silu", TD_SWISH}, {"swish", TD_SWISH}, {"tanh", TD_TANH}};
    td_activation activation = TD_SIGMOID;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_true(td_activation_find(known[i].name, &activation));
        assert_int_equal(activation, known[i].activation);
    }
    assert_false(td_activation_find("mish", &activation));
}

static void settings_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *config, *key;
    } refused[] = {
        {"{\"model_type\": \"marian\", " SIZES ", \"normalize_before\": true}", "\"normalize_before\": true"},
        {"{\"model_type\": \"marian\", " SIZES ", \"static_position_embeddings\": false}", "\"static_position_embeddings\": false"},
        {"{\"model_type\": \"bart\", " SIZES ", \"normalize_embedding\": false}", "\"normalize_embedding\": false"},
        {"{\"model_type\": \"mbart\", " SIZES ", \"add_final_layer_norm\": false}", "\"add_final_layer_norm\": false"},
        {"{\"model_type\": \"bart\", " SIZES ", \"is_encoder_decoder\": false}", "\"is_encoder_decoder\": false"},
        {"{\"model_type\": \"bart\", " SIZES ", \"activation_function\": \"mish\"}", "\"mish\""},
        {"{\"model_type\": \"bart\", " SIZES ", \"scale_embedding\": \"yes\"}", "\"scale_embedding\""},
        {"{\"model_type\": \"marian\", " SIZES ", \"decoder_vocab_size\": 41}", "\"decoder_vocab_size\" 41"},
        {"{\"model_type\": \"bart\", " SIZES ", \"d_model\": 24}", "\"d_model\""},
        {"{\"model_type\": \"bart\", " SIZES ", \"decoder_attention_heads\": 3}", "heads"},
        {"{\"model_type\": \"bart\", " SIZES ", \"encoder_layers\": 0}", "\"encoder_layers\""},
        {"{\"model_type\": \"m2m_100\", " SIZES ", \"pad_token_id\": 2000000000}", "\"pad_token_id\""},
        {T5 ", \"feed_forward_proj\": \"gated-mish\"}", "\"feed_forward_proj\": \"gated-mish\""},
        {T5 ", \"dense_act_fn\": \"gated-relu\"}", "\"dense_act_fn\": \"gated-relu\""},
        {T5 ", \"d_kv\": 3, \"d_model\": 8, \"num_heads\": 1}", "\"d_model\""},
        {T5 ", \"is_encoder_decoder\": false}", "\"is_encoder_decoder\": false"},
        {T5 ", \"relative_attention_num_buckets\": 7}", "\"relative_attention_num_buckets\""},
        {T5 ", \"relative_attention_max_distance\": 4}", "\"relative_attention_max_distance\""},
        {T5 ", \"layer_norm_epsilon\": -1}", "\"layer_norm_epsilon\""},
        {T5 ", \"num_decoder_layers\": 0}", "\"num_decoder_layers\""},
        {"{\"model_type\": \"t5\"}", "\"d_model\""},
        {"{\"model_type\": \"bart\"}", "\"d_model\""},
        {"{\"model_type\": \"tandem-transformer-image\", " SIZES "}", "\"feature_size\""},
        {"{\"model_type\": \"tandem-transformer-image\", \"feature_size\": 5, \"d_model\": 32}", "\"encoder_layers\""},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        td_network network = {0};
        td_error error = {0};
        json_t *config = json_loads(refused[i].config, 0, NULL);
        assert_non_null(config);
        assert_int_not_equal(td_network_configure(config, "config.json", &network, &error), TD_OK);
        if (!strstr(error.message, refused[i].key) || !strstr(error.message, "config.json"))
            fail_msg("\"%s\" does not name %s", error.message, refused[i].key);
        json_decref(config);
    }
}

static void ids_and_positions_are_checked(void **state)
{
    (void)state;
    static fixture it;
    set_up(&it, configurations[0]);
    begin_graph(&it, false);
    add_sources(&it, &(size_t){0}, 1);
    int32_t ids[65] = {2}, offsets[2] = {0, 65}, wrong[2] = {2, WORDS}, two[2] = {0, 2};
    td_tensor *hidden;
    begin_graph(&it, false);
    assert_int_equal(architecture(&it)->decode(&it.network, &it.graph, it.state, &(td_batch){{1, two}, wrong, NULL, 0}, &hidden, NULL),
                     TD_ERROR_ARGUMENT);
    assert_non_null(strstr(it.graph.error.message, "token id 40"));
    reorder(&it, NULL, 0);
    begin_graph(&it, false);
    add_sources(&it, &(size_t){0}, 1);
    begin_graph(&it, false);
    assert_int_equal(architecture(&it)->decode(&it.network, &it.graph, it.state, &(td_batch){{1, offsets}, ids, NULL, 0}, &hidden, NULL),
                     TD_ERROR_ARGUMENT);
    assert_non_null(strstr(it.graph.error.message, "position 64"));
    begin_graph(&it, false);
    assert_int_not_equal(
        architecture(&it)->decode(&it.network, &it.graph, it.state, &(td_batch){{0, (int32_t[]){0}}, ids, NULL, 0}, &hidden, NULL), TD_OK);
    tear_down(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_equal_whole),
        cmocka_unit_test(portions_equal_whole),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(step_company_changes_nothing),
        cmocka_unit_test(recorded_equals_whole),
        cmocka_unit_test(warm_steps_allocate_nothing),
        cmocka_unit_test(activations_have_the_names_of_transformers),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(ids_and_positions_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
