#include "io/pickle.h"

#include "base/array.h"
#include "base/reader.h"

#include <string.h>

typedef enum value_kind { OTHER, MARK, INTEGER, TEXT, SEQUENCE, DICTIONARY, GLOBAL, STORAGE, TENSOR } value_kind;

/* What a name in the pickle stands for. */
typedef enum global_role { MAKES_DICTIONARY, MAKES_TENSOR, PASSES_FIRST, IS_STORAGE } global_role;

typedef struct global {
    const char *module, *name;
    global_role role;
    td_dtype dtype;
} global;

static const global globals[] = {
    {"collections", "OrderedDict", MAKES_DICTIONARY, 0},
    {"torch._utils", "_rebuild_tensor_v2", MAKES_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", PASSES_FIRST, 0},
    {"torch", "FloatStorage", IS_STORAGE, TD_F32},
    {"torch", "HalfStorage", IS_STORAGE, TD_F16},
    {"torch", "BFloat16Storage", IS_STORAGE, TD_BF16},
    {"torch", "DoubleStorage", IS_STORAGE, TD_F64},
    {"torch", "CharStorage", IS_STORAGE, TD_I8},
    {"torch", "ShortStorage", IS_STORAGE, TD_I16},
    {"torch", "IntStorage", IS_STORAGE, TD_I32},
    {"torch", "LongStorage", IS_STORAGE, TD_I64},
    {"torch", "ByteStorage", IS_STORAGE, TD_U8},
    {"torch", "BoolStorage", IS_STORAGE, TD_BOOL},
};

typedef struct value {
    value_kind kind;
    size_t count, capacity; /* of items; of bytes of text; of elements of a storage */
    union {
        int64_t integer;
        const char *text;     /* ends with a 0; a storage's key */
        struct value **items; /* a dictionary's: key, value, key, value, ... */
        const global *global;
        td_pickled_tensor *tensor;
    };
    td_dtype dtype; /* of a storage */
} value;

typedef struct machine {
    const char *path;
    td_reader reader;
    td_arena *memory;
    value **stack, **memo;
    size_t depth, stack_capacity, memo_count, memo_capacity;
    bool done;
    td_status status;
    td_error *error;
} machine;

static void fail(machine *m, const char *reason)
{
    if (m->status == TD_OK)
        m->status = td_fail(m->error, TD_ERROR_FORMAT, "%s: data.pkl: %s (byte %zu)", m->path, reason, m->reader.position);
}

static void fail_memory(machine *m, size_t bytes)
{
    if (m->status == TD_OK)
        m->status = td_fail_memory(m->error, bytes);
}

/* ---- the stack and the memo ---- */

static bool make_room(machine *m, value ***array, size_t *capacity, size_t wanted)
{
    if (wanted <= *capacity)
        return true;
    size_t before = *capacity;
    m->status = td_reserve_array(array, capacity, wanted, sizeof **array, m->error);
    if (m->status == TD_OK)
        memset(*array + before, 0, (*capacity - before) * sizeof **array);
    return m->status == TD_OK;
}

static void push(machine *m, value *v)
{
    if (v && m->status == TD_OK && make_room(m, &m->stack, &m->stack_capacity, m->depth + 1))
        m->stack[m->depth++] = v;
}

/* Never NULL while the status is good. */
static value *pop(machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == MARK) {
        fail(m, "takes a value where there is none");
        return NULL;
    }
    return m->stack[--m->depth];
}

static value *top(machine *m, value_kind kind)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind != kind) {
        fail(m, "puts items into what cannot hold them");
        return NULL;
    }
    return m->stack[m->depth - 1];
}

static value *new_value(machine *m, value_kind kind)
{
    value *v = td_arena_zeroed_array(m->memory, 1, sizeof *v);
    if (!v)
        fail_memory(m, sizeof *v);
    else
        v->kind = kind;
    return v;
}

static void push_new(machine *m, value_kind kind)
{
    push(m, new_value(m, kind));
}

static void push_integer(machine *m, int64_t integer)
{
    value *v = new_value(m, INTEGER);
    if (v)
        v->integer = integer;
    push(m, v);
}

static void append(machine *m, value *list, value *const *items, size_t count)
{
    if (list->count + count > list->capacity) {
        size_t capacity = (list->count + count) * 2;
        value **grown = td_arena_allocate_array(m->memory, capacity, sizeof *grown);
        if (!grown) {
            fail_memory(m, capacity * sizeof *grown);
            return;
        }
        if (list->count)
            memcpy(grown, list->items, list->count * sizeof *grown);
        list->items = grown;
        list->capacity = capacity;
    }
    if (count)
        memcpy(list->items + list->count, items, count * sizeof *items);
    list->count += count;
}

/* The values above the newest mark, which goes too; they stay valid until the next push. */
static value **pop_to_mark(machine *m, size_t *ret_count)
{
    size_t at = m->depth;
    while (at > 0 && m->stack[at - 1]->kind != MARK)
        at--;
    if (at == 0) {
        fail(m, "closes what was not opened");
        return NULL;
    }
    *ret_count = m->depth - at;
    m->depth = at - 1;
    return m->stack + at;
}

static void remember(machine *m, size_t index)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == MARK || index > m->reader.size)
        fail(m, "keeps a value that is not there");
    else if (make_room(m, &m->memo, &m->memo_capacity, index + 1))
        m->memo[index] = m->stack[m->depth - 1];
}

static void recall(machine *m, size_t index)
{
    if (index >= m->memo_capacity || !m->memo[index])
        fail(m, "asks for a value that was not kept");
    else
        push(m, m->memo[index]);
}

/* ---- names, and what they make ---- */

static const char *copy_text(machine *m, const uint8_t *bytes, size_t length)
{
    char *text = bytes ? td_arena_allocate(m->memory, length + 1) : NULL;
    if (!bytes || memchr(bytes, 0, length)) {
        fail(m, "text is cut short or holds a zero");
        return NULL;
    }
    if (!text) {
        fail_memory(m, length);
        return NULL;
    }
    memcpy(text, bytes, length);
    text[length] = 0;
    return text;
}

static void push_text(machine *m, uint64_t length)
{
    const char *text = length <= SIZE_MAX ? copy_text(m, td_read_bytes(&m->reader, (size_t)length), (size_t)length) : NULL;
    value *v = text ? new_value(m, TEXT) : NULL;
    if (v)
        v->text = text;
    push(m, v);
}

static void push_global(machine *m, const char *module, const char *name)
{
    for (size_t i = 0; module && name && i < sizeof globals / sizeof *globals; i++) {
        if (strcmp(globals[i].module, module) == 0 && strcmp(globals[i].name, name) == 0) {
            value *v = new_value(m, GLOBAL);
            if (v)
                v->global = &globals[i];
            push(m, v);
            return;
        }
    }
    if (m->status == TD_OK)
        m->status = td_fail(m->error, TD_ERROR_UNSUPPORTED,
                            "%s: data.pkl names %.200s.%.200s, which is not part of a dictionary of plain tensors; nothing of it was run",
                            m->path, module, name);
}

/* A line without its end, or NULL. */
static const char *read_line(machine *m)
{
    const uint8_t *begin = m->reader.data + m->reader.position;
    const uint8_t *end = memchr(begin, '\n', td_reader_left(&m->reader));
    if (!end) {
        fail(m, "a name is cut short");
        return NULL;
    }
    const char *text = copy_text(m, begin, (size_t)(end - begin));
    td_read_bytes(&m->reader, (size_t)(end - begin) + 1);
    return text;
}

static value *item(const value *sequence, size_t index, value_kind kind)
{
    return sequence->kind == SEQUENCE && index < sequence->count && sequence->items[index]->kind == kind ? sequence->items[index] : NULL;
}

static bool read_sizes(const value *sequence, size_t *sizes, size_t count)
{
    if (sequence->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const value *size = item(sequence, i, INTEGER);
        if (!size || size->integer < 0)
            return false;
        sizes[i] = (size_t)size->integer;
    }
    return true;
}

/* Every element must lie in the storage, and there must not be more of them than it has: a view that repeats elements is refused. */
static bool fits(const td_pickled_tensor *tensor)
{
    size_t last = tensor->offset, count = 1, reach;
    for (size_t i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] == 0)
            return tensor->offset <= tensor->storage_count;
    for (size_t i = 0; i < tensor->rank; i++)
        if (td_multiply_overflows(count, tensor->shape[i], &count) ||
            td_multiply_overflows(tensor->shape[i] - 1, tensor->strides[i], &reach) || td_add_overflows(last, reach, &last))
            return false;
    return last < tensor->storage_count && count <= tensor->storage_count;
}

/* (storage, offset, sizes, strides, ...) */
static value *make_tensor(machine *m, const value *arguments)
{
    const value *storage = item(arguments, 0, STORAGE), *offset = item(arguments, 1, INTEGER);
    const value *sizes = item(arguments, 2, SEQUENCE), *strides = item(arguments, 3, SEQUENCE);
    if (!storage || !offset || offset->integer < 0 || !sizes || !strides || sizes->count > TD_STORED_RANK_MAX) {
        fail(m, "a tensor's description is not (storage, offset, sizes, strides) with at most 8 sizes");
        return NULL;
    }
    value *v = new_value(m, TENSOR);
    td_pickled_tensor *tensor = td_arena_zeroed_array(m->memory, 1, sizeof *tensor);
    if (!v || !tensor) {
        fail_memory(m, sizeof *tensor);
        return NULL;
    }
    *tensor = (td_pickled_tensor){.dtype = storage->dtype,
                                  .storage = storage->text,
                                  .storage_count = storage->count,
                                  .offset = (size_t)offset->integer,
                                  .rank = sizes->count};
    if (!read_sizes(sizes, tensor->shape, tensor->rank) || !read_sizes(strides, tensor->strides, tensor->rank) || !fits(tensor)) {
        fail(m, "a tensor's sizes and strides reach outside its storage");
        return NULL;
    }
    v->tensor = tensor;
    return v;
}

/* ---- instructions ---- */

static void op_protocol(machine *m)
{
    uint8_t protocol = td_read_u8(&m->reader);
    if (protocol < 2 || protocol > 5)
        fail(m, "its protocol must be from 2 to 5");
}

static void op_frame(machine *m)
{
    td_read_u64(&m->reader);
}
static void op_stop(machine *m)
{
    m->done = true;
}
static void op_mark(machine *m)
{
    push_new(m, MARK);
}
static void op_other(machine *m)
{
    push_new(m, OTHER);
}
static void op_empty_sequence(machine *m)
{
    push_new(m, SEQUENCE);
}
static void op_empty_dictionary(machine *m)
{
    push_new(m, DICTIONARY);
}
static void op_true(machine *m)
{
    push_integer(m, 1);
}
static void op_false(machine *m)
{
    push_integer(m, 0);
}
static void op_int1(machine *m)
{
    push_integer(m, td_read_u8(&m->reader));
}
static void op_int2(machine *m)
{
    push_integer(m, td_read_u16(&m->reader));
}
static void op_int4(machine *m)
{
    push_integer(m, (int32_t)td_read_u32(&m->reader));
}

static void op_long1(machine *m)
{
    unsigned length = td_read_u8(&m->reader);
    if (length > 8) {
        fail(m, "a number has more than 64 bits");
        return;
    }
    uint64_t bits = td_read_unsigned(&m->reader, length);
    if (length && length < 8 && bits >> (8 * length - 1))
        bits |= UINT64_MAX << (8 * length);
    push_integer(m, (int64_t)bits);
}

static void op_float(machine *m)
{
    td_read_u64(&m->reader);
    push_new(m, OTHER);
}

static void op_text1(machine *m)
{
    push_text(m, td_read_u8(&m->reader));
}
static void op_text4(machine *m)
{
    push_text(m, td_read_u32(&m->reader));
}
static void op_text8(machine *m)
{
    push_text(m, td_read_u64(&m->reader));
}
static void op_put1(machine *m)
{
    remember(m, td_read_u8(&m->reader));
}
static void op_put4(machine *m)
{
    remember(m, td_read_u32(&m->reader));
}
static void op_get1(machine *m)
{
    recall(m, td_read_u8(&m->reader));
}
static void op_get4(machine *m)
{
    recall(m, td_read_u32(&m->reader));
}
static void op_memoize(machine *m)
{
    remember(m, m->memo_count++);
}

static void push_sequence(machine *m, value *const *items, size_t count)
{
    value *v = new_value(m, SEQUENCE);
    if (v)
        append(m, v, items, count);
    push(m, v);
}

static void op_tuple(machine *m)
{
    size_t count;
    value **items = pop_to_mark(m, &count);
    if (items)
        push_sequence(m, items, count);
}

static void pop_tuple(machine *m, size_t count)
{
    value *items[3] = {0};
    for (size_t i = count; i-- > 0;)
        items[i] = m->status == TD_OK ? pop(m) : NULL;
    if (m->status == TD_OK)
        push_sequence(m, items, count);
}

static void op_tuple1(machine *m)
{
    pop_tuple(m, 1);
}
static void op_tuple2(machine *m)
{
    pop_tuple(m, 2);
}
static void op_tuple3(machine *m)
{
    pop_tuple(m, 3);
}

static void put_items(machine *m, value_kind kind, value *const *items, size_t count)
{
    value *holder = items ? top(m, kind) : NULL;
    if (holder && kind == DICTIONARY && count % 2)
        fail(m, "a key has no value");
    else if (holder)
        append(m, holder, items, count);
}

static void op_append(machine *m)
{
    value *one = pop(m);
    if (one)
        put_items(m, SEQUENCE, &one, 1);
}

static void op_appends(machine *m)
{
    size_t count = 0;
    value **items = pop_to_mark(m, &count);
    put_items(m, SEQUENCE, items, count);
}

static void op_set_item(machine *m)
{
    value *pair[2] = {NULL, pop(m)};
    pair[0] = pair[1] ? pop(m) : NULL;
    if (pair[0])
        put_items(m, DICTIONARY, pair, 2);
}

static void op_set_items(machine *m)
{
    size_t count = 0;
    value **items = pop_to_mark(m, &count);
    put_items(m, DICTIONARY, items, count);
}

static void op_global(machine *m)
{
    const char *module = read_line(m), *name = module ? read_line(m) : NULL;
    if (name)
        push_global(m, module, name);
}

static void op_stack_global(machine *m)
{
    value *name = pop(m), *module = name ? pop(m) : NULL;
    if (!module)
        return;
    if (name->kind != TEXT || module->kind != TEXT)
        fail(m, "a name is not text");
    else
        push_global(m, module->text, name->text);
}

/* ("storage", type, key, device, elements) */
static void op_persistent(machine *m)
{
    const value *id = pop(m);
    if (!id)
        return;
    const value *word = item(id, 0, TEXT), *type = item(id, 1, GLOBAL), *key = item(id, 2, TEXT), *count = item(id, 4, INTEGER);
    if (!word || strcmp(word->text, "storage") != 0 || !type || type->global->role != IS_STORAGE || !key || !count || count->integer < 0 ||
        strlen(key->text) > 200) {
        fail(m, "an outside object is not (\"storage\", type, key, device, elements)");
        return;
    }
    value *v = new_value(m, STORAGE);
    if (v) {
        v->text = key->text;
        v->count = (size_t)count->integer;
        v->dtype = type->global->dtype;
    }
    push(m, v);
}

static void op_reduce(machine *m)
{
    value *arguments = pop(m), *callable = arguments ? pop(m) : NULL;
    if (!callable)
        return;
    if (callable->kind != GLOBAL || callable->global->role == IS_STORAGE || arguments->kind != SEQUENCE)
        fail(m, "calls what is no function");
    else if (callable->global->role == MAKES_DICTIONARY)
        push_new(m, DICTIONARY);
    else if (callable->global->role == MAKES_TENSOR)
        push(m, make_tensor(m, arguments));
    else if (item(arguments, 0, TENSOR))
        push(m, arguments->items[0]);
    else
        fail(m, "a parameter is not made of a tensor");
}

/* Attributes (a state dictionary's _metadata) are not kept. */
static void op_build(machine *m)
{
    pop(m);
}

static void (*const instructions[256])(machine *) = {
    [0x80] = op_protocol,     [0x95] = op_frame,         ['.'] = op_stop,           ['('] = op_mark,
    ['N'] = op_other,         [')'] = op_empty_sequence, [']'] = op_empty_sequence, ['}'] = op_empty_dictionary,
    [0x88] = op_true,         [0x89] = op_false,         ['K'] = op_int1,           ['M'] = op_int2,
    ['J'] = op_int4,          [0x8a] = op_long1,         ['G'] = op_float,          [0x8c] = op_text1,
    ['X'] = op_text4,         [0x8d] = op_text8,         ['q'] = op_put1,           ['r'] = op_put4,
    ['h'] = op_get1,          ['j'] = op_get4,           [0x94] = op_memoize,       ['t'] = op_tuple,
    [0x85] = op_tuple1,       [0x86] = op_tuple2,        [0x87] = op_tuple3,        ['a'] = op_append,
    ['e'] = op_appends,       ['s'] = op_set_item,       ['u'] = op_set_items,      ['c'] = op_global,
    [0x93] = op_stack_global, ['Q'] = op_persistent,     ['R'] = op_reduce,         ['b'] = op_build,
};

static void run(machine *m)
{
    while (!m->done && m->status == TD_OK) {
        uint8_t code = td_read_u8(&m->reader);
        if (!m->reader.failed && instructions[code])
            instructions[code](m);
        else if (!m->reader.failed)
            fail(m, "holds an instruction that saved tensors do not need");
        if (m->reader.failed)
            fail(m, "it ends in the middle");
    }
    if (m->status == TD_OK && (m->depth != 1 || m->stack[0]->kind != DICTIONARY))
        fail(m, "it is not a dictionary of tensors");
}

static void collect(machine *m, td_arena *memory, td_pickled_tensor **ret_tensors, size_t *ret_count)
{
    const value *root = m->stack[0];
    size_t count = 0;
    td_pickled_tensor *tensors = td_arena_zeroed_array(memory, root->count / 2 + 1, sizeof *tensors);
    if (!tensors) {
        fail_memory(m, root->count / 2 * sizeof *tensors);
        return;
    }
    for (size_t i = 0; i + 1 < root->count; i += 2) {
        const value *name = root->items[i], *tensor = root->items[i + 1];
        if (name->kind != TEXT || tensor->kind != TENSOR)
            continue;
        tensors[count] = *tensor->tensor;
        tensors[count++].name = name->text;
    }
    if (count == 0)
        fail(m, "its dictionary holds no tensors");
    *ret_tensors = tensors;
    *ret_count = count;
}

td_status td_pickle_read(const char *path, const uint8_t *bytes, size_t length, td_arena *memory, td_pickled_tensor **ret_tensors,
                         size_t *ret_count, td_error *error)
{
    machine m = {.path = path, .reader = td_reader_of(bytes, length), .memory = memory, .error = error};
    td_pickled_tensor *tensors = NULL;
    size_t count = 0;
    run(&m);
    if (m.status == TD_OK)
        collect(&m, memory, &tensors, &count);
    td_release(m.stack);
    td_release(m.memo);
    if (m.status == TD_OK) {
        *ret_tensors = tensors;
        *ret_count = count;
    }
    return m.status;
}
