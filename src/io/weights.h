/* The inside of td_safetensors, for the readers of weight files: each is a row of the table in weights.c and adds a file's tensors
 * to the view, as pointers into the mapped file wherever the file holds them as they are wanted. */
#ifndef TD_IO_WEIGHTS_H
#define TD_IO_WEIGHTS_H

#include "base/arena.h"
#include "io/safetensors.h"
#include "platform/file.h"

#include <jansson.h>

/* One file. */
typedef struct td_shard {
    char *path;
    td_mapped_file map;
    json_t *header;  /* of a safetensors file, or NULL; owns its tensors' names */
    td_arena memory; /* names and tensors that could not stay where they are */
} td_shard;

struct td_safetensors {
    td_shard *shards;
    size_t shard_count;
    td_stored_tensor *tensors; /* by name, once all shards are read */
    size_t count, capacity;
};

/* Reads the mapped `part`; its owner releases it also after failure. */
typedef td_status (*td_shard_reader)(td_safetensors *file, td_shard *part, td_error *error);
td_status td_safetensors_read_shard(td_safetensors *file, td_shard *part, td_error *error);
td_status td_torch_read_shard(td_safetensors *file, td_shard *part, td_error *error);
td_status td_npz_read_shard(td_safetensors *file, td_shard *part, td_error *error);
td_status td_ct2_read_shard(td_safetensors *file, td_shard *part, td_error *error);

td_status td_weights_open(const char *path, td_shard_reader read, td_safetensors **ret_file, td_error *error);
td_status td_weights_add(td_safetensors *file, const td_stored_tensor *tensor, td_error *error);
/* "path: tensor "name": reason" */
td_status td_weights_fail(td_error *error, const char *path, const char *name, const char *reason);

#endif
