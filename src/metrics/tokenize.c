/* sacreBLEU's tokenisers. Each is a list of passes over the text that put spaces around characters, in which one pass
 * sees what the one before wrote; keeping the passes apart is what makes odd cases ("1,.,2") come out as theirs. */
#include "metrics/text.h"

#include <string.h>
#include <unicode/uchar.h>

typedef bool (*code_class)(uint32_t code);

static bool is_digit(uint32_t code)
{
    return code >= '0' && code <= '9';
}
static bool is_not_digit(uint32_t code)
{
    return !is_digit(code);
}
static bool is_dash(uint32_t code)
{
    return code == '-';
}
static bool is_period_or_comma(uint32_t code)
{
    return code == '.' || code == ',';
}

/* mteval-v13a's [\{-\~\[-\` -\&\(-\+\:-\@\/]: ASCII punctuation without apostrophe, comma, dash and period. */
static bool is_western_punctuation(uint32_t code)
{
    return (code >= '{' && code <= '~') || (code >= '[' && code <= '`') || (code >= ' ' && code <= '&') || (code >= '(' && code <= '+') ||
           (code >= ':' && code <= '@') || code == '/';
}

static bool is_punctuation(uint32_t code)
{
    return (U_GET_GC_MASK((UChar32)code) & U_GC_P_MASK) != 0;
}
static bool is_not_number(uint32_t code)
{
    return (U_GET_GC_MASK((UChar32)code) & U_GC_N_MASK) == 0;
}
static bool is_symbol(uint32_t code)
{
    return (U_GET_GC_MASK((UChar32)code) & U_GC_S_MASK) != 0;
}

/* What a pass writes: of one character " a ", of a pair "a b " (SPLIT_SECOND) or " a b" (SPLIT_FIRST). */
typedef enum pass_kind { PASS_SINGLE, PASS_SPLIT_SECOND, PASS_SPLIT_FIRST } pass_kind;
typedef struct spacing {
    pass_kind kind;
    code_class first, second;
} spacing;

static const spacing passes_13a[] = {
    {PASS_SINGLE, is_western_punctuation, NULL},
    {PASS_SPLIT_SECOND, is_not_digit, is_period_or_comma},
    {PASS_SPLIT_FIRST, is_period_or_comma, is_not_digit},
    {PASS_SPLIT_SECOND, is_digit, is_dash},
};
static const spacing passes_intl[] = {
    {PASS_SPLIT_SECOND, is_not_number, is_punctuation},
    {PASS_SPLIT_FIRST, is_punctuation, is_not_number},
    {PASS_SINGLE, is_symbol, NULL},
};

static td_status allocate_codes(td_arena *arena, size_t count, td_codes *ret_codes, td_error *error)
{
    uint32_t *data = td_arena_allocate_array(arena, count + 1, sizeof *data);
    if (!data)
        return td_fail_memory(error, (count + 1) * sizeof *data);
    *ret_codes = (td_codes){data, 0};
    return TD_OK;
}

static void put(td_codes *codes, uint32_t code)
{
    codes->data[codes->count++] = code;
}

static td_status apply(const spacing *pass, td_arena *arena, td_codes *text, td_error *error)
{
    td_codes out;
    TD_TRY(allocate_codes(arena, 3 * text->count, &out, error));
    for (size_t i = 0; i < text->count; i++) {
        uint32_t code = text->data[i];
        bool first = pass->first(code);
        if (pass->kind == PASS_SINGLE) {
            if (first)
                put(&out, ' ');
            put(&out, code);
            if (first)
                put(&out, ' ');
        } else if (first && i + 1 < text->count && pass->second(text->data[i + 1])) {
            if (pass->kind == PASS_SPLIT_FIRST)
                put(&out, ' ');
            put(&out, code);
            put(&out, ' ');
            put(&out, text->data[++i]);
            if (pass->kind == PASS_SPLIT_SECOND)
                put(&out, ' ');
        } else {
            put(&out, code);
        }
    }
    *text = out;
    return TD_OK;
}

/* str.replace in place; `to` is not longer than `from`. */
static void replace(td_codes *text, const char *from, const char *to)
{
    size_t length = strlen(from), count = 0;
    for (size_t i = 0; i < text->count;) {
        size_t same = 0;
        while (same < length && i + same < text->count && text->data[i + same] == (unsigned char)from[same])
            same++;
        if (same < length) {
            text->data[count++] = text->data[i++];
            continue;
        }
        for (const char *c = to; *c; c++)
            text->data[count++] = (unsigned char)*c;
        i += length;
    }
    text->count = count;
}

static td_status prepare_13a(td_arena *arena, td_codes *text, td_error *error)
{
    static const char *const replacements[][2] = {{"<skipped>", ""}, {"-\n", ""},   {"\n", " "},  {"&quot;", "\""},
                                                  {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
    td_codes out;
    TD_TRY(allocate_codes(arena, text->count + 2, &out, error));
    put(&out, ' ');
    td_codes inner = {out.data + 1, text->count};
    memcpy(inner.data, text->data, text->count * sizeof *text->data);
    for (size_t i = 0; i < sizeof replacements / sizeof *replacements; i++)
        replace(&inner, replacements[i][0], replacements[i][1]);
    out.count += inner.count;
    put(&out, ' ');
    *text = out;
    return TD_OK;
}

static td_status prepare_char(td_arena *arena, td_codes *text, td_error *error)
{
    td_codes out;
    TD_TRY(allocate_codes(arena, 2 * text->count, &out, error));
    for (size_t i = 0; i < text->count; i++) {
        put(&out, text->data[i]);
        put(&out, ' ');
    }
    *text = out;
    return TD_OK;
}

static td_status prepare_none(td_arena *arena, td_codes *text, td_error *error)
{
    (void)arena, (void)text, (void)error;
    return TD_OK;
}

typedef struct tokenizer {
    const char *name;
    td_status (*prepare)(td_arena *arena, td_codes *text, td_error *error);
    const spacing *passes;
    size_t pass_count;
} tokenizer;

static const tokenizer tokenizers[] = {
    [TD_TOKENIZER_13A] = {"13a", prepare_13a, passes_13a, sizeof passes_13a / sizeof *passes_13a},
    [TD_TOKENIZER_NONE] = {"none", prepare_none, NULL, 0},
    [TD_TOKENIZER_CHAR] = {"char", prepare_char, NULL, 0},
    [TD_TOKENIZER_INTL] = {"intl", prepare_none, passes_intl, sizeof passes_intl / sizeof *passes_intl},
};

const char *td_metric_tokenizer_name(td_metric_tokenizer kind)
{
    return (size_t)kind < sizeof tokenizers / sizeof *tokenizers ? tokenizers[kind].name : NULL;
}

td_status td_metric_tokenize(td_metric_tokenizer kind, td_arena *arena, td_sequence_map *vocabulary, td_codes text, td_codes *ret_words,
                             td_error *error)
{
    const tokenizer *chosen = &tokenizers[kind];
    TD_TRY(chosen->prepare(arena, &text, error));
    for (size_t i = 0; i < chosen->pass_count; i++)
        TD_TRY(apply(&chosen->passes[i], arena, &text, error));
    return td_words_split(arena, vocabulary, text, ret_words, error);
}
