/* The mean of several checkpoints' weights (Junczys-Dowmunt 2016; Vaswani 2017, 6.1: a run's last checkpoints averaged
 * translate better than the last one). */
#include "api/directory.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "models/architecture.h"
#include "platform/file.h"
#include "tandem/tools.h"

#include <string.h>

/* What makes weights a model. */
static const char *const companions[] = {
    "config.json",
    "source_vocabulary.json",
    "source_vocabulary.txt",
    "target_vocabulary.json",
    "target_vocabulary.txt",
    "shared_vocabulary.json",
    "shared_vocabulary.txt",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "source.spm",
    "target.spm",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
    "preprocessor_config.json",
    "README.md",
};

typedef struct td_averaging {
    td_safetensors **files; /* [count] */
    const char *const *directories;
    size_t count;
    td_stored_tensor *tensors;       /* [tensor_count]; their data is owned by `means` */
    void **means;                    /* [tensor_count] */
    size_t tensor_count, read_count; /* to write; in a file */
    size_t owned;                    /* blocks in `means` */
    td_dtype dtype;                  /* of the weights written, before they become int8 */
    bool to_int8;
} td_averaging;

static bool is_real(td_dtype dtype)
{
    return dtype == TD_F32 || dtype == TD_F16 || dtype == TD_BF16 || dtype == TD_F64;
}

static bool same_shape(const td_stored_tensor *a, const td_stored_tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

/* The tensor of file `file` that goes with `first`, checked. */
static td_status match(const td_averaging *averaging, size_t file, const td_stored_tensor *first, const td_stored_tensor **ret_tensor,
                       td_error *error)
{
    const td_stored_tensor *other = td_safetensors_find(averaging->files[file], first->name);
    if (!other)
        return td_fail(error, TD_ERROR_FORMAT, "%s: there is no tensor \"%s\", which %s has", averaging->directories[file], first->name,
                       averaging->directories[0]);
    if (!same_shape(first, other) || is_real(first->dtype) != is_real(other->dtype))
        return td_fail(error, TD_ERROR_FORMAT, "%s: tensor \"%s\" has another shape or type than in %s", averaging->directories[file],
                       first->name, averaging->directories[0]);
    *ret_tensor = other;
    return TD_OK;
}

static td_status mean_of(const td_averaging *averaging, const td_stored_tensor *first, double *sum, double *values, float *mean,
                         td_error *error)
{
    size_t elements = td_stored_count(first);
    memset(sum, 0, elements * sizeof *sum);
    for (size_t file = 0; file < averaging->count; file++) {
        const td_stored_tensor *tensor = NULL;
        TD_TRY(match(averaging, file, first, &tensor, error));
        TD_TRY(td_safetensors_read_double(tensor, values, elements, error));
        for (size_t i = 0; i < elements; i++)
            sum[i] += values[i];
    }
    for (size_t i = 0; i < elements; i++)
        mean[i] = (float)(sum[i] / (double)averaging->count);
    return TD_OK;
}

/* A narrower number never lies past the one it is made from. */
static void round_in_place(float *values, size_t count, td_dtype dtype)
{
    for (size_t i = 0; dtype != TD_F32 && i < count; i++) {
        uint16_t narrow = dtype == TD_F16 ? td_float_to_float16(values[i]) : td_float_to_bfloat16(values[i]);
        memcpy((char *)values + i * sizeof narrow, &narrow, sizeof narrow);
    }
}

/* A matrix of whole numbers times its scales; int8 that stays int8 would be rounded twice. */
static td_status expand(td_averaging *averaging, size_t index, td_error *error)
{
    const td_stored_tensor *matrix = td_safetensors_at(averaging->files[0], index), *scales = NULL;
    td_stored_tensor *out = &averaging->tensors[index];
    size_t count = td_stored_count(matrix), rows = matrix->shape[0], columns = matrix->shape[1];
    if (matrix->dtype == TD_I8 && (averaging->count > 1 || averaging->to_int8))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: tensor \"%s\" is int8 already; use the model it was made from",
                       averaging->directories[0], matrix->name);
    TD_TRY(td_safetensors_scales(averaging->files[0], matrix, &scales, error));
    float *values = averaging->means[index] = td_allocate_array(count + 1, sizeof *values);
    float *scale = td_allocate_array(rows + 1, sizeof *scale);
    td_stored_tensor held = {0};
    td_status status =
        values && scale ? td_safetensors_read_float(scales, scale, rows, error) : td_fail_memory(error, count * sizeof *values);
    if (status == TD_OK)
        status = td_stored_hold(matrix, &held, error);
    for (size_t i = 0; status == TD_OK && i < count; i++)
        values[i] = (float)td_stored_whole_at(&held, i) * scale[i / columns];
    td_stored_let_go(&held);
    td_release(scale);
    TD_TRY(status);
    out->dtype = averaging->dtype;
    out->data = values;
    out->bytes = count * td_dtype_size(averaging->dtype);
    round_in_place(values, count, averaging->dtype);
    return TD_OK;
}

/* Whether the tensor holds the scales of another, which are multiplied into it. */
static bool is_scale(const td_safetensors *file, const td_stored_tensor *tensor)
{
    static const char ending[] = "_scale";
    char name[512];
    size_t length = strlen(tensor->name), cut = sizeof ending - 1;
    if (length <= cut || length >= sizeof name || strcmp(tensor->name + length - cut, ending) != 0)
        return false;
    memcpy(name, tensor->name, length - cut);
    name[length - cut] = 0;
    const td_stored_tensor *matrix = td_safetensors_find(file, name);
    return matrix && td_stored_is_whole(matrix) && matrix->rank == 2;
}

/* Scales that are part of their matrices now are not written. */
static void drop_scales(td_averaging *averaging)
{
    size_t kept = 0;
    for (size_t i = 0; i < averaging->tensor_count; i++) {
        if (is_scale(averaging->files[0], td_safetensors_at(averaging->files[0], i))) {
            td_release(averaging->means[i]);
            averaging->means[i] = NULL;
            continue;
        }
        td_stored_tensor tensor = averaging->tensors[i];
        void *mean = averaging->means[i];
        averaging->means[i] = NULL;
        averaging->tensors[kept] = tensor;
        averaging->means[kept++] = mean;
    }
    averaging->tensor_count = kept;
}

/* Weights are averaged and stored in the precision asked for; whole numbers (a counter, a table) are taken from the first. */
static td_status average_tensor(td_averaging *averaging, size_t index, td_error *error)
{
    const td_stored_tensor *first = td_safetensors_at(averaging->files[0], index);
    td_stored_tensor *out = &averaging->tensors[index];
    *out = *first;
    out->deferred = NULL;
    if (td_stored_is_whole(first) && first->rank == 2)
        return expand(averaging, index, error);
    if (!is_real(first->dtype)) {
        td_stored_tensor held;
        TD_TRY(td_stored_hold(first, &held, error));
        averaging->means[index] = td_copy_bytes(held.data, held.bytes);
        td_stored_let_go(&held);
        out->data = averaging->means[index];
        return out->data ? TD_OK : td_fail_memory(error, first->bytes);
    }
    size_t elements = td_stored_count(first);
    float *mean = td_allocate_array(elements, sizeof *mean);
    averaging->means[index] = mean;
    double *sum = td_allocate_array(elements, sizeof *sum), *values = td_allocate_array(elements, sizeof *values);
    td_status status =
        mean && sum && values ? mean_of(averaging, first, sum, values, mean, error) : td_fail_memory(error, elements * sizeof *sum);
    td_release(sum);
    td_release(values);
    out->dtype = averaging->dtype;
    out->data = mean;
    out->bytes = elements * td_dtype_size(averaging->dtype);
    if (status == TD_OK)
        round_in_place(mean, elements, averaging->dtype);
    return status;
}

static td_status average(td_averaging *averaging, td_error *error)
{
    for (size_t i = 0; i < averaging->count; i++)
        TD_TRY(td_safetensors_open_directory(averaging->directories[i], &averaging->files[i], error));
    averaging->tensor_count = averaging->read_count = td_safetensors_count(averaging->files[0]);
    for (size_t i = 1; i < averaging->count; i++)
        if (td_safetensors_count(averaging->files[i]) != averaging->tensor_count)
            return td_fail(error, TD_ERROR_FORMAT, "%s holds %zu tensors, %s %zu; only checkpoints of one model can be averaged",
                           averaging->directories[i], td_safetensors_count(averaging->files[i]), averaging->directories[0],
                           averaging->tensor_count);
    averaging->tensors = td_allocate_array(averaging->tensor_count, sizeof *averaging->tensors);
    averaging->means = td_allocate_array(averaging->tensor_count, sizeof *averaging->means);
    if (!averaging->tensors || !averaging->means)
        return td_fail_memory(error, averaging->tensor_count * sizeof *averaging->tensors);
    for (size_t i = 0; i < averaging->tensor_count; i++)
        TD_TRY(average_tensor(averaging, i, error));
    drop_scales(averaging);
    return TD_OK;
}

/* Copies `name` from the first directory that has it. A checkpoint lies in RUN/checkpoints/step-N: its run has the
 * rest. */
static td_status copy_companion(const td_averaging *averaging, const char *name, const char *output, td_error *error)
{
    td_buffer path = TD_BUFFER_INIT, data = TD_BUFFER_INIT;
    td_status status = TD_OK;
    for (size_t i = 0; i < 2 * averaging->count; i++) {
        td_buffer_clear(&path);
        td_buffer_format(&path, i % 2 ? "%s/../../%s" : "%s/%s", averaging->directories[i / 2], name);
        if (!td_buffer_ok(&path) || !td_file_exists(td_buffer_text(&path)))
            continue;
        status = td_file_read(td_buffer_text(&path), 0, &data, error);
        char *target = status == TD_OK ? td_path_join(output, name) : NULL;
        if (status == TD_OK)
            status = target ? td_file_write(target, td_buffer_text(&data), data.length, error) : td_fail_memory(error, 0);
        td_release(target);
        break;
    }
    td_buffer_free(&path);
    td_buffer_free(&data);
    return status;
}

/* A configuration of another program becomes one of this layout. */
static td_status write_own_config(const td_averaging *averaging, const char *output, td_error *error)
{
    char *from = td_path_join(averaging->directories[0], "config.json"), *to = td_path_join(output, "config.json");
    json_t *config = NULL;
    td_status status = from && to ? td_directory_config(averaging->directories[0], from, &config, error) : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = td_json_save_file(to, config, error);
    json_decref(config);
    td_release(from);
    td_release(to);
    return status;
}

/* The weights come last: a directory with weights is whole. */
static td_status write_model(const td_averaging *averaging, const char *output, td_error *error)
{
    TD_TRY(td_directory_create(output, error));
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++)
        TD_TRY(copy_companion(averaging, companions[i], output, error));
    if (td_directory_is_foreign(averaging->directories[0]))
        TD_TRY(write_own_config(averaging, output, error));
    char *path = td_path_join(output, "model.safetensors");
    if (!path)
        return td_fail_memory(error, strlen(output));
    td_status status = td_safetensors_write(path, averaging->tensors, averaging->tensor_count, NULL, 0, error);
    td_release(path);
    return status;
}

/* The weights of products become int8, each with a tensor NAME_scale beside it; their means are then integers in place. */
static td_status quantise(td_averaging *averaging, const td_parameters *parameters, td_error *error)
{
    size_t count = averaging->tensor_count;
    if (!td_grow_array(&averaging->tensors, 2 * count, sizeof *averaging->tensors) ||
        !td_grow_array(&averaging->means, 3 * count, sizeof *averaging->means))
        return td_fail_memory(error, 3 * count * sizeof *averaging->tensors);
    td_stored_tensor *tensors = averaging->tensors;
    void **means = averaging->means;
    for (size_t i = 0; i < count; i++) {
        td_stored_tensor *tensor = &tensors[i], *scales = &tensors[averaging->tensor_count];
        if (tensor->dtype != TD_F32 || tensor->rank != 2 || !td_parameters_is_product(parameters, tensor->name))
            continue;
        size_t rows = tensor->shape[0], columns = tensor->shape[1];
        float *values = means[i], *scale = td_allocate_array(rows + 1, sizeof *scale);
        td_buffer name = TD_BUFFER_INIT;
        td_buffer_format(&name, "%s_scale", tensor->name);
        char *copy = scale && td_buffer_ok(&name) ? td_copy_string(td_buffer_text(&name)) : NULL;
        td_buffer_free(&name);
        means[averaging->owned++] = scale;
        means[averaging->owned++] = copy;
        if (!copy)
            return td_fail_memory(error, rows * sizeof *scale);
        for (size_t row = 0; row < rows; row++) /* an integer never lies past the number it is made from */
            scale[row] = td_quantise_weights(values + row * columns, columns, (int8_t *)means[i] + row * columns);
        *scales =
            (td_stored_tensor){.name = copy, .dtype = TD_F32, .rank = 1, .shape = {rows}, .data = scale, .bytes = rows * sizeof *scale};
        tensor->dtype = TD_I8;
        tensor->bytes = rows * columns;
        averaging->tensor_count++;
    }
    return TD_OK;
}

/* Opens the configuration to know which weights are whose. */
static td_status quantise_model(td_averaging *averaging, td_error *error)
{
    char *path = td_path_join(averaging->directories[0], "config.json");
    if (!path)
        return td_fail_memory(error, 0);
    json_t *config = NULL;
    td_network network = {0};
    td_status status = td_directory_config(averaging->directories[0], path, &config, error);
    if (status == TD_OK)
        status = td_network_configure(config, path, &network, error);
    if (status == TD_OK && td_parameters_products(&network.parameters) == 0)
        status = td_fail(error, TD_ERROR_UNSUPPORTED, "%s: models of type %s run in float32 only", path, network.architecture->model_type);
    if (status == TD_OK)
        status = quantise(averaging, &network.parameters, error);
    td_network_free(&network);
    json_decref(config);
    td_release(path);
    return status;
}

static td_status combine(const char *const *directories, size_t count, td_dtype dtype, const char *output, td_error *error)
{
    bool int8 = dtype == TD_I8;
    td_averaging averaging = {.directories = directories, .count = count, .dtype = int8 ? TD_F32 : dtype, .to_int8 = int8};
    averaging.files = td_allocate_array(count, sizeof *averaging.files);
    td_status status = averaging.files ? average(&averaging, error) : td_fail_memory(error, count * sizeof(void *));
    averaging.owned = averaging.means ? averaging.read_count : 0;
    if (status == TD_OK && int8)
        status = quantise_model(&averaging, error);
    if (status == TD_OK)
        status = write_model(&averaging, output, error);
    for (size_t i = 0; i < averaging.owned; i++)
        td_release(averaging.means[i]);
    for (size_t i = 0; averaging.files && i < count; i++)
        td_safetensors_close(averaging.files[i]);
    td_release(averaging.files);
    td_release(averaging.means);
    td_release(averaging.tensors);
    return status;
}

td_status td_average_models(const char *const *directories, size_t count, const char *output, td_error *error)
{
    if (!directories || count == 0 || !output)
        return td_fail(error, TD_ERROR_ARGUMENT, "averaging needs at least one directory and an output");
    return combine(directories, count, TD_F32, output, error);
}

td_status td_convert_model(const char *directory, const char *precision, const char *output, td_error *error)
{
    static const struct {
        const char *name;
        td_dtype dtype;
    } precisions[] = {{"float32", TD_F32}, {"float16", TD_F16}, {"bfloat16", TD_BF16}, {"int8", TD_I8}};
    if (!directory || !precision || !output)
        return td_fail(error, TD_ERROR_ARGUMENT, "converting needs a directory, a precision and an output");
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
        if (strcmp(precisions[i].name, precision) == 0)
            return combine(&directory, 1, precisions[i].dtype, output, error);
    return td_fail(error, TD_ERROR_ARGUMENT, "precision \"%s\" is not one of float32, float16, bfloat16, int8", precision);
}
