/* The one description of a recipe key, from which parsing, overriding, writing and the reference page are made. */
#ifndef TD_TRAINING_RECIPE_TABLE_H
#define TD_TRAINING_RECIPE_TABLE_H

#include "training/recipe.h"

#include <locale.h>

typedef enum td_recipe_type {
    TD_RECIPE_INTEGER, /* int64_t */
    TD_RECIPE_REAL,    /* double */
    TD_RECIPE_BOOL,    /* bool */
    TD_RECIPE_CHOICE,  /* int: position in `choices` */
    TD_RECIPE_STRING,  /* char * */
    TD_RECIPE_LIST     /* td_string_list */
} td_recipe_type;

typedef enum td_recipe_path {
    TD_RECIPE_NO_PATH,
    TD_RECIPE_INPUT_PATH, /* relative to the recipe's directory */
    TD_RECIPE_OUTPUT_PATH /* relative to the current directory */
} td_recipe_path;

typedef struct td_recipe_key {
    const char *name;
    td_recipe_type type;
    td_recipe_path path;
    size_t offset;              /* in td_recipe */
    double low, high;           /* inclusive, of numbers */
    const char *initial;        /* default, as it would stand in a file; lists: always empty */
    const char *const *choices; /* NULL ends them */
    const char *help;
} td_recipe_key;

/* Keys of one section stand together. */
extern const td_recipe_key td_recipe_keys[];
extern const size_t td_recipe_key_count;

/* The row of a key, or -1. */
int td_recipe_find(const char *name);
/* The position of `text` in a choice list, or -1. */
int td_recipe_find_choice(const char *const *choices, const char *text);
/* The key or section whose name is nearest to `name`, written to `ret_nearest`. */
void td_recipe_nearest(const char *name, char *ret_nearest, size_t size);
/* The choice nearest to `text`. */
const char *td_recipe_nearest_choice(const char *const *choices, const char *text);
/* Whether `name` is a section: some key starts with "name.". */
bool td_recipe_is_section(const char *name);
/* The shortest decimal text that reads back as `value`; call under the C locale. */
void td_recipe_format_real(double value, char *ret_text, size_t size);

/* The first key that begins with `prefix` and has another value in `b` than in `a`; NULL: none. Paths count only as given or not, for
 * projects are moved. */
const char *td_recipe_difference(const td_recipe *a, const td_recipe *b, const char *prefix);

static inline void *td_recipe_field(const td_recipe *recipe, const td_recipe_key *key)
{
    return (char *)recipe + key->offset;
}

/* Numbers are read and written with a point, whatever the program's locale: between these calls this thread has C's. */
typedef struct td_c_locale {
    locale_t own, before;
} td_c_locale;
td_c_locale td_c_locale_enter(void);
void td_c_locale_leave(td_c_locale locale);

#endif
