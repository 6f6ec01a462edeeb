/* The table of recipe keys and look-ups in it. */
#include "training/recipe_table.h"

#include "base/spelling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(td_recipe, member)
#define INTEGER(member, minimum, maximum, value, text)                                                                                     \
    {                                                                                                                                      \
        .name = #member, .type = TD_RECIPE_INTEGER, .offset = AT(member), .low = minimum, .high = maximum, .initial = value, .help = text  \
    }
#define REAL(member, minimum, maximum, value, text)                                                                                        \
    {                                                                                                                                      \
        .name = #member, .type = TD_RECIPE_REAL, .offset = AT(member), .low = minimum, .high = maximum, .initial = value, .help = text     \
    }
#define BOOL(member, value, text)                                                                                                          \
    {                                                                                                                                      \
        .name = #member, .type = TD_RECIPE_BOOL, .offset = AT(member), .initial = value, .help = text                                      \
    }
#define CHOICE(member, list, value, text)                                                                                                  \
    {                                                                                                                                      \
        .name = #member, .type = TD_RECIPE_CHOICE, .offset = AT(member), .choices = list, .initial = value, .help = text                   \
    }
#define LIST_OF(...)                                                                                                                       \
    (const char *const[])                                                                                                                  \
    {                                                                                                                                      \
        __VA_ARGS__, NULL                                                                                                                  \
    }
#define STRING(member, kind, text)                                                                                                         \
    {                                                                                                                                      \
        .name = #member, .type = TD_RECIPE_STRING, .path = kind, .offset = AT(member), .initial = "", .help = text                         \
    }
#define LIST(member, kind, text)                                                                                                           \
    {                                                                                                                                      \
        .name = #member, .type = TD_RECIPE_LIST, .path = kind, .offset = AT(member), .initial = "", .help = text                           \
    }

/* clang-format off: one key, one row */
const td_recipe_key td_recipe_keys[] = {
    CHOICE(task, LIST_OF("translate", "summarize", "caption", "transcribe"), "translate",
           "What the model does; decides how the corpora are read."),
    STRING(output, TD_RECIPE_OUTPUT_PATH, "Directory for the model, checkpoints and logs. Required. Relative to the current directory."),

    LIST(data.train.source, TD_RECIPE_INPUT_PATH,
         "File or list of files to learn from: one sentence a line, .gz too; .jsonl with data.keys; .tsv of file name and text for sound "
         "and pictures. Required."),
    LIST(data.train.target, TD_RECIPE_INPUT_PATH,
         "The other side, line by line; as many files as data.train.source. Not needed with .jsonl and .tsv."),
    LIST(data.validation.source, TD_RECIPE_INPUT_PATH, "Held-out text in the same form."),
    LIST(data.validation.target, TD_RECIPE_INPUT_PATH, "The other side of it."),
    STRING(data.keys.source, TD_RECIPE_NO_PATH, "Name of the member of each .jsonl object that holds the source."),
    STRING(data.keys.target, TD_RECIPE_NO_PATH, "Name of the member that holds the target."),
    STRING(data.folder, TD_RECIPE_INPUT_PATH, "Folder that names of sounds and pictures are relative to; that of the .tsv unless given."),
    CHOICE(data.audio.kind, LIST_OF("fbank", "mfcc", "log-mel", "features"), "fbank",
           "What sound becomes: Kaldi's filter banks or cepstra, Whisper's log-mel, or ready-made features from .mfc and .npy files."),
    INTEGER(data.audio.sampling_rate, 1000, 384000, "16000", "Samples a second that sound is resampled to."),
    INTEGER(data.audio.width, 1, 4096, "80", "Features a frame: mel bins, cepstra, or columns of the feature files."),
    CHOICE(data.audio.normalize, LIST_OF("none", "utterance", "global"), "utterance",
           "Zero mean and unit variance of each feature: never, over each recording, or over the training data."),
    BOOL(data.audio.deltas, "false", "Append first and second differences over time."),
    BOOL(data.audio.speed_perturbation, "false",
         "Learn from every recording also at 0.9 and 1.1 times its speed (Ko 2015): three times the training data."),
    INTEGER(data.image.size, 0, 4096, "0",
            "Height and width that pictures are brought to; 0: as the preprocessor_config.json of model.encoder.from says, or 224."),
    CHOICE(data.vocabulary.kind, LIST_OF("unigram", "bpe", "char", "word"), "unigram",
           "What the pieces are: subwords chosen by a unigram language model, by byte-pair merges, characters, or words."),
    INTEGER(data.vocabulary.size, 8, 1000000, "8000", "Pieces in the vocabulary, special ones included; an upper limit for char and word."),
    BOOL(data.vocabulary.shared, "true", "One vocabulary for source and target, or one each."),
    CHOICE(data.vocabulary.normalization, LIST_OF("nmt_nfkc", "nfkc", "nfkc_cf", "nmt_nfkc_cf", "identity"), "nmt_nfkc",
           "Unicode normalization before splitting; _cf also folds case."),
    REAL(data.vocabulary.character_coverage, 0.9, 1, "1",
         "Share of the characters seen in training that the vocabulary must cover; 0.9995 suits scripts with many characters."),
    BOOL(data.vocabulary.byte_fallback, "false", "Spell unknown characters as bytes instead of one unknown piece."),
    STRING(data.vocabulary.from, TD_RECIPE_INPUT_PATH, "Model directory whose vocabulary is taken instead of training one."),
    INTEGER(data.vocabulary.max_sentences, 1, 1000000000, "2000000",
            "Sentences the vocabulary is trained on; from a larger corpus so many are taken at even distances."),
    LIST(data.languages, TD_RECIPE_NO_PATH,
         "Target language of each training corpus; the source then begins with >>code<<. Empty: one language, no code."),
    STRING(data.source_language, TD_RECIPE_NO_PATH,
           "Language of the sources, as the model of model.from writes it: en_XX, eng_Latn. Empty: what its tokenizer_config.json says."),
    STRING(data.target_language, TD_RECIPE_NO_PATH,
           "Language of the targets, for a model.from of many languages; generation_config.json then says to write it."),
    INTEGER(
        data.max_source_length, 1, 2147483647, "256",
        "Longer sources are left out of training, in pieces; in frames for sound, where it is 6000 unless given. Pictures have no limit."),
    BOOL(data.truncate_source, "false",
         "Cut longer texts to data.max_source_length instead of leaving them out; the end token stays. How many were cut is reported."),
    INTEGER(data.max_target_length, 1, 100000, "256", "Longer targets are left out of training, in pieces."),
    REAL(data.max_length_ratio, 0, 1000, "0", "Pairs with one side longer than this many times the other are left out; 0 keeps all."),
    INTEGER(data.shuffle_window, 1, 1000000000, "100000", "Pairs held in memory and shuffled together."),
    REAL(data.bpe_dropout, 0, 1, "0",
         "Probability of leaving out a merge (bpe), or the sampling of other splits (unigram), while training."),

    CHOICE(model.type, LIST_OF("transformer", "lstm", "gru", "rnn"), "transformer", "The family."),
    INTEGER(model.encoder.layers, 1, 100, "4", "Layers of the encoder."),
    INTEGER(model.encoder.width, 1, 16384, "256", "Width of the encoder's states."),
    INTEGER(model.encoder.heads, 1, 256, "4", "Attention heads; must divide the width."),
    INTEGER(model.encoder.feed_forward, 1, 65536, "1024", "Inner width of the feed-forward blocks."),
    BOOL(model.encoder.bidirectional, "true", "Recurrent encoders read in both directions, each with half of the width."),
    STRING(model.encoder.from, TD_RECIPE_INPUT_PATH, "Model directory of a picture encoder (mobilenet_v2, resnet) to start from."),
    BOOL(model.encoder.frozen, "true",
         "Leave that picture encoder as it is, or that of model.from; its features are then computed once and kept on disk."),
    INTEGER(model.encoder.trained_blocks, 0, 1000, "0",
            "Of a frozen picture encoder, train so many of the last blocks nevertheless; what comes before them is computed once."),
    LIST(model.encoder.cnn.channels, TD_RECIPE_NO_PATH,
         "Channels of each stage (3 x 3 convolution, batch norm, ReLU) of a picture encoder that is trained from scratch, where "
         "model.encoder.from is not given; [32, 64, 128, 256] unless given."),
    LIST(model.encoder.cnn.strides, TD_RECIPE_NO_PATH, "Its strides; 2 for every stage unless given."),
    LIST(model.encoder.subsampling, TD_RECIPE_NO_PATH,
         "Strides of convolutions over time in front of a recurrent encoder of sound, like [2, 2] for a quarter of the frames."),
    INTEGER(model.encoder.pyramid_layers, 0, 99, "0",
            "After each of the first so many layers of a recurrent encoder of sound, pairs of states become one (Chan 2016)."),
    INTEGER(model.decoder.layers, 1, 100, "4", "Layers of the decoder; the encoder's number unless given."),
    INTEGER(model.decoder.width, 1, 16384, "256", "Width of the decoder's states; the encoder's unless given."),
    INTEGER(model.decoder.heads, 1, 256, "4", "Attention heads; the encoder's number unless given."),
    INTEGER(model.decoder.feed_forward, 1, 65536, "1024", "Inner width of the feed-forward blocks; the encoder's unless given."),
    CHOICE(model.attention, LIST_OF("multi-head", "none", "additive", "dot", "general", "concat"), "multi-head",
           "How the decoder looks at the source: multi-head for transformer; for recurrent models none (one fixed context vector), "
           "additive (Bahdanau 2015), dot, general or concat (Luong 2015). Recurrent models have additive unless given."),
    CHOICE(model.norm, LIST_OF("post", "pre"), "post", "Layer normalization after each block (Vaswani 2017) or before it."),
    CHOICE(model.positions, LIST_OF("sinusoidal", "learned"), "sinusoidal", "Position embeddings of a transformer."),
    CHOICE(model.activation, LIST_OF("relu", "gelu", "swish", "tanh"), "relu", "Activation of the feed-forward blocks."),
    CHOICE(model.tie_embeddings, LIST_OF("none", "two-way", "three-way"), "three-way",
           "Share the target embedding with the output layer (two-way) and with the source embedding too (three-way). Without a shared "
           "vocabulary two-way unless given."),
    BOOL(model.scale_embedding, "true", "Multiply embeddings by the square root of their width (transformer)."),
    BOOL(model.reverse_source, "false", "Read the source backwards (Sutskever 2014)."),
    BOOL(model.input_feeding, "false", "Feed the attentional state to the next step (Luong 2015; recurrent models)."),
    BOOL(model.coverage, "false", "Let attention see where it has looked before (See 2017; recurrent models)."),
    BOOL(model.context_feeding, "false",
         "Feed the source's vector to every step of a decoder without attention (Cho 2014; recurrent models)."),
    BOOL(model.copy, "false",
         "Write pieces of the source beside those of the vocabulary, also pieces the vocabulary lacks: the pointer-generator (See 2017) of "
         "recurrent models with attention; of a transformer a head of its own on top of the decoder. Needs a vocabulary that both sides "
         "share."),
    INTEGER(model.attention_size, 0, 65536, "0",
            "Inner width of additive and concat attention (recurrent models); 0: the width of the decoder."),
    CHOICE(model.nonlinearity, LIST_OF("tanh", "relu"), "tanh", "Nonlinearity of rnn cells."),
    INTEGER(model.embedding_width, 0, 16384, "0", "Width of the embeddings of recurrent models; 0: the width of the layer above."),
    STRING(model.from, TD_RECIPE_INPUT_PATH, "Model directory to start from; its shape replaces the keys above."),

    INTEGER(training.batch_tokens, 1, 100000000, "4096", "Target pieces in one step, over all shards."),
    INTEGER(training.shards, 1, 1024, "4",
            "Parts a step is cut into, which threads share. Part of the result: the same number gives the same model on any number of "
            "threads."),
    INTEGER(training.accumulation, 1, 10000, "1", "Batches added up before each update."),
    INTEGER(training.max_steps, 0, 1000000000, "0", "Stop after this many updates; 0: no limit."),
    INTEGER(training.max_epochs, 0, 1000000, "0", "Stop after this many passes over the training data; 0: no limit."),
    REAL(training.max_minutes, 0, 10000000, "0", "Stop after this much time; 0: no limit."),
    INTEGER(training.patience, 0, 1000000, "0", "Stop after this many validations in a row without a better result; 0: never."),
    REAL(training.learning_rate, 1e-10, 1000, "0.0005", "Learning rate at its highest."),
    CHOICE(training.schedule, LIST_OF("inverse-sqrt", "linear", "cosine", "constant", "plateau"), "inverse-sqrt",
           "How the learning rate falls after warm-up; linear and cosine reach the minimum at max_steps, plateau halves it when validation "
           "stops improving."),
    INTEGER(training.warmup_steps, 0, 1000000000, "4000", "Updates over which the learning rate rises from 0."),
    REAL(training.minimum_learning_rate, 0, 1000, "0", "The learning rate never falls below this."),
    CHOICE(training.optimizer, LIST_OF("adam", "adamw", "sgd"), "adam", "Update rule; adamw decouples weight decay (Loshchilov 2019)."),
    REAL(training.beta1, 0, 0.999999, "0.9", "Decay of Adam's first moment."),
    REAL(training.beta2, 0, 0.999999, "0.98", "Decay of Adam's second moment."),
    REAL(training.epsilon, 1e-20, 1, "1e-9", "Added to Adam's denominator."),
    REAL(training.momentum, 0, 0.999999, "0", "Momentum of sgd."),
    REAL(training.weight_decay, 0, 1, "0",
         "Weight decay, added to the gradient or, with adamw, apart from it; norms and biases are left out."),
    REAL(training.clip_norm, 0, 1000000, "1", "Gradients with a larger norm are scaled down to it; 0: never."),
    REAL(training.dropout, 0, 0.99, "0.1", "Dropout of embeddings and of what each block adds."),
    REAL(training.attention_dropout, 0, 0.99, "0", "Dropout of attention weights."),
    REAL(training.activation_dropout, 0, 0.99, "0", "Dropout inside feed-forward blocks."),
    REAL(training.word_dropout, 0, 0.99, "0", "Probability of replacing a source piece by the unknown one."),
    REAL(training.label_smoothing, 0, 0.99, "0.1", "Probability mass spread over all pieces."),
    REAL(training.r_drop, 0, 100, "0", "Weight of the divergence between two dropout passes (Liang 2021); 0: off."),
    REAL(training.coverage_loss, 0, 1000, "0",
         "Weight of the loss for attending again to what was attended to (See 2017); needs model.copy or model.coverage; 0: off."),
    REAL(training.doubly_stochastic, 0, 1000, "0",
         "Weight of a loss that asks of attention to have spent one in all on every part of the source when the target ends (Xu 2015, "
         "equation 14); for recurrent models; 0: off."),
    REAL(training.scheduled_sampling, 0, 1, "0",
         "Probability of feeding the decoder its own prediction in place of the target's piece before (Bengio 2015), all positions "
         "predicted in one pass (Mihaylova 2019). Rises from 0 to this at max_steps; without max_steps it holds from the start."),
    REAL(training.ctc_weight, 0, 1, "0",
         "Weight of the CTC loss of the encoder's states (Graves 2006; Watanabe 2017) beside the decoder's; 1: CTC alone."),
    CHOICE(training.precision, LIST_OF("float32", "bfloat16"), "float32", "Precision of matrix products; weights and sums stay float32."),
    REAL(training.ema, 0, 0.9999999, "0", "Decay of a moving average of the weights, which is then validated and saved; 0: off."),
    INTEGER(training.spec_augment.time_masks, 0, 1000, "0",
            "Stretches of time that are blanked in each recording (SpecAugment, Park 2019)."),
    INTEGER(training.spec_augment.time_width, 0, 100000, "40", "The longest of them, in frames."),
    INTEGER(training.spec_augment.frequency_masks, 0, 1000, "0", "Bands of frequency that are blanked in each recording."),
    INTEGER(training.spec_augment.frequency_width, 0, 4096, "15", "The widest of them, in bins."),
    REAL(training.minimum_risk.weight, 0, 1, "0",
         "Learn from texts that the model itself writes and that are better or worse than the mean of their kind (policy gradient; Ranzato "
         "2016, Shen 2016, Rennie 2017): this share of the gradient, with the rest from the targets. For a model that knows its task, so "
         "with model.from; the loss in reports is then minus the samples' mean score. 0: off."),
    CHOICE(training.minimum_risk.metric, LIST_OF("bleu", "chrf", "rouge", "wer", "cer", "cider"), "bleu",
           "What says how good a sample is, against all targets of a sound or picture, or a text's own."),
    INTEGER(training.minimum_risk.samples, 2, 64, "5", "Samples of each source in each step."),
    INTEGER(training.average_last, 0, 1000, "0", "Average this many last checkpoints into the final model; 0: keep the best one."),
    INTEGER(training.keep_checkpoints, 1, 100000, "3", "Older checkpoints are removed."),
    INTEGER(training.seed, 0, 9007199254740992.0, "1", "Seed of every random choice."),
    INTEGER(training.threads, 0, 4096, "0", "Threads; 0: one for each processor. Does not change the result."),
    REAL(training.max_memory, 0, 1000000, "0",
         "GB of memory that steps may take; 0: what the machine, or a limit set for the process, leaves. A step that needs more is "
         "refused."),
    INTEGER(training.validate_every, 1, 1000000000, "500", "Updates between validations."),
    INTEGER(training.checkpoint_every, 1, 1000000000, "500", "Updates between checkpoints."),
    INTEGER(training.report_every, 1, 1000000000, "50", "Updates between lines in the log."),
    CHOICE(training.validation_metric, LIST_OF("loss", "bleu", "rouge", "cider", "wer", "cer", "exact"), "loss",
           "What the best checkpoint is chosen by: loss, or a score of generated text (rouge: the mean of ROUGE-1, 2 and L)."),
    INTEGER(training.validation_beam, 1, 1024, "4", "Beam of the search during validation."),
    CHOICE(training.validation_tokenize, LIST_OF("13a", "none", "char", "intl"), "13a", "Tokenization for BLEU during validation."),
    INTEGER(training.validation_max_sentences, 0, 1000000000, "0", "Generate for at most this many validation sentences; 0: all."),

    INTEGER(generation.beam, 1, 1024, "4", "Beam the model will be used with."),
    REAL(generation.length_penalty, -10, 10, "1", "Exponent of the length by which scores are divided."),
    INTEGER(generation.min_length, 0, 100000, "0", "Fewest pieces in an output."),
    INTEGER(generation.max_length, 1, 100000, "256", "Most pieces in an output."),
    REAL(generation.repetition_penalty, 0.01, 100, "1", "Factor against pieces already written; 1: none."),
    REAL(generation.ctc_weight, 0, 1, "0",
         "Weight of CTC's scores in the search; 1: CTC alone. 1 unless given where training.ctc_weight is 1."),
    INTEGER(generation.no_repeat_ngram, 0, 1000, "0", "No run of this many pieces appears twice; 0: any may."),
    CHOICE(generation.early_stopping, LIST_OF("false", "true", "never"), "false", "When beam search stops, as in generation_config.json."),
};
/* clang-format on */
const size_t td_recipe_key_count = sizeof td_recipe_keys / sizeof *td_recipe_keys;
_Static_assert(sizeof td_recipe_keys / sizeof *td_recipe_keys <= TD_RECIPE_MAX_KEYS, "enlarge TD_RECIPE_MAX_KEYS");

int td_recipe_find(const char *name)
{
    for (size_t row = 0; row < td_recipe_key_count; row++)
        if (strcmp(td_recipe_keys[row].name, name) == 0)
            return (int)row;
    return -1;
}

int td_recipe_find_choice(const char *const *choices, const char *text)
{
    for (int i = 0; choices[i]; i++)
        if (strcmp(choices[i], text) == 0)
            return i;
    return -1;
}

const char *td_recipe_choice(const char *key, int position)
{
    int row = td_recipe_find(key);
    if (row < 0 || td_recipe_keys[row].type != TD_RECIPE_CHOICE)
        return NULL;
    const char *const *choices = td_recipe_keys[row].choices;
    for (int i = 0; choices[i]; i++)
        if (i == position)
            return choices[i];
    return NULL;
}

bool td_recipe_is_section(const char *name)
{
    size_t length = strlen(name);
    for (size_t row = 0; row < td_recipe_key_count; row++)
        if (strncmp(td_recipe_keys[row].name, name, length) == 0 && td_recipe_keys[row].name[length] == '.')
            return true;
    return false;
}

/* Levenshtein distance; names longer than the row are compared by their first characters. */
static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* A right name in the wrong section is one step away, whatever the section. */
static size_t key_distance(const char *a, const char *b)
{
    size_t whole = td_edit_distance(a, strlen(a), b), last = td_edit_distance(last_part(a), strlen(last_part(a)), last_part(b)) + 1;
    return whole < last ? whole : last;
}

void td_recipe_nearest(const char *name, char *ret_nearest, size_t size)
{
    size_t best = SIZE_MAX;
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        char candidate[96]; /* "model", "model.encoder", "model.encoder.layers" */
        snprintf(candidate, sizeof candidate, "%s", td_recipe_keys[row].name);
        for (char *dot = candidate + strlen(candidate); dot; dot = strrchr(candidate, '.')) {
            *dot = 0;
            size_t length = strlen(candidate);
            bool above = strncmp(name, candidate, length) == 0 && name[length] == '.'; /* right already, and no help */
            size_t distance = key_distance(name, candidate);
            if (distance < best && !above) {
                best = distance;
                snprintf(ret_nearest, size, "%s", candidate);
            }
        }
    }
}

const char *td_recipe_nearest_choice(const char *const *choices, const char *text)
{
    const char *nearest = choices[0];
    for (int i = 1; choices[i]; i++)
        if (td_edit_distance(text, strlen(text), choices[i]) < td_edit_distance(text, strlen(text), nearest))
            nearest = choices[i];
    return nearest;
}

static bool lists_equal(const td_string_list *a, const td_string_list *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = strcmp(a->items[i], b->items[i]) == 0;
    return equal;
}

static bool values_equal(const td_recipe_key *key, const td_recipe *a, const td_recipe *b)
{
    const void *first = td_recipe_field(a, key), *second = td_recipe_field(b, key);
    switch (key->type) {
    case TD_RECIPE_INTEGER:
        return *(const int64_t *)first == *(const int64_t *)second;
    case TD_RECIPE_REAL:
        return *(const double *)first == *(const double *)second;
    case TD_RECIPE_BOOL:
        return *(const bool *)first == *(const bool *)second;
    case TD_RECIPE_CHOICE:
        return *(const int *)first == *(const int *)second;
    case TD_RECIPE_LIST:
        return lists_equal(first, second);
    case TD_RECIPE_STRING:
        break;
    }
    const char *text = *(char *const *)first, *other = *(char *const *)second;
    return key->path == TD_RECIPE_NO_PATH ? strcmp(text, other) == 0 : !*text == !*other;
}

const char *td_recipe_difference(const td_recipe *a, const td_recipe *b, const char *prefix)
{
    for (size_t row = 0; row < td_recipe_key_count; row++) {
        const td_recipe_key *key = &td_recipe_keys[row];
        if (strncmp(key->name, prefix, strlen(prefix)) == 0 && !values_equal(key, a, b))
            return key->name;
    }
    return NULL;
}

void td_recipe_format_real(double value, char *ret_text, size_t size)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(ret_text, size, "%.*g", digits, value);
        if (strtod(ret_text, NULL) == value)
            break;
    }
    if (value >= 1 && value < 1e15 && strchr(ret_text, 'e')) /* 1000, not 1e+03 */
        snprintf(ret_text, size, "%.0f", value);
}

td_c_locale td_c_locale_enter(void)
{
    td_c_locale locale = {newlocale(LC_ALL_MASK, "C", (locale_t)0), (locale_t)0};
    if (locale.own)
        locale.before = uselocale(locale.own);
    return locale;
}

void td_c_locale_leave(td_c_locale locale)
{
    if (!locale.own)
        return;
    uselocale(locale.before);
    freelocale(locale.own);
}
