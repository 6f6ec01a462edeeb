/* Weights in files: found under their names, read, packed while they are read, and written. */
#include "layers/parameters.h"

#include "base/buffer.h"
#include "platform/cpu.h"
#include "platform/pages.h"
#include "platform/thread.h"

#include <stdio.h>
#include <string.h>

/* What a file calls the tensor that holds the weight. */
static const char *stored_name(const td_parameter_entry *entry)
{
    return entry->whole ? entry->whole : entry->parameter.name;
}

static bool is_stored_as_declared(const td_parameter_entry *entry)
{
    return !entry->transposed && !entry->whole;
}

/* As a file has it: [4], of which the parameter's rank counts. */
static void stored_shape(const td_parameter_entry *entry, size_t *shape)
{
    memcpy(shape, entry->parameter.shape, sizeof entry->parameter.shape);
    if (entry->whole)
        shape[0] = entry->whole_rows;
    if (entry->transposed && entry->parameter.rank == 2) {
        size_t rows = shape[0];
        shape[0] = shape[1];
        shape[1] = rows;
    }
}

static const td_stored_tensor *find_stored(const td_parameter_entry *entry, const td_safetensors *file)
{
    const char *name = stored_name(entry);
    const td_stored_tensor *stored = td_safetensors_find(file, name);
    for (size_t i = 0; !stored && entry->aliases && entry->aliases[i]; i++)
        stored = td_safetensors_find(file, entry->aliases[i]);
    if (!stored && strncmp(name, "model.", 6) == 0) /* saved from the bare model class */
        stored = td_safetensors_find(file, name + 6);
    return stored;
}

static void describe_shape(td_buffer *text, const size_t *shape, size_t rank)
{
    td_buffer_text_append(text, "[");
    for (size_t i = 0; i < rank; i++)
        td_buffer_format(text, "%s%zu", i ? ", " : "", shape[i]);
    td_buffer_text_append(text, "]");
}

static td_status fail_shape(const td_parameter_entry *entry, const td_stored_tensor *stored, const size_t *shape, td_error *error)
{
    td_buffer text = TD_BUFFER_INIT;
    describe_shape(&text, stored->shape, stored->rank);
    td_buffer_text_append(&text, ", expected ");
    describe_shape(&text, shape, entry->parameter.rank);
    td_status status = td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\" has shape %s", stored_name(entry), td_buffer_text(&text));
    td_buffer_free(&text);
    return status;
}

/* The tensor of a weight and, when it holds integers, the scale of each of its rows; *ret_stored is NULL when it may be
 * absent. */
static td_status find_checked(const td_parameter_entry *entry, const td_safetensors *file, const td_stored_tensor **ret_stored,
                              const td_stored_tensor **ret_scales, td_error *error)
{
    const td_parameter *parameter = &entry->parameter;
    const td_stored_tensor *stored = find_stored(entry, file), *scales = NULL;
    size_t shape[4];
    stored_shape(entry, shape);
    if (!stored && !entry->optional)
        return td_fail(error, TD_ERROR_FORMAT, "tensor \"%s\" is missing", stored_name(entry));
    bool same = !stored || stored->rank == parameter->rank;
    for (size_t i = 0; stored && same && i < parameter->rank; i++)
        same = stored->shape[i] == shape[i];
    if (!same)
        return fail_shape(entry, stored, shape, error);
    bool whole = stored && td_stored_is_whole(stored);
    if (whole && !is_stored_as_declared(entry))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "tensor \"%s\" holds %s, which is not supported for joined or transposed weights",
                       stored->name, stored->dtype == TD_I8 ? "int8" : "int16");
    if (whole)
        TD_TRY(td_safetensors_scales(file, stored, &scales, error));
    *ret_stored = stored;
    *ret_scales = scales;
    return TD_OK;
}

/* Rows first .. first + count of a stored matrix as if they were stored alone. */
static td_stored_tensor rows_of(const td_stored_tensor *stored, size_t first, size_t count)
{
    td_stored_tensor part = *stored;
    size_t row = stored->shape[0] ? stored->bytes / stored->shape[0] : 0;
    part.data = (const char *)stored->data + first * row;
    part.bytes = count * row;
    part.shape[0] = count;
    return part;
}

static td_status read_real(const td_stored_tensor *stored, td_real *data, size_t count, td_error *error)
{
#ifdef TD_DOUBLE
    return td_safetensors_read_double(stored, data, count, error);
#else
    return td_safetensors_read_float(stored, data, count, error);
#endif
}

static td_status read_scaled(const td_stored_tensor *stored, const td_stored_tensor *scales, td_real *data, td_error *error)
{
    for (size_t row = 0, at = 0; row < stored->shape[0]; row++) {
        td_stored_tensor one = rows_of(scales, row, 1);
        td_real scale;
        TD_TRY(read_real(&one, &scale, 1, error));
        for (size_t i = 0; i < stored->shape[1]; i++, at++)
            data[at] = (td_real)td_stored_whole_at(stored, at) * scale;
    }
    return TD_OK;
}

/* The weight's elements between their place and their place in the file's tensor. */
static void move_part(const td_parameter_entry *entry, td_real *own, td_real *whole, bool to_whole)
{
    const td_parameter *parameter = &entry->parameter;
    bool vector = parameter->rank == 1;
    size_t rows = vector ? parameter->columns : parameter->rows, columns = vector ? 1 : parameter->columns;
    size_t total = entry->whole ? entry->whole_rows : rows;
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++) {
            size_t at = entry->first_row + row;
            td_real *mine = own + row * columns + column,
                    *theirs = whole + (entry->transposed ? column * total + at : at * columns + column);
            if (to_whole)
                *theirs = *mine;
            else
                *mine = *theirs;
        }
}

/* The weight as if the file held it as declared; its data is to be released. */
static td_status extract(const td_parameter_entry *entry, const td_stored_tensor *stored, td_stored_tensor *ret_own, td_error *error)
{
    const td_parameter *parameter = &entry->parameter;
    size_t count = td_stored_count(stored), own_count = parameter->rows * parameter->columns;
    td_real *whole = td_allocate_array(count, sizeof *whole), *own = td_allocate_array(own_count, sizeof *own);
    td_status status = whole && own ? read_real(stored, whole, count, error) : td_fail_memory(error, count * sizeof *whole);
    if (status == TD_OK) {
        move_part(entry, own, whole, false);
        *ret_own = *stored;
        memcpy(ret_own->shape, parameter->shape, sizeof ret_own->shape);
        ret_own->dtype = sizeof(td_real) == 8 ? TD_F64 : TD_F32;
        ret_own->data = own;
        ret_own->bytes = own_count * sizeof *own;
    } else {
        td_release(own);
    }
    td_release(whole);
    return status;
}

/* A file's tensor and, of whole numbers, the scales of its rows. */
typedef struct held_weight {
    td_stored_tensor tensor, scales;
    bool absent, scaled; /* absent: the file need not have it and has not */
} held_weight;

static void let_go(held_weight *held)
{
    td_stored_let_go(&held->tensor);
    td_stored_let_go(&held->scales);
}

static td_status hold(const td_parameter_entry *entry, const td_safetensors *file, held_weight *ret_held, td_error *error)
{
    const td_stored_tensor *stored = NULL, *scales = NULL;
    held_weight held = {0};
    TD_TRY(find_checked(entry, file, &stored, &scales, error));
    held.absent = !stored;
    held.scaled = scales != NULL;
    td_status status = stored ? td_stored_hold(stored, &held.tensor, error) : TD_OK;
    if (status == TD_OK && scales)
        status = td_stored_hold(scales, &held.scales, error);
    if (status == TD_OK)
        *ret_held = held;
    else
        let_go(&held);
    return status;
}

static td_status fill(td_parameter *parameter, const td_parameter_entry *entry, const held_weight *held, td_error *error)
{
    td_stored_tensor own;
    if (held->scaled)
        return read_scaled(&held->tensor, &held->scales, parameter->data, error);
    if (is_stored_as_declared(entry))
        return read_real(&held->tensor, parameter->data, parameter->rows * parameter->columns, error);
    TD_TRY(extract(entry, &held->tensor, &own, error));
    memcpy(parameter->data, own.data, own.bytes);
    td_release((void *)(uintptr_t)own.data);
    return TD_OK;
}

static td_status load_one(td_parameter_entry *entry, const td_safetensors *file, td_error *error)
{
    held_weight held;
    TD_TRY(hold(entry, file, &held, error));
    if (held.absent)
        return TD_OK;
    td_status status = fill(&entry->parameter, entry, &held, error);
    td_safetensors_forget(file, held.tensor.data, held.tensor.bytes);
    let_go(&held);
    return status;
}

/* ---- packing while reading ---- */

/* Panels that a thread packs before their pages of the file are given back, so that nothing large is held twice. */
enum { PIECE = 16 * TD_PANEL };

typedef struct packing {
    td_parameters *parameters;
    const td_safetensors *file;
    td_precision precision;
    td_pool *pool;
    float **values;    /* [threads][most inputs of a panel] */
    td_error *errors;  /* [threads] */
    size_t used;       /* of parameters->packed */
    td_packed *packed; /* the present weight */
    const td_stored_tensor *stored, *scales;
} packing;

static td_status pack_panel(const packing *pack, size_t first, float *values, td_error *error)
{
    td_packed *packed = pack->packed;
    size_t count = packed->outputs - first < TD_PANEL ? packed->outputs - first : TD_PANEL;
    float panel_scales[TD_PANEL];
    td_stored_tensor part = rows_of(pack->stored, first, count), part_scales;
    if (pack->scales) {
        part_scales = rows_of(pack->scales, first, count);
        TD_TRY(td_safetensors_read_float(&part_scales, panel_scales, count, error));
    }
    if (pack->scales && pack->stored->dtype == TD_I8 && packed->precision == TD_INT8) {
        td_packed_fill_int8(packed, first, count, part.data, panel_scales);
        return TD_OK;
    }
    if (!pack->scales)
        TD_TRY(td_safetensors_read_float(&part, values, count * packed->inputs, error));
    for (size_t row = 0; pack->scales && row < count; row++)
        for (size_t i = 0; i < packed->inputs; i++)
            values[row * packed->inputs + i] = (float)td_stored_whole_at(&part, row * packed->inputs + i) * panel_scales[row];
    td_packed_fill(packed, first, count, values);
    return TD_OK;
}

static void pack_piece(void *context, size_t piece, size_t thread)
{
    const packing *pack = context;
    size_t first = piece * PIECE, left = pack->packed->outputs - first, count = left < PIECE ? left : PIECE;
    td_error *error = &pack->errors[thread];
    for (size_t at = first; error->status == TD_OK && at < first + count; at += TD_PANEL)
        pack_panel(pack, at, pack->values[thread], error);
    td_stored_tensor part = rows_of(pack->stored, first, count);
    td_safetensors_forget(pack->file, part.data, part.bytes);
}

static td_status pack_held(packing *pack, td_parameter_entry *entry, const held_weight *held, td_error *error)
{
    td_parameter *parameter = &entry->parameter;
    td_stored_tensor own = {0};
    pack->stored = &held->tensor;
    pack->scales = held->scaled ? &held->scales : NULL;
    if (!is_stored_as_declared(entry)) {
        TD_TRY(extract(entry, pack->stored, &own, error));
        td_safetensors_forget(pack->file, pack->stored->data, pack->stored->bytes);
        pack->stored = &own;
    }
    void *memory = (char *)pack->parameters->packed + pack->used;
    pack->used += td_packed_size(pack->precision, parameter->rows, parameter->columns);
    td_status status = td_packed_new_in(memory, pack->precision, parameter->rows, parameter->columns, &parameter->packed, error);
    if (status == TD_OK) {
        pack->packed = parameter->packed;
        td_pool_run(pack->pool, (parameter->rows + PIECE - 1) / PIECE, pack_piece, pack);
    }
    td_release((void *)(uintptr_t)own.data);
    for (size_t i = 0; status == TD_OK && i < td_pool_threads(pack->pool); i++)
        if (pack->errors[i].status != TD_OK)
            status = td_fail(error, pack->errors[i].status, "%s", pack->errors[i].message);
    return status;
}

static td_status load_packed(packing *pack, td_parameter_entry *entry, td_error *error)
{
    held_weight held;
    TD_TRY(hold(entry, pack->file, &held, error));
    td_status status = held.absent ? TD_OK : pack_held(pack, entry, &held, error);
    let_go(&held);
    return status;
}

static td_status load_all(packing *pack, td_error *error)
{
    for (size_t i = 0; i < pack->parameters->count; i++) {
        td_parameter_entry *entry = pack->parameters->entries[i];
        if (entry->product)
            TD_TRY(load_packed(pack, entry, error));
        else if (!entry->parameter.constant || entry->kept || find_stored(entry, pack->file))
            TD_TRY(load_one(entry, pack->file, error));
    }
    return TD_OK;
}

static bool will_be_packed(const td_parameter_entry *entry, const td_safetensors *file)
{
    return entry->product && find_stored(entry, file);
}

static bool is_computed(const td_parameter_entry *entry, const td_safetensors *file)
{
    return entry->parameter.constant && !entry->kept && !find_stored(entry, file);
}

/* An earlier one that has the same numbers: encoder and decoder may count positions alike. */
static const td_parameter *find_alike(const td_parameters *parameters, size_t index, const td_safetensors *file)
{
    const td_parameter *own = &parameters->entries[index]->parameter;
    if (!is_computed(parameters->entries[index], file))
        return NULL;
    for (size_t i = 0; i < index; i++) {
        const td_parameter *other = &parameters->entries[i]->parameter;
        if (is_computed(parameters->entries[i], file) && other->rows == own->rows && other->columns == own->columns &&
            memcmp(other->data, own->data, own->rows * own->columns * sizeof *own->data) == 0)
            return other;
    }
    return NULL;
}

/* What stays beside packed weights moves together: between the empty places of those, each small vector has a page or two for itself.
 * Only computed numbers have to be taken along. */
static td_status gather_unpacked(td_parameters *parameters, const td_safetensors *file, td_error *error)
{
    size_t size = 0, at = 0;
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter *parameter = &parameters->entries[i]->parameter;
        if (!will_be_packed(parameters->entries[i], file))
            size += (parameter->rows * parameter->columns + 15) & ~(size_t)15;
    }
    td_real *data = td_allocate_aligned(size * sizeof *data);
    if (!data)
        return td_fail_memory(error, size * sizeof *data);
    for (size_t i = 0; i < parameters->count; i++) {
        td_parameter_entry *entry = parameters->entries[i];
        td_parameter *parameter = &entry->parameter;
        size_t count = parameter->rows * parameter->columns;
        const td_parameter *alike = find_alike(parameters, i, file);
        parameter->offset = alike ? alike->offset : at;
        if (alike || will_be_packed(entry, file))
            continue;
        if (parameter->constant)
            memcpy(data + at, parameter->data, count * sizeof *data);
        at += (count + 15) & ~(size_t)15;
    }
    td_release_aligned(parameters->data);
    parameters->data = data;
    parameters->size = at;
    for (size_t i = 0; i < parameters->count; i++) {
        td_parameter *parameter = &parameters->entries[i]->parameter;
        bool packed = will_be_packed(parameters->entries[i], file);
        parameter->data = packed ? NULL : data + parameter->offset;
        if (!packed && !parameter->constant)
            memset(parameter->data, 0, parameter->rows * parameter->columns * sizeof *data);
    }
    return TD_OK;
}

/* One block for all of them, in large pages if it may be: a step of a search reads it from one end to the other. Also the size of the
 * largest panel, in numbers. */
static td_status allocate_packed(td_parameters *parameters, td_precision precision, size_t *ret_bytes, size_t *ret_panel, td_error *error)
{
    size_t bytes = 0, panel = 0;
    bool fits = true;
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter *parameter = &parameters->entries[i]->parameter;
        size_t own;
        if (!parameters->entries[i]->product)
            continue;
        fits = fits && !td_add_overflows(bytes, td_packed_size(precision, parameter->rows, parameter->columns), &bytes) &&
               !td_multiply_overflows(parameter->columns, TD_PANEL, &own);
        panel = fits && own > panel ? own : panel;
    }
    parameters->packed = fits ? td_allocate_aligned(bytes) : NULL;
    if (!parameters->packed)
        return td_fail_memory(error, bytes);
    td_pages_prefer_large(parameters->packed, bytes);
    *ret_bytes = bytes;
    *ret_panel = panel;
    return TD_OK;
}

td_status td_parameters_load_packed(td_parameters *parameters, const td_safetensors *file, td_precision precision, td_error *error)
{
    enum { FOR_ONE_THREAD = 4 << 20 }; /* bytes that are packed sooner than a thread is started */
    size_t bytes = 0, panel = 0;
    packing pack = {.parameters = parameters, .file = file, .precision = precision};
    TD_TRY(gather_unpacked(parameters, file, error));
    TD_TRY(allocate_packed(parameters, precision, &bytes, &panel, error));
    size_t threads = bytes > FOR_ONE_THREAD ? (size_t)td_cpu_count() : 1;
    pack.values = td_allocate_array(threads, sizeof *pack.values);
    pack.errors = td_allocate_array(threads, sizeof *pack.errors);
    bool room = pack.values && pack.errors;
    for (size_t i = 0; room && i < threads; i++)
        room = (pack.values[i] = td_resize_array(NULL, panel, sizeof **pack.values)) != NULL;
    td_status status = room ? td_pool_new(threads, NULL, &pack.pool, error) : td_fail_memory(error, threads * panel * sizeof **pack.values);
    if (status == TD_OK)
        status = load_all(&pack, error);
    td_pool_free(pack.pool);
    for (size_t i = 0; pack.values && i < threads; i++)
        td_release(pack.values[i]);
    td_release(pack.values);
    td_release(pack.errors);
    return status;
}

bool td_parameters_is_product(const td_parameters *parameters, const char *stored_name)
{
    for (size_t i = 0; i < parameters->count; i++) {
        const td_parameter_entry *entry = parameters->entries[i];
        const char *name = entry->parameter.name;
        bool same = strcmp(name, stored_name) == 0 || (strncmp(name, "model.", 6) == 0 && strcmp(name + 6, stored_name) == 0);
        for (size_t k = 0; !same && entry->aliases && entry->aliases[k]; k++)
            same = strcmp(entry->aliases[k], stored_name) == 0;
        if (same)
            return entry->product && is_stored_as_declared(entry);
    }
    return false;
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

/* The file's tensor put together from all weights that are part of it; NULL when memory is out. */
static td_real *assemble(const td_parameters *parameters, td_real *data, const td_parameter_entry *entry, const size_t *shape)
{
    size_t count = entry->parameter.rank == 2 ? shape[0] * shape[1] : shape[0];
    td_real *whole = td_allocate_array(count, sizeof *whole);
    for (size_t i = 0; whole && i < parameters->count; i++) {
        const td_parameter_entry *part = parameters->entries[i];
        if (part == entry || (entry->whole && part->whole && strcmp(entry->whole, part->whole) == 0))
            move_part(part, data + part->parameter.offset, whole, true);
    }
    return whole;
}

static bool was_assembled(const td_stored_tensor *tensors, size_t count, const td_parameter_entry *entry)
{
    for (size_t i = 0; entry->whole && i < count; i++)
        if (strcmp(tensors[i].name, entry->whole) == 0)
            return true;
    return false;
}

td_status td_parameters_save(const td_parameters *parameters, const td_real *data, const char *path, td_error *error)
{
    td_stored_tensor *tensors = td_allocate_array(parameters->count, sizeof *tensors);
    td_real **assembled = td_allocate_array(parameters->count, sizeof *assembled);
    td_real *from = data ? (td_real *)(uintptr_t)data : parameters->data;
    size_t count = 0;
    bool room = tensors && assembled;
    for (size_t i = 0; room && i < parameters->count; i++) {
        const td_parameter_entry *entry = parameters->entries[i];
        const td_parameter *parameter = &entry->parameter;
        if ((parameter->constant && !entry->kept) || was_assembled(tensors, count, entry))
            continue;
        td_stored_tensor *tensor = &tensors[count];
        *tensor = (td_stored_tensor){.name = stored_name(entry), .dtype = TD_F32, .rank = parameter->rank};
        stored_shape(entry, tensor->shape);
        if (!is_stored_as_declared(entry))
            room = (assembled[count] = assemble(parameters, from, entry, tensor->shape)) != NULL;
        tensor->data = assembled[count] ? assembled[count] : (parameter->constant ? parameters->data : from) + parameter->offset;
        tensor->bytes = sizeof(float);
        for (size_t k = 0; k < tensor->rank; k++)
            tensor->bytes *= tensor->shape[k];
        count++;
    }
    static const char *const metadata[] = {"format", "pt"};
    td_status status = room ? td_safetensors_write(path, tensors, count, metadata, 1, error) : td_fail_memory(error, 0);
    for (size_t i = 0; assembled && i < parameters->count; i++)
        td_release(assembled[i]);
    td_release(assembled);
    td_release(tensors);
    return status;
}
