#include "training/copy_labels.h"

size_t td_cut_source(td_ids *source, size_t limit)
{
    if (!limit || source->length <= limit)
        return 0;
    size_t cut = source->length - limit;
    source->data[limit - 1] = source->data[source->length - 1];
    source->length = limit;
    return cut;
}

td_status td_copy_encode_pair(const td_tokenizer *tokenizer, const char *source_text, size_t source_bytes, const char *target_text,
                              size_t target_bytes, double dropout, td_random *random, td_local_pieces *local, size_t limit, td_ids *source,
                              td_ids *target, size_t *ret_cut, td_error *error)
{
    td_local_pieces_clear(local);
    local->first = (int32_t)td_tokenizer_size(tokenizer);
    TD_TRY(td_tokenizer_encode_local(tokenizer, TD_SOURCE, source_text, source_bytes, dropout, random, local, source, error));
    local->closed = true;
    TD_TRY(td_tokenizer_encode_local(tokenizer, TD_TARGET, target_text, target_bytes, dropout, random, local, target, error));
    *ret_cut = td_cut_source(source, limit);
    td_forget_absent(source->data, source->length, target->data, target->length, local->first, td_tokenizer_unknown_id(tokenizer));
    return TD_OK;
}

td_copy_source *td_copy_rows(td_graph *graph, const int32_t *source, td_ragged sources, td_ragged targets)
{
    td_copy_source *rows = td_graph_allocate(graph, td_ragged_total(targets), sizeof *rows);
    for (size_t i = 0; rows && i < targets.count; i++)
        for (int32_t t = targets.offsets[i]; t < targets.offsets[i + 1]; t++)
            rows[t] = (td_copy_source){source + sources.offsets[i], td_ragged_length(sources, i)};
    return rows;
}
