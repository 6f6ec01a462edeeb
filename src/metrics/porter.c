/* "An algorithm for suffix stripping" (Porter 1980). The steps are the paper's; what NLTK changed is marked so. In
 * every table the first suffix that fits decides, even when its condition then fails. */
#include "metrics/porter.h"

#include <stdbool.h>
#include <string.h>

static bool is_vowel_letter(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

/* y is a vowel after a consonant: toy, but syzygy. */
static bool is_consonant(const char *word, size_t i)
{
    size_t run = 0;
    while (i > run && word[i - run] == 'y')
        run++;
    return !is_vowel_letter(word[i - run]) != (run % 2 == 1);
}

/* The m in [C](VC)^m[V]. */
static size_t measure(const char *word, size_t length)
{
    size_t m = 0;
    bool before = true;
    for (size_t i = 0; i < length; i++) {
        bool consonant = word[i] == 'y' ? i == 0 || !before : !is_vowel_letter(word[i]);
        m += consonant && !before;
        before = consonant;
    }
    return m;
}

static bool has_vowel(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (is_vowel_letter(word[i]) || (word[i] == 'y' && i > 0))
            return true; /* a first vowel y follows a consonant, so any y but the first letter's brings a vowel */
    return false;
}

static bool ends_double_consonant(const char *word, size_t length)
{
    return length >= 2 && word[length - 1] == word[length - 2] && is_consonant(word, length - 1);
}

/* *o: consonant, vowel, consonant but w, x, y; NLTK adds words of vowel and consonant. */
static bool ends_cvc(const char *word, size_t length)
{
    if (length == 2)
        return !is_consonant(word, 0) && is_consonant(word, 1);
    return length >= 3 && is_consonant(word, length - 3) && !is_consonant(word, length - 2) && is_consonant(word, length - 1) &&
           strchr("wxy", word[length - 1]) == NULL;
}

static bool ends_with(const char *word, size_t length, const char *suffix)
{
    size_t size = strlen(suffix);
    return length >= size && memcmp(word + length - size, suffix, size) == 0;
}

typedef struct rule {
    const char *suffix, *replacement;
} rule;

/* Applies the first rule that fits when the stem's measure is above `above`. */
static size_t apply(const rule *rules, size_t above, char *word, size_t length)
{
    for (; rules->suffix; rules++) {
        if (!ends_with(word, length, rules->suffix))
            continue;
        size_t stem = length - strlen(rules->suffix), size = strlen(rules->replacement);
        bool after_s_or_t = stem > 0 && (word[stem - 1] == 's' || word[stem - 1] == 't');
        bool is_logi = strcmp(rules->suffix, "logi") == 0; /* NLTK: the l counts to the stem: geology, theology */
        if (measure(word, stem + is_logi) <= above || (strcmp(rules->suffix, "ion") == 0 && !after_s_or_t))
            return length;
        memcpy(word + stem, rules->replacement, size);
        return stem + size;
    }
    return length;
}

static size_t plurals(const char *word, size_t length)
{
    if (ends_with(word, length, "ies"))
        return length == 4 ? 3 : length - 2; /* NLTK: dies to die, but flies to fli */
    if (ends_with(word, length, "sses"))
        return length - 2;
    return ends_with(word, length, "s") && !ends_with(word, length, "ss") ? length - 1 : length;
}

static size_t tidy_past(char *word, size_t length)
{
    if (ends_with(word, length, "at") || ends_with(word, length, "bl") || ends_with(word, length, "iz"))
        word[length++] = 'e';
    else if (ends_double_consonant(word, length))
        length -= strchr("lsz", word[length - 1]) == NULL;
    else if (measure(word, length) == 1 && ends_cvc(word, length))
        word[length++] = 'e';
    return length;
}

static size_t past_and_gerund(char *word, size_t length)
{
    if (ends_with(word, length, "ied"))
        return length == 4 ? 3 : length - 2; /* NLTK: died to die, but spied to spi */
    if (ends_with(word, length, "eed"))
        return measure(word, length - 3) > 0 ? length - 1 : length;
    if (ends_with(word, length, "ed") && has_vowel(word, length - 2))
        return tidy_past(word, length - 2);
    if (ends_with(word, length, "ing") && has_vowel(word, length - 3))
        return tidy_past(word, length - 3);
    return length;
}

static size_t double_suffixes(char *word, size_t length)
{
    static const rule rules[] = {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
                                 {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
                                 {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
                                 {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
                                 {"fulli", "ful"},   {"logi", "log"},    {NULL, NULL}};
    /* NLTK: what alli leaves goes through this step again */
    while (ends_with(word, length, "alli") && measure(word, length - 4) > 0)
        length -= 2;
    return apply(rules, 0, word, length);
}

static const rule endings_of_three[] = {{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
                                        {"ical", "ic"},  {"ful", ""},   {"ness", ""},    {NULL, NULL}};
static const rule endings_of_four[] = {{"al", ""},  {"ance", ""},  {"ence", ""}, {"er", ""},  {"ic", ""},  {"able", ""}, {"ible", ""},
                                       {"ant", ""}, {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ion", ""}, {"ou", ""},   {"ism", ""},
                                       {"ate", ""}, {"iti", ""},   {"ous", ""},  {"ive", ""}, {"ize", ""}, {NULL, NULL}};

static size_t final_e_and_l(const char *word, size_t length)
{
    if (length > 0 && word[length - 1] == 'e') {
        size_t m = measure(word, length - 1);
        length -= m > 1 || (m == 1 && !ends_cvc(word, length - 1));
    }
    return ends_with(word, length, "ll") && measure(word, length - 1) > 1 ? length - 1 : length;
}

/* NLTK's table of irregular words; no stem is longer than its word. */
static size_t irregular(char *word, size_t length)
{
    static const char *const forms[][2] = {{"sky", "sky"},        {"skies", "sky"},       {"dying", "die"},        {"lying", "lie"},
                                           {"tying", "tie"},      {"news", "news"},       {"innings", "inning"},   {"inning", "inning"},
                                           {"outings", "outing"}, {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
                                           {"howe", "howe"},      {"proceed", "proceed"}, {"exceed", "exceed"},    {"succeed", "succeed"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strlen(forms[i][0]) == length && memcmp(forms[i][0], word, length) == 0) {
            memcpy(word, forms[i][1], strlen(forms[i][1]));
            return strlen(forms[i][1]);
        }
    return 0;
}

size_t td_porter_stem(char *word, size_t length)
{
    size_t stem = irregular(word, length);
    if (stem > 0 || length <= 2)
        return stem ? stem : length;
    length = plurals(word, length);
    length = past_and_gerund(word, length);
    if (length > 2 && word[length - 1] == 'y' && is_consonant(word, length - 2))
        word[length - 1] = 'i'; /* NLTK: after consonants only, not needing a vowel */
    length = double_suffixes(word, length);
    length = apply(endings_of_three, 0, word, length);
    length = apply(endings_of_four, 1, word, length);
    return final_e_and_l(word, length);
}
