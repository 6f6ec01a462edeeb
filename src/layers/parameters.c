#include "layers/parameters.h"

#include "base/buffer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static td_parameter *fail_memory(td_parameters *parameters)
{
    td_fail_memory(&parameters->error, 0);
    return NULL;
}

static bool grow(td_parameters *parameters)
{
    if (parameters->count < parameters->capacity)
        return true;
    size_t capacity = parameters->capacity ? parameters->capacity * 2 : 64;
    td_parameter_entry **entries = td_resize_array(parameters->entries, capacity, sizeof(td_parameter_entry *));
    if (!entries)
        return false;
    parameters->entries = entries;
    parameters->capacity = capacity;
    return true;
}

static char *format_name(const char *format, va_list arguments)
{
    char name[256];
    vsnprintf(name, sizeof name, format, arguments);
    return td_copy_string(name);
}

td_parameter *td_parameters_declare(td_parameters *parameters, size_t rows, size_t columns, td_initialiser initialiser,
                                    double spread, const char *name_format, ...)
{
    if (parameters->error.status != TD_OK)
        return NULL;
    td_parameter_entry *entry = td_allocate_array(1, sizeof *entry);
    va_list arguments;
    va_start(arguments, name_format);
    char *name = format_name(name_format, arguments);
    va_end(arguments);
    if (!entry || !name || !grow(parameters)) {
        td_release(entry);
        td_release(name);
        return fail_memory(parameters);
    }
    entry->parameter = (td_parameter){.name = name, .rank = columns ? 2 : 1, .shape = {rows, columns},
                                      .rows = columns ? rows : 1, .columns = columns ? columns : rows,
                                      .constant = initialiser == TD_INIT_CONSTANT};
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
    char **aliases = td_resize_array(entry->aliases, count + 2, sizeof *aliases);
    if (!aliases) {
        fail_memory(parameters);
        return;
    }
    entry->aliases = aliases;
    va_list arguments;
    va_start(arguments, name_format);
    aliases[count] = format_name(name_format, arguments);
    va_end(arguments);
    aliases[count + 1] = NULL;
    if (!aliases[count])
        fail_memory(parameters);
}

/* Gives every weight of one kind (trained, statistic or other constant) its place; *size becomes the first free element after them. */
static bool lay_out(td_parameters *parameters, bool constant, bool statistic, size_t *size)
{
    for (size_t i = 0; i < parameters->count; i++) {
        td_parameter *parameter = &parameters->entries[i]->parameter;
        if (parameter->constant != constant || parameter->statistic != statistic)
            continue;
        size_t elements;
        parameter->offset = *size;
        if (td_multiply_overflows(parameter->rows, parameter->columns, &elements) ||
            td_add_overflows(*size, elements, size) || td_add_overflows(*size, 15, size))
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
        td_fail(&parameters->error, TD_ERROR_INTERNAL, "tensor \"%s\": its shape has %zu elements, not %zu x %zu", parameter->name, elements,
                parameter->rows, parameter->columns);
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
    memset(parameters->data, 0, bytes);
    parameters->size = size;
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

static const td_stored_tensor *find_stored(const td_parameter_entry *entry, const td_safetensors *file)
{
    const td_stored_tensor *stored = td_safetensors_find(file, entry->parameter.name);
    for (size_t i = 0; !stored && entry->aliases && entry->aliases[i]; i++)
        stored = td_safetensors_find(file, entry->aliases[i]);
    if (!stored && strncmp(entry->parameter.name, "model.", 6) == 0) /* saved from the bare model class */
        stored = td_safetensors_find(file, entry->parameter.name + 6);
    return stored;
}

static void describe_shape(td_buffer *text, const size_t *shape, size_t rank)
{
    td_buffer_text_append(text, "[");
    for (size_t i = 0; i < rank; i++)
        td_buffer_format(text, "%s%zu", i ? ", " : "", shape[i]);
    td_buffer_text_append(text, "]");
}

static td_status fail_shape(const td_parameter *parameter, const td_stored_tensor *stored, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    describe_shape(&text, stored->shape, stored->rank);
    td_buffer_text_append(&text, ", expected ");
    describe_shape(&text, parameter->shape, parameter->rank);
    td_status status = td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\" has shape %s", parameter->name, td_buffer_text(&text));
    td_buffer_free(&text);
    return status;
}

static td_status load_one(td_parameter_entry *entry, const td_safetensors *file, td_error *error)
{
    td_parameter *parameter = &entry->parameter;
    const td_stored_tensor *stored = find_stored(entry, file);
    if (!stored && entry->optional)
        return TD_OK;
    if (!stored)
        return td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\" is missing", parameter->name);
    bool same = stored->rank == parameter->rank;
    for (size_t i = 0; same && i < parameter->rank; i++)
        same = stored->shape[i] == parameter->shape[i];
    if (!same)
        return fail_shape(parameter, stored, error);
#ifdef TD_DOUBLE
    return td_safetensors_read_double(stored, parameter->data, parameter->rows * parameter->columns, error);
#else
    return td_safetensors_read_float(stored, parameter->data, parameter->rows * parameter->columns, error);
#endif
}

td_status td_parameters_load(td_parameters *parameters, const td_safetensors *file, td_error *error)
{
    for (size_t i = 0; i < parameters->count; i++) {
        td_parameter_entry *entry = parameters->entries[i];
        if (!entry->parameter.constant || entry->kept || find_stored(entry, file))
            TD_TRY(load_one(entry, file, error));
    }
    return TD_OK;
}

td_status td_parameters_save(const td_parameters *parameters, const td_real *data, const char *path, td_error *error)
{
    td_stored_tensor *tensors = td_allocate_array(parameters->count, sizeof *tensors);
    if (!tensors)
        return td_fail_memory(error, parameters->count * sizeof *tensors);
    size_t count = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter *parameter = &parameters->entries[i]->parameter;
        if (parameter->constant && !parameters->entries[i]->kept)
            continue;
        td_stored_tensor *tensor = &tensors[count++];
        *tensor = (td_stored_tensor){.name = parameter->name, .dtype = TD_F32, .rank = parameter->rank,
                                     .data = (data && !parameter->constant ? data : parameters->data) + parameter->offset,
                                     .bytes = parameter->rows * parameter->columns * sizeof(float)};
        memcpy(tensor->shape, parameter->shape, sizeof parameter->shape);
    }
    static const char *const metadata[] = {"format", "pt"};
    td_status status = td_safetensors_write(path, tensors, count, metadata, 1, error);
    td_release(tensors);
    return status;
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
        td_release((void *)(uintptr_t)entry->parameter.name);
        td_release(entry);
    }
    td_release(parameters->entries);
    td_release_aligned(parameters->data);
    *parameters = (td_parameters){0};
}
