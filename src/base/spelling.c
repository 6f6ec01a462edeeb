#include "base/spelling.h"

#include <string.h>

enum { MOST_LETTERS = 64 };

size_t td_edit_distance(const char *word, size_t length, const char *name)
{
    size_t row[MOST_LETTERS + 1], columns = strnlen(name, MOST_LETTERS);
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 0; i < length && i < MOST_LETTERS; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < columns; j++) {
            size_t change = diagonal + (word[i] != name[j]);
            diagonal = row[j + 1];
            size_t shorter = row[j] < row[j + 1] ? row[j] : row[j + 1];
            row[j + 1] = change < shorter + 1 ? change : shorter + 1;
        }
    }
    return row[columns];
}
