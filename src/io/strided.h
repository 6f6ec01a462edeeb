/* Arrays that a file holds packed, in another order than row-major, or with the most significant byte first: what is needed to make
 * them when they are wanted (td_stored_hold). */
#ifndef TD_IO_STRIDED_H
#define TD_IO_STRIDED_H

#include "base/arena.h"
#include "io/safetensors.h"
#include "io/zip.h"

typedef struct td_deferred {
    const char *path;                   /* for messages */
    const td_zip_entry *packed;         /* NULL: the file's bytes are the array's */
    const uint8_t *first;               /* the first element, where nothing is packed */
    size_t offset;                      /* of the first element in what is unpacked */
    size_t strides[TD_STORED_RANK_MAX]; /* in elements */
    bool big;
} td_deferred;

/* True when `strides` (in elements) are those of row-major order. */
bool td_strides_are_plain(const td_stored_tensor *tensor, const size_t *strides);
/* The tensor's data are to be made as `how` says, which is kept in the arena. The caller has checked that every element lies in the file. A
 * tensor of more bytes than the arena's limit is refused. */
td_status td_stored_defer(td_stored_tensor *tensor, const td_deferred *how, td_arena *memory, td_error *error);

#endif
