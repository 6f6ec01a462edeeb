/* The weights of a network: declared by name and shape, laid out in one flat buffer, then read from a file or initialised. */
#ifndef TD_LAYERS_PARAMETERS_H
#define TD_LAYERS_PARAMETERS_H

#include "io/safetensors.h"
#include "kernels/packed.h"
#include "tensor/graph.h"

typedef enum td_initialiser {
    TD_INIT_ZERO,
    TD_INIT_ONE,
    TD_INIT_NORMAL,  /* mean 0, deviation `spread` */
    TD_INIT_UNIFORM, /* in +-spread */
    TD_INIT_XAVIER,  /* uniform in +-spread * sqrt(6 / (rows + columns)) (Glorot 2010) */
    TD_INIT_CONSTANT /* the family fills it; not trained, not saved */
} td_initialiser;

typedef struct td_parameter_entry {
    td_parameter parameter;
    td_initialiser initialiser;
    td_real spread;
    bool optional;  /* absent from a file: stays zero */
    bool kept;      /* not trained, but initialised, read and saved as if it were */
    bool product;   /* read by td_linear and td_embedding alone */
    char **aliases; /* other names it may be stored under; NULL-terminated or NULL */
    char *whole;    /* the tensor of a file that this is some rows of; NULL: its own, by its name */
    size_t whole_rows, first_row;
    bool transposed; /* files hold it (or the whole) as [columns, rows] */
} td_parameter_entry;

typedef struct td_parameters {
    td_parameter_entry **entries; /* stable addresses */
    size_t count, capacity;
    td_real *data; /* [size], 64-byte aligned; every parameter starts on a multiple of 16 elements; trained ones first,
                    * then statistics. With packed weights, the others alone */
    void *packed;  /* the memory of all packed weights, or NULL */
    size_t size, trained_size, step_size; /* step_size: trained ones and statistics, what a step's gradient buffer covers */
    td_error error;                       /* sticky, as in a graph */
} td_parameters;

/* Declares a weight of shape [rows] (columns 0) or [rows, columns]; returns NULL after a failure. */
td_parameter *td_parameters_declare(td_parameters *parameters, size_t rows, size_t columns, td_initialiser initialiser, double spread,
                                    const char *name_format, ...) TD_PRINTF(6, 7);
/* A second name under which files may hold the last declared weight. */
void td_parameters_alias(td_parameters *parameters, const char *name_format, ...) TD_PRINTF(2, 3);
/* The shape under which files hold the last declared weight, rank 1 to 4: the same rows, and as many elements in a row as it has columns.
 */
void td_parameters_shape(td_parameters *parameters, const size_t *shape, size_t rank);
/* The last declared weight is not trained, but initialised, read and saved as if it were. */
void td_parameters_keep(td_parameters *parameters);
/* Nor are those declared first-th to (end - 1)-th, running statistics or not. */
void td_parameters_keep_range(td_parameters *parameters, size_t first, size_t end);
/* The same, and it is a running statistic: a step's graphs add their share of what they saw where its gradient would be,
 * in every step. */
void td_parameters_statistic(td_parameters *parameters);
/* The last declared weight may be absent from files. */
void td_parameters_optional(td_parameters *parameters);
/* The last declared weight, a matrix, is read by td_linear, td_linear_several and td_embedding alone, so that a model which is only
 * run may hold it packed (td_parameters_load_packed) and its data stays empty. */
void td_parameters_product(td_parameters *parameters);
/* Files hold the last declared weight as rows first .. of tensor `name`, which has `total` rows. Several weights may share it. */
void td_parameters_part(td_parameters *parameters, size_t first, size_t total, const char *name_format, ...) TD_PRINTF(4, 5);
/* Files hold the last declared matrix (or the tensor it is part of) with rows and columns exchanged. */
void td_parameters_transposed(td_parameters *parameters);
/* Lays out and allocates; call once after the last declaration. Reports any earlier failure. */
td_status td_parameters_allocate(td_parameters *parameters, td_error *error);
/* The same numbers for the same seed on every machine. */
void td_parameters_initialise(td_parameters *parameters, uint64_t seed);
/* Every statistic moves a tenth of the way to what the step saw: `step` [step_size], the sum over the step's graphs. */
void td_parameters_follow(td_parameters *parameters, const td_real *step);
/* Fills from a file: a missing tensor or another shape is an error naming both; tensors not declared are ignored.
 * A constant keeps its computed values unless the file holds it: a model trained in half precision saw the rounded ones. */
td_status td_parameters_load(td_parameters *parameters, const td_safetensors *file, td_error *error);
/* As td_parameters_load, with the weights of products packed in `precision` as they are read and nowhere else: inference only, and
 * once. All processors take part. */
td_status td_parameters_load_packed(td_parameters *parameters, const td_safetensors *file, td_precision precision, td_error *error);
/* Whether a file's tensor of that name is the weight of a product, whose rows files may hold as whole numbers: no part, not transposed. */
bool td_parameters_is_product(const td_parameters *parameters, const char *stored_name);
size_t td_parameters_products(const td_parameters *parameters); /* how many weights could be packed */
bool td_parameters_rounded(
    const td_parameters *parameters); /* whether products are of rounded numbers: weights packed in less than float32 */
size_t td_parameters_bytes(const td_parameters *parameters); /* of memory in use for weights, packed or not */
/* Writes all but constants, as float32, in order of declaration. data: a buffer laid out as parameters->data (NULL: that one). */
td_status td_parameters_save(const td_parameters *parameters, const td_real *data, const char *path, td_error *error);
size_t td_parameters_trained_count(const td_parameters *parameters); /* elements, without alignment gaps */
void td_parameters_free(td_parameters *parameters);

#endif
