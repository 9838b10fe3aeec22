/* Owns the mapping between terms and values; knows nothing of calls, nor of the bytes of JSON and MessagePack. */
#include "codec.h"

#include <stdlib.h>

#include "term.h"

void smx_values_fini(struct smx_values *values)
{
    free(values->items);
    smx_buffer_fini(&values->bytes);
    *values = (struct smx_values){0};
}

bool smx_codec_encode_args(enum smx_codec codec, struct smx_span term, struct smx_values *values, struct smx_error *why)
{
    size_t at = 0;
    size_t count;
    if (codec != SMX_CODEC_RAW || !smx_term_get_map(term, &at, &count))
        return smx_error_set(why, SMX_INVALID_ARGUMENT, "encode", "this codec is not there yet");
    values->items = smx_alloc(count * sizeof(struct smx_pair));
    for (; values->count < count; values->count++) {
        struct smx_pair *pair = &values->items[values->count];
        if (!smx_term_get_binary(term, &at, &pair->key) || !smx_utf8_valid(pair->key, false) ||
            !smx_term_get_binary(term, &at, &pair->value))
            return smx_error_set(why, SMX_INVALID_ARGUMENT, "encode", "args: raw takes binaries");
    }
    return true;
}

bool smx_codec_decode_pairs(enum smx_codec codec, struct smx_pairs pairs, enum smx_null null, struct smx_buffer *out,
                            struct smx_error *why)
{
    (void)codec;
    (void)null;
    (void)why;
    smx_term_put_map(out, pairs.count);
    for (size_t i = 0; i < pairs.count; i++) {
        smx_term_put_binary(out, pairs.items[i].key);
        smx_term_put_binary(out, pairs.items[i].value);
    }
    return true;
}

bool smx_codec_read_error(struct smx_span bytes, enum smx_null null, struct smx_error *error)
{
    (void)bytes;
    (void)null;
    (void)error;
    return false;
}
