#include "layers/parameters.h"

#include "base/array.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static td_parameter *fail_memory(td_parameters *parameters)
{
    td_fail_memory(&parameters->error, 0);
    return NULL;
}

static char *format_name(const char *format, va_list arguments)
{
    char name[256];
    vsnprintf(name, sizeof name, format, arguments);
    return td_copy_string(name);
}

td_parameter *td_parameters_declare(td_parameters *parameters, size_t rows, size_t columns, td_initialiser initialiser, double spread,
                                    const char *name_format, ...)
{
    if (parameters->error.status != TD_OK)
        return NULL;
    td_parameter_entry *entry = td_allocate_array(1, sizeof *entry);
    va_list arguments;
    va_start(arguments, name_format);
    char *name = format_name(name_format, arguments);
    va_end(arguments);
    if (!entry || !name ||
        td_reserve_array(&parameters->entries, &parameters->capacity, parameters->count + 1, sizeof *parameters->entries, NULL) != TD_OK) {
        td_release(entry);
        td_release(name);
        return fail_memory(parameters);
    }
    entry->parameter = (td_parameter){.name = name,
                                      .rank = columns ? 2 : 1,
                                      .shape = {rows, columns},
                                      .rows = columns ? rows : 1,
                                      .columns = columns ? columns : rows,
                                      .constant = initialiser == TD_INIT_CONSTANT,
                                      .index = parameters->count};
    entry->initialiser = initialiser;
    entry->spread = (td_real)spread;
    parameters->entries[parameters->count++] = entry;
    return &entry->parameter;
}

void td_parameters_alias(td_parameters *parameters, const char *name_format, ...)
{
    if (parameters->error.status != TD_OK)
        return;
    td_parameter_entry *entry = parameters->entries[parameters->count - 1];
    size_t count = 0;
    while (entry->aliases && entry->aliases[count])
        count++;
    if (!td_grow_array(&entry->aliases, count + 2, sizeof(char *))) {
        fail_memory(parameters);
        return;
    }
    char **aliases = entry->aliases;
    va_list arguments;
    va_start(arguments, name_format);
    aliases[count] = format_name(name_format, arguments);
    va_end(arguments);
    aliases[count + 1] = NULL;
    if (!aliases[count])
        fail_memory(parameters);
}

void td_parameters_part(td_parameters *parameters, size_t first, size_t total, const char *name_format, ...)
{
    if (parameters->error.status != TD_OK)
        return;
    td_parameter_entry *entry = parameters->entries[parameters->count - 1];
    va_list arguments;
    va_start(arguments, name_format);
    entry->whole = format_name(name_format, arguments);
    va_end(arguments);
    entry->first_row = first;
    entry->whole_rows = total;
    if (!entry->whole)
        fail_memory(parameters);
}

void td_parameters_transposed(td_parameters *parameters)
{
    if (parameters->error.status == TD_OK)
        parameters->entries[parameters->count - 1]->transposed = true;
}

/* Gives every weight of one kind (trained, statistic or other constant) its place; *size becomes the first free element
 * after them. */
static bool lay_out(td_parameters *parameters, bool constant, bool statistic, size_t *size)
{
    for (size_t i = 0; i < parameters->count; i++) {
        td_parameter *parameter = &parameters->entries[i]->parameter;
        if (parameter->constant != constant || parameter->statistic != statistic)
            continue;
        size_t elements;
        parameter->offset = *size;
        if (td_multiply_overflows(parameter->rows, parameter->columns, &elements) || td_add_overflows(*size, elements, size) ||
            td_add_overflows(*size, 15, size))
            return false;
        *size &= ~(size_t)15;
    }
    return true;
}

void td_parameters_optional(td_parameters *parameters)
{
    if (parameters->error.status == TD_OK)
        parameters->entries[parameters->count - 1]->optional = true;
}

void td_parameters_shape(td_parameters *parameters, const size_t *shape, size_t rank)
{
    if (parameters->error.status != TD_OK)
        return;
    td_parameter *parameter = &parameters->entries[parameters->count - 1]->parameter;
    size_t elements = 1;
    for (size_t i = 0; i < rank; i++)
        if (td_multiply_overflows(elements, shape[i], &elements))
            elements = 0;
    if (rank < 1 || rank > 4 || elements != parameter->rows * parameter->columns) {
        td_fail(&parameters->error, TD_ERROR_INTERNAL, "tensor \"%s\": its shape has %zu elements, not %zu x %zu", parameter->name,
                elements, parameter->rows, parameter->columns);
        return;
    }
    parameter->rank = rank;
    memset(parameter->shape, 0, sizeof parameter->shape);
    memcpy(parameter->shape, shape, rank * sizeof *shape);
}

void td_parameters_keep(td_parameters *parameters)
{
    if (parameters->error.status != TD_OK)
        return;
    td_parameter_entry *entry = parameters->entries[parameters->count - 1];
    entry->kept = entry->parameter.constant = true;
}

void td_parameters_keep_range(td_parameters *parameters, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        parameters->entries[i]->kept = parameters->entries[i]->parameter.constant = true;
        parameters->entries[i]->parameter.statistic = false;
    }
}

void td_parameters_statistic(td_parameters *parameters)
{
    td_parameters_keep(parameters);
    if (parameters->error.status == TD_OK)
        parameters->entries[parameters->count - 1]->parameter.statistic = true;
}

void td_parameters_follow(td_parameters *parameters, const td_real *step)
{
    const td_real tenth = (td_real)0.1;
    for (size_t i = parameters->trained_size; i < parameters->step_size; i++)
        parameters->data[i] += tenth * (step[i] - parameters->data[i]);
}

void td_parameters_product(td_parameters *parameters)
{
    if (parameters->error.status == TD_OK)
        parameters->entries[parameters->count - 1]->product = true;
}

/* Every weight is zero at first but those of products, which are filled whole and may never be: their pages stay
 * untouched then. */
static void clear(td_parameters *parameters)
{
    size_t done = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter_entry *entry = parameters->entries[i];
        if (!entry->product)
            continue;
        memset(parameters->data + done, 0, (entry->parameter.offset - done) * sizeof(td_real));
        done = entry->parameter.offset + entry->parameter.rows * entry->parameter.columns;
    }
    memset(parameters->data + done, 0, (parameters->size - done) * sizeof(td_real));
}

td_status td_parameters_allocate(td_parameters *parameters, td_error *error)
{
    if (parameters->error.status != TD_OK) {
        if (error)
            *error = parameters->error;
        return parameters->error.status;
    }
    size_t size = 0, bytes;
    bool fits = lay_out(parameters, false, false, &size);
    parameters->trained_size = size;
    fits = fits && lay_out(parameters, true, true, &size);
    parameters->step_size = size;
    if (!fits || !lay_out(parameters, true, false, &size) || td_multiply_overflows(size, sizeof(td_real), &bytes))
        return td_fail(error, TD_ERROR_LIMIT, "the model's weights do not fit in the address space");
    parameters->data = td_allocate_aligned(bytes);
    if (!parameters->data)
        return td_fail_memory(error, bytes);
    parameters->size = size;
    clear(parameters);
    for (size_t i = 0; i < parameters->count; i++)
        parameters->entries[i]->parameter.data = parameters->data + parameters->entries[i]->parameter.offset;
    return TD_OK;
}

static void initialise(td_parameter_entry *entry, td_random *random)
{
    td_parameter *parameter = &entry->parameter;
    size_t count = parameter->rows * parameter->columns;
    double spread = (double)entry->spread;
    if (entry->initialiser == TD_INIT_XAVIER)
        spread *= sqrt(6.0 / (double)(parameter->rows + parameter->columns));
    for (size_t i = 0; i < count; i++) {
        switch (entry->initialiser) {
        case TD_INIT_ONE:
            parameter->data[i] = 1;
            break;
        case TD_INIT_NORMAL:
            parameter->data[i] = (td_real)(spread * td_random_normal(random));
            break;
        case TD_INIT_UNIFORM:
        case TD_INIT_XAVIER:
            parameter->data[i] = (td_real)(spread * (2 * td_random_uniform(random) - 1));
            break;
        case TD_INIT_ZERO:
            parameter->data[i] = 0;
            break;
        case TD_INIT_CONSTANT:
            return;
        }
    }
}

void td_parameters_initialise(td_parameters *parameters, uint64_t seed)
{
    for (size_t i = 0; i < parameters->count; i++) {
        td_random random = {td_random_key(seed, 0x1417, i), 0};
        initialise(parameters->entries[i], &random);
    }
}

size_t td_parameters_products(const td_parameters *parameters)
{
    size_t count = 0;
    for (size_t i = 0; i < parameters->count; i++)
        count += parameters->entries[i]->product;
    return count;
}

bool td_parameters_rounded(const td_parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        const td_packed *packed = parameters->entries[i]->parameter.packed;
        if (packed)
            return packed->precision != TD_FLOAT32;
    }
    return false;
}

size_t td_parameters_bytes(const td_parameters *parameters)
{
    size_t bytes = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter *parameter = &parameters->entries[i]->parameter;
        bytes += parameter->packed ? td_packed_bytes(parameter->packed) : parameter->rows * parameter->columns * sizeof(td_real);
    }
    return bytes;
}

size_t td_parameters_trained_count(const td_parameters *parameters)
{
    size_t count = 0;
    for (size_t i = 0; i < parameters->count; i++)
        if (!parameters->entries[i]->parameter.constant)
            count += parameters->entries[i]->parameter.rows * parameters->entries[i]->parameter.columns;
    return count;
}

void td_parameters_free(td_parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        td_parameter_entry *entry = parameters->entries[i];
        for (size_t k = 0; entry->aliases && entry->aliases[k]; k++)
            td_release(entry->aliases[k]);
        td_release(entry->aliases);
        td_release(entry->whole);
        td_packed_free(entry->parameter.packed);
        td_release((void *)(uintptr_t)entry->parameter.name);
        td_release(entry);
    }
    td_release(parameters->entries);
    td_release_aligned(parameters->packed);
    td_release_aligned(parameters->data);
    *parameters = (td_parameters){0};
}
