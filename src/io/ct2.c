#include "io/ct2.h"

#include "base/reader.h"
#include "io/weights.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION_MAX = 6, VERSION_NAMED = 2, VERSION_ALIASED = 3, VERSION_TYPED = 4, NAME_MAX_LENGTH = 400 };

typedef struct ct2_reader {
    td_safetensors *file; /* NULL: only the variables are wanted */
    td_shard *part;
    td_reader reader;
    uint32_t version, revision;
    const char *specification; /* "TransformerSpec", or an older name */
    td_stored_tensor *variables;
    size_t count;
} ct2_reader;

static td_status fail(const ct2_reader *ct2, const char *name, const char *reason, td_error *error)
{
    return td_weights_fail(error, ct2->part->path, name, reason);
}

/* ---- the container ---- */

/* A length that counts the final 0, then the text; in place. NULL when it is damaged. */
static const char *read_name(ct2_reader *ct2)
{
    size_t length = td_read_u16(&ct2->reader);
    const char *text = (const char *)td_read_bytes(&ct2->reader, length);
    return text && length && length <= NAME_MAX_LENGTH && memchr(text, 0, length) == text + length - 1 ? text : NULL;
}

/* Before version 4 only the size of an item told its type. */
static bool read_type(ct2_reader *ct2, td_dtype *ret_dtype)
{
    static const td_dtype types[] = {TD_F32, TD_I8, TD_I16, TD_I32, TD_F16, TD_BF16},
                          sizes[] = {TD_DTYPE_COUNT, TD_I8, TD_I16, TD_DTYPE_COUNT, TD_F32};
    unsigned code = td_read_u8(&ct2->reader);
    bool typed = ct2->version >= VERSION_TYPED;
    size_t known = typed ? sizeof types / sizeof *types : sizeof sizes / sizeof *sizes;
    *ret_dtype = code < known ? (typed ? types : sizes)[code] : TD_DTYPE_COUNT;
    return *ret_dtype != TD_DTYPE_COUNT;
}

static td_status read_variable(ct2_reader *ct2, td_stored_tensor *variable, td_error *error)
{
    variable->name = read_name(ct2);
    if (!variable->name)
        return td_fail(error, TD_ERROR_FORMAT, "%s: a variable's name is damaged (byte %zu; file cut short?)", ct2->part->path,
                       ct2->reader.position);
    variable->rank = td_read_u8(&ct2->reader);
    if (variable->rank > TD_STORED_RANK_MAX)
        return fail(ct2, variable->name, "more than 8 dimensions", error);
    for (size_t i = 0; i < variable->rank; i++)
        variable->shape[i] = td_read_u32(&ct2->reader);
    if (!read_type(ct2, &variable->dtype))
        return fail(ct2, variable->name, "its type is not one of float32, int8, int16, int32, float16, bfloat16", error);
    size_t size = td_dtype_size(variable->dtype), wanted = size, stored = td_read_u32(&ct2->reader);
    for (size_t i = 0; i < variable->rank; i++)
        if (td_multiply_overflows(wanted, variable->shape[i], &wanted))
            return fail(ct2, variable->name, "size overflows", error);
    if (ct2->version < VERSION_TYPED)
        stored *= size;
    if (!ct2->reader.failed && stored != wanted)
        return td_fail(error, TD_ERROR_FORMAT, "%s: tensor \"%s\": %zu bytes are stored, its shape needs %zu", ct2->part->path,
                       variable->name, stored, wanted);
    variable->data = td_read_bytes(&ct2->reader, stored);
    variable->bytes = stored;
    return variable->data ? TD_OK : fail(ct2, variable->name, "data end after the file does (file cut short?)", error);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const td_stored_tensor *)a)->name, ((const td_stored_tensor *)b)->name);
}

static const td_stored_tensor *find(const ct2_reader *ct2, const char *name)
{
    td_stored_tensor key = {.name = name};
    return bsearch(&key, ct2->variables, ct2->count, sizeof key, compare_names);
}

/* An alias of integers means their scales, too. */
static td_status alias_scale(ct2_reader *ct2, const char *name, const char *alias, td_stored_tensor *all, size_t *count, td_error *error)
{
    char scale_name[NAME_MAX_LENGTH + 16];
    snprintf(scale_name, sizeof scale_name, "%s_scale", name);
    const td_stored_tensor *scale = find(ct2, scale_name);
    char *copy = scale ? td_arena_allocate(&ct2->part->memory, strlen(alias) + sizeof "_scale") : NULL;
    if (!scale)
        return TD_OK;
    if (!copy)
        return td_fail_memory(error, strlen(alias));
    snprintf(copy, strlen(alias) + sizeof "_scale", "%s_scale", alias);
    all[*count] = *scale;
    all[(*count)++].name = copy;
    return TD_OK;
}

/* Names under which variables are known as well. */
static td_status read_aliases(ct2_reader *ct2, td_error *error)
{
    size_t count = ct2->version >= VERSION_ALIASED ? td_read_u32(&ct2->reader) : 0, first = ct2->count;
    if (ct2->reader.failed || count > td_reader_left(&ct2->reader) / 6)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the list of aliases ends after the file does (file cut short?)", ct2->part->path);
    size_t total = first;
    td_stored_tensor *all = td_arena_zeroed_array(&ct2->part->memory, first + 2 * count + 1, sizeof *all);
    if (!all)
        return td_fail_memory(error, (first + count) * sizeof *all);
    memcpy(all, ct2->variables, first * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        const char *alias = read_name(ct2), *name = alias ? read_name(ct2) : NULL;
        const td_stored_tensor *variable = name ? find(ct2, name) : NULL;
        if (!variable)
            return td_fail(error, TD_ERROR_FORMAT, "%s: alias %zu is damaged or names no variable", ct2->part->path, i + 1);
        all[total] = *variable;
        all[total++].name = alias;
        if (variable->dtype == TD_I8 || variable->dtype == TD_I16)
            TD_TRY(alias_scale(ct2, variable->name, alias, all, &total, error));
    }
    ct2->variables = all;
    ct2->count = total;
    qsort(all, ct2->count, sizeof *all, compare_names);
    if (td_reader_left(&ct2->reader))
        return td_fail(error, TD_ERROR_FORMAT, "%s: %zu bytes after the last variable", ct2->part->path, td_reader_left(&ct2->reader));
    return TD_OK;
}

static td_status read_variables(ct2_reader *ct2, td_error *error)
{
    ct2->reader = td_reader_of(ct2->part->map.data, ct2->part->map.size);
    ct2->version = td_read_u32(&ct2->reader);
    if (ct2->reader.failed || ct2->version < 1 || ct2->version > VERSION_MAX)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: not a CTranslate2 model of version 1 to %d", ct2->part->path, VERSION_MAX);
    ct2->specification = ct2->version >= VERSION_NAMED ? read_name(ct2) : "TransformerBase";
    ct2->revision = ct2->version >= VERSION_NAMED ? td_read_u32(&ct2->reader) : 1;
    size_t count = td_read_u32(&ct2->reader);
    if (!ct2->specification || ct2->reader.failed || count > td_reader_left(&ct2->reader) / 9)
        return td_fail(error, TD_ERROR_FORMAT, "%s: the header is damaged (file cut short?)", ct2->part->path);
    ct2->variables = td_arena_zeroed_array(&ct2->part->memory, count + 1, sizeof *ct2->variables);
    if (!ct2->variables)
        return td_fail_memory(error, count * sizeof *ct2->variables);
    for (; ct2->count < count; ct2->count++)
        TD_TRY(read_variable(ct2, &ct2->variables[ct2->count], error));
    qsort(ct2->variables, ct2->count, sizeof *ct2->variables, compare_names);
    return read_aliases(ct2, error);
}

/* ---- names ---- */

/* What a layer's (or a stack's) parts are called; several targets: the rows are theirs in turn, in equal numbers. */
static const struct name_row {
    const char *from, *to[3];
} layer_names[] =
    {
        {"self_attention/layer_norm", {"self_attn_layer_norm"}},
        {"self_attention/linear_0", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
        {"self_attention/linear_1", {"self_attn.out_proj"}},
        {"attention/layer_norm", {"encoder_attn_layer_norm"}},
        {"attention/linear_0", {"encoder_attn.q_proj"}},
        {"attention/linear_1", {"encoder_attn.k_proj", "encoder_attn.v_proj"}},
        {"attention/linear_2", {"encoder_attn.out_proj"}},
        {"ffn/layer_norm", {"final_layer_norm"}},
        {"ffn/linear_0", {"fc1"}},
        {"ffn/linear_1", {"fc2"}},
},
  stack_names[] = {
      {"embeddings", {"embed_tokens"}},
      {"embeddings_0", {"embed_tokens"}},
      {"layer_norm", {"layer_norm"}},
      {"layernorm_embedding", {"layernorm_embedding"}},
      {"position_encodings", {"embed_positions"}},
};

static const struct name_row *find_row(const struct name_row *rows, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(rows[i].from) == length && memcmp(rows[i].from, name, length) == 0)
            return &rows[i];
    return NULL;
}

/* The part's prefix ("model.encoder.layers.3."), then its row; NULL for what is no weight of a layer known here. */
static const struct name_row *place(const char *name, char *prefix, size_t room, const char **ret_leaf)
{
    const char *leaf = strrchr(name, '/');
    bool decoder = strncmp(name, "decoder/", 8) == 0;
    if (!leaf || (!decoder && strncmp(name, "encoder/", 8) != 0))
        return NULL;
    *ret_leaf = leaf + 1;
    const char *part = name + 8;
    unsigned layer;
    int read = 0;
    if (sscanf(part, "layer_%5u/%n", &layer, &read) == 1 && read && part + read < leaf) {
        snprintf(prefix, room, "model.%.7s.layers.%u.", name, layer);
        return find_row(layer_names, sizeof layer_names / sizeof *layer_names, part + read, (size_t)(leaf - part - read));
    }
    snprintf(prefix, room, "model.%.7s.", name);
    return part < leaf ? find_row(stack_names, sizeof stack_names / sizeof *stack_names, part, (size_t)(leaf - part)) : NULL;
}

static const char *leaf_name(const char *leaf)
{
    static const char *const leaves[][2] = {
        {"gamma", "weight"}, {"beta", "bias"}, {"weight", "weight"}, {"bias", "bias"}, {"encodings", "weight"}};
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++)
        if (strcmp(leaf, leaves[i][0]) == 0)
            return leaves[i][1];
    return NULL;
}

/* ---- weights ---- */

static float value_at(const td_stored_tensor *tensor, size_t index)
{
    float value = 0;
    td_stored_tensor one = *tensor;
    one.data = (const char *)tensor->data + index * td_dtype_size(tensor->dtype);
    one.bytes = td_dtype_size(tensor->dtype);
    td_safetensors_read_float(&one, &value, 1, NULL);
    return value;
}

static td_status add_named(ct2_reader *ct2, td_stored_tensor tensor, const char *name, td_error *error)
{
    size_t length = strlen(name) + 1;
    char *copy = td_arena_allocate(&ct2->part->memory, length);
    if (!copy)
        return td_fail_memory(error, length);
    memcpy(copy, name, length);
    tensor.name = copy;
    return td_weights_add(ct2->file, &tensor, error);
}

/* CTranslate2 divides by its scales. Whole numbers stay as they are, with the inverse scale of each row beside them. */
static td_status add_whole(ct2_reader *ct2, const td_stored_tensor *tensor, const td_stored_tensor *scale, size_t first, const char *name,
                           td_error *error)
{
    size_t rows = tensor->shape[0];
    float *inverse = td_arena_zeroed_array(&ct2->part->memory, rows + 1, sizeof *inverse);
    if (!inverse)
        return td_fail_memory(error, rows * sizeof *inverse);
    for (size_t i = 0; i < rows; i++)
        inverse[i] = 1 / value_at(scale, scale->rank ? first + i : 0);
    char scale_name[NAME_MAX_LENGTH + 80];
    snprintf(scale_name, sizeof scale_name, "%s_scale", name);
    td_stored_tensor inverses = {.dtype = TD_F32, .rank = 1, .shape = {rows}, .data = inverse, .bytes = rows * sizeof *inverse};
    TD_TRY(add_named(ct2, inverses, scale_name, error));
    return add_named(ct2, *tensor, name, error);
}

static td_status add_rows(ct2_reader *ct2, const td_stored_tensor *variable, size_t first, size_t rows, const char *name, td_error *error)
{
    td_stored_tensor part = *variable;
    size_t row = part.rank && part.shape[0] ? part.bytes / part.shape[0] : 0;
    if (part.rank) {
        part.data = (const char *)part.data + first * row;
        part.bytes = rows * row;
        part.shape[0] = rows;
    }
    if (part.dtype != TD_I8 && part.dtype != TD_I16)
        return add_named(ct2, part, name, error);
    char scale_name[NAME_MAX_LENGTH + 16];
    snprintf(scale_name, sizeof scale_name, "%s_scale", variable->name);
    const td_stored_tensor *scale = find(ct2, scale_name);
    if (!scale || part.rank != 2 || scale->dtype != TD_F32 || scale->rank > 1 ||
        (scale->rank == 1 && scale->shape[0] != variable->shape[0]))
        return fail(ct2, variable->name, "integers must be a matrix with a float32 scale for each row, or one for all", error);
    return add_whole(ct2, &part, scale, first, name, error);
}

static td_status add_variable(ct2_reader *ct2, const td_stored_tensor *variable, td_error *error)
{
    char prefix[64], name[NAME_MAX_LENGTH];
    const char *leaf = NULL;
    if (strcmp(variable->name, "decoder/projection/weight") == 0)
        return add_rows(ct2, variable, 0, variable->rank ? variable->shape[0] : 0, "lm_head.weight", error);
    if (strcmp(variable->name, "decoder/projection/bias") == 0 && variable->rank == 1) {
        td_stored_tensor bias = *variable;
        bias.rank = 2;
        bias.shape[1] = bias.shape[0];
        bias.shape[0] = 1;
        return add_named(ct2, bias, "final_logits_bias", error);
    }
    const struct name_row *row = place(variable->name, prefix, sizeof prefix, &leaf);
    const char *ending = row ? leaf_name(leaf) : NULL;
    size_t parts = 0, rows = variable->rank ? variable->shape[0] : 0;
    while (ending && parts < 3 && row->to[parts])
        parts++;
    if (parts > 1 && rows % parts)
        return td_fail(error, TD_ERROR_FORMAT, "%s: tensor \"%s\": its %zu rows are no %zu equal parts", ct2->part->path, variable->name,
                       rows, parts);
    for (size_t i = 0; i < parts; i++) {
        snprintf(name, sizeof name, "%s%s.%s", prefix, row->to[i], ending);
        TD_TRY(add_rows(ct2, variable, i * (rows / parts), rows / parts, name, error));
    }
    return TD_OK;
}

td_status td_ct2_read_shard(td_safetensors *file, td_shard *part, td_error *error)
{
    ct2_reader ct2 = {.file = file, .part = part};
    TD_TRY(read_variables(&ct2, error));
    for (size_t i = 0; i < ct2.count; i++)
        TD_TRY(add_variable(&ct2, &ct2.variables[i], error));
    return TD_OK;
}

/* ---- configuration ---- */

/* A number stored as a variable without dimensions; `fallback` when it is not there. */
static double scalar(const ct2_reader *ct2, const char *name, double fallback)
{
    const td_stored_tensor *variable = find(ct2, name);
    int16_t half;
    int32_t whole;
    if (!variable || td_stored_count(variable) != 1)
        return fallback;
    switch (variable->dtype) {
    case TD_I8:
        return *(const int8_t *)variable->data;
    case TD_I16:
        memcpy(&half, variable->data, sizeof half);
        return half;
    case TD_I32:
        memcpy(&whole, variable->data, sizeof whole);
        return whole;
    default:
        return (double)value_at(variable, 0);
    }
}

static size_t count_layers(const ct2_reader *ct2, const char *stack)
{
    char name[64];
    size_t layers = 0;
    do
        snprintf(name, sizeof name, "%s/layer_%zu/ffn/linear_0/weight", stack, layers);
    while (find(ct2, name) && ++layers);
    return layers;
}

/* Kinds of layers that are not of the BART line. */
static td_status check_kinds(const ct2_reader *ct2, td_error *error)
{
    static const char *const refused[] = {
        "relative_position_keys", "relative_attention_bias",  "linear_0_noact", "rotary_dim", "num_heads_kv", "project_in", "scale_outputs",
        "embeddings_1",           "merged_encoder_attention", "head_dim",       "q_norm",     "conv1"};
    for (size_t i = 0; i < ct2->count; i++)
        for (size_t k = 0; k < sizeof refused / sizeof *refused; k++)
            if (strstr(ct2->variables[i].name, refused[k]))
                return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": this kind of layer is not supported", ct2->part->path,
                               ct2->variables[i].name);
    return strncmp(ct2->specification, "Transformer", 11) == 0
               ? TD_OK
               : td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\" is not supported (TransformerSpec, TransformerBase, TransformerBig)",
                         ct2->part->path, ct2->specification);
}

static td_status read_embedding_scale(const ct2_reader *ct2, const char *embedding, double width, bool *ret_scale, td_error *error)
{
    char old[128];
    snprintf(old, sizeof old, "%s/multiply_by_sqrt_depth", embedding);
    const char *name = strncmp(embedding, "encoder", 7) == 0 ? "encoder/scale_embeddings" : "decoder/scale_embeddings";
    const td_stored_tensor *variable = find(ct2, name);
    double value = scalar(ct2, variable ? name : old, 1), root = sqrt(width);
    variable = variable ? variable : find(ct2, old);
    bool flag = !variable || variable->dtype == TD_I8;
    *ret_scale = flag ? value != 0 : fabs(value - root) < 1e-3 * root;
    if (!flag && !*ret_scale && value != 1)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"%s\": a scale of %g is not supported (1, or the root of the width, %g)",
                       ct2->part->path, name, value, root);
    return TD_OK;
}

static td_status read_heads(const ct2_reader *ct2, const char *name, double fallback, json_int_t *ret_heads, td_error *error)
{
    double heads = scalar(ct2, name, fallback);
    if (!(heads >= 1 && heads <= INT16_MAX))
        return td_fail(error, TD_ERROR_FORMAT, "%s: \"%s\": %g attention heads; at least 1 is right", ct2->part->path, name, heads);
    *ret_heads = (json_int_t)heads;
    return TD_OK;
}

/* Piece by piece, so that two large tables are not in memory at once. */
static bool same_data(const ct2_reader *ct2, const td_stored_tensor *a, const td_stored_tensor *b)
{
    enum { PIECE = 1 << 20 };
    if (!a || !b || a->data == b->data)
        return a && b;
    bool same = a->bytes == b->bytes;
    for (size_t at = 0; same && at < a->bytes; at += PIECE) {
        size_t count = a->bytes - at < PIECE ? a->bytes - at : PIECE;
        const char *one = (const char *)a->data + at, *other = (const char *)b->data + at;
        same = memcmp(one, other, count) == 0;
        if (ct2->part->map.mapped) {
            td_file_forget(one, count);
            td_file_forget(other, count);
        }
    }
    return same;
}

static td_status make_config(const ct2_reader *ct2, json_t **ret_config, td_error *error)
{
    static const char *const activations[] = {"relu", "gelu_new", "swish", "gelu"};
    enum { POSITIONS = 1024 };
    TD_TRY(check_kinds(ct2, error));
    const td_stored_tensor *source = find(ct2, "encoder/embeddings_0/weight"), *target = find(ct2, "decoder/embeddings/weight");
    const char *source_name = source ? "encoder/embeddings_0" : "encoder/embeddings";
    if (!source)
        source = find(ct2, "encoder/embeddings/weight");
    const td_stored_tensor *inner = find(ct2, "encoder/layer_0/ffn/linear_0/weight"),
                           *inner_target = find(ct2, "decoder/layer_0/ffn/linear_0/weight");
    const td_stored_tensor *positions = find(ct2, "decoder/position_encodings/encodings");
    if (!source || !target || source->rank != 2 || target->rank != 2 || !inner || !inner_target || inner->rank != 2 ||
        inner_target->rank != 2)
        return td_fail(error, TD_ERROR_FORMAT, "%s: encoder and decoder embeddings and layers are expected", ct2->part->path);
    double heads = strcmp(ct2->specification, "TransformerBig") == 0 ? 16 : 8, activation = scalar(ct2, "encoder/activation", 0);
    if (activation < 0 || activation > 3 || activation != scalar(ct2, "decoder/activation", activation))
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"encoder/activation\": %g is not supported (0 to 3, the same as the decoder's)",
                       ct2->part->path, activation);
    bool scale, target_scale;
    TD_TRY(read_embedding_scale(ct2, source_name, (double)source->shape[1], &scale, error));
    TD_TRY(read_embedding_scale(ct2, "decoder/embeddings", (double)source->shape[1], &target_scale, error));
    if (scale != target_scale)
        return td_fail(error, TD_ERROR_UNSUPPORTED, "%s: \"scale_embeddings\" must be the same in encoder and decoder", ct2->part->path);
    json_int_t source_heads, target_heads;
    heads = scalar(ct2, "num_heads", heads);
    TD_TRY(read_heads(ct2, "encoder/num_heads", heads, &source_heads, error));
    TD_TRY(read_heads(ct2, "decoder/num_heads", heads, &target_heads, error));
    *ret_config = json_pack(
        "{s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:b,s:I,s:I,s:b,s:b,s:b,s:b,s:b,s:b}", "model_type", "tandem-transformer",
        "is_encoder_decoder", true, "d_model", (json_int_t)source->shape[1], "encoder_layers", (json_int_t)count_layers(ct2, "encoder"),
        "decoder_layers", (json_int_t)count_layers(ct2, "decoder"), "encoder_attention_heads", source_heads, "decoder_attention_heads",
        target_heads, "encoder_ffn_dim", (json_int_t)inner->shape[0], "decoder_ffn_dim", (json_int_t)inner_target->shape[0],
        "max_position_embeddings", (json_int_t)(positions && positions->rank == 2 ? positions->shape[0] : POSITIONS), "activation_function",
        activations[(int)activation], "scale_embedding", scale, "vocab_size", (json_int_t)source->shape[0], "decoder_vocab_size",
        (json_int_t)target->shape[0], "share_encoder_decoder_embeddings", same_data(ct2, source, target), "tie_word_embeddings",
        same_data(ct2, target, find(ct2, "decoder/projection/weight")), "normalize_before", scalar(ct2, "encoder/pre_norm", 1) != 0,
        "normalize_embedding", find(ct2, "encoder/layernorm_embedding/gamma") != NULL, "static_position_embeddings", positions == NULL,
        "start_from_zero_embedding", scalar(ct2, "decoder/start_from_zero_embedding", 0) != 0);
    return *ret_config ? TD_OK : td_fail_memory(error, 0);
}

bool td_ct2_recognise(const char *directory)
{
    static const char *const names[] = {
        "model.bin", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "model.npz"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = td_path_join(directory, names[i]);
        bool exists = path && td_file_exists(path);
        td_release(path);
        if (i > 0 && exists)
            return false;
        found |= exists;
    }
    return found;
}

td_status td_ct2_configure(const char *directory, json_t **ret_config, td_error *error)
{
    td_shard part = {.path = td_path_join(directory, "model.bin")};
    ct2_reader ct2 = {.part = &part};
    td_arena_init(&part.memory);
    td_status status = part.path ? td_file_map(part.path, &part.map, error) : td_fail_memory(error, 0);
    if (status == TD_OK)
        status = read_variables(&ct2, error);
    if (status == TD_OK)
        status = make_config(&ct2, ret_config, error);
    td_file_unmap(&part.map);
    td_arena_free(&part.memory);
    td_release(part.path);
    return status;
}
