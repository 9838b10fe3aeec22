/* Owns what the two formats have in common; knows nothing of frames, nor of who wants to splice. */
#include "splice.h"

#include <string.h>

#include "codec_json.h"
#include "codec_msgpack.h"

enum codec_bytes { MSGPACK_MAP_16 = 0xde, MSGPACK_TRUE = 0xc3 };

enum smx_codec smx_splice_codec(struct smx_span frame)
{
    if (frame.len == 0)
        return SMX_CODEC_RAW;
    uint8_t first = frame.data[0];
    if (first == '{')
        return SMX_CODEC_JSON;
    bool map = (first & 0xf0) == 0x80 || first == MSGPACK_MAP_16 || first == MSGPACK_MAP_16 + 1;
    return map ? SMX_CODEC_MSGPACK : SMX_CODEC_RAW;
}

const struct smx_codec_writer *smx_splice_writer(enum smx_codec codec)
{
    if (codec == SMX_CODEC_JSON)
        return &smx_codec_json_writer;
    return codec == SMX_CODEC_MSGPACK ? &smx_codec_msgpack_writer : NULL;
}

bool smx_splice_skip(enum smx_codec codec, struct smx_span bytes, size_t *at)
{
    return codec == SMX_CODEC_JSON ? smx_splice_json_skip(bytes, at) : smx_splice_msgpack_skip(bytes, at);
}

bool smx_splice_is_value(enum smx_codec codec, struct smx_span bytes)
{
    size_t at = 0;
    return smx_splice_skip(codec, bytes, &at) && at == bytes.len;
}

bool smx_splice_map(enum smx_codec codec, struct smx_span value, struct smx_values *pairs)
{
    *pairs = (struct smx_values){0};
    bool map = codec == SMX_CODEC_JSON ? smx_splice_json_map(value, pairs) : smx_splice_msgpack_map(value, pairs);
    if (!map)
        smx_values_fini(pairs);
    return map;
}

void smx_splice_unwrap(enum smx_codec codec, struct smx_span value, struct smx_values *pairs)
{
    /* A map whose one key is the reserved one is wrapped once more: the other side takes one off. */
    bool map = smx_splice_map(codec, value, pairs);
    if (map && !(pairs->count == 1 && smx_span_is(pairs->items[0].key, SMX_VALUE_KEY)))
        return;
    smx_values_fini(pairs);
    pairs->items = smx_alloc(sizeof(*pairs->items));
    pairs->items[0] = (struct smx_pair){smx_span_of(SMX_VALUE_KEY), value};
    pairs->count = 1;
}

void smx_splice_wrap(enum smx_codec codec, struct smx_pairs pairs, struct smx_buffer *out)
{
    const struct smx_codec_writer *writer = smx_splice_writer(codec);
    if (pairs.count == 1 && smx_span_is(pairs.items[0].key, SMX_VALUE_KEY)) {
        smx_buffer_append_span(out, pairs.items[0].value);
        return;
    }
    writer->put(out, &(struct smx_value){SMX_VALUE_MAP, .count = pairs.count});
    for (size_t i = 0; i < pairs.count; i++) {
        if (i > 0)
            smx_buffer_append_span(out, smx_span_of(writer->comma));
        writer->put(out, &(struct smx_value){SMX_VALUE_STRING, .span = pairs.items[i].key});
        smx_buffer_append_span(out, smx_span_of(writer->colon));
        smx_buffer_append_span(out, pairs.items[i].value);
    }
    smx_buffer_append_span(out, smx_span_of(writer->end_map));
}

struct smx_span smx_splice_find(const struct smx_values *pairs, const char *key)
{
    for (size_t i = pairs->count; i > 0; i--) /* of a key that comes twice the last one counts */
        if (smx_span_is(pairs->items[i - 1].key, key))
            return pairs->items[i - 1].value;
    return (struct smx_span){0};
}

void smx_splice_text(enum smx_codec codec, struct smx_span value, struct smx_buffer *out)
{
    size_t start = out->len;
    if (codec == SMX_CODEC_JSON ? smx_splice_json_text(value, out) : smx_splice_msgpack_text(value, out))
        return;
    out->len = start;
    if (codec == SMX_CODEC_JSON)
        smx_buffer_append_text(out, value);
    else
        smx_buffer_printf(out, "a value that is no text (%zu bytes of MessagePack)", value.len);
}

bool smx_splice_is_true(enum smx_codec codec, struct smx_span value)
{
    return codec == SMX_CODEC_JSON ? smx_span_is(value, "true") : value.len == 1 && value.data[0] == MSGPACK_TRUE;
}

bool smx_splice_is_integer(enum smx_codec codec, struct smx_span value)
{
    if (value.len == 0)
        return false;
    uint8_t first = value.data[0];
    if (codec == SMX_CODEC_MSGPACK)
        return first < 0x80 || first >= 0xe0 || (first >= 0xcc && first <= 0xd3);
    return ((first >= '0' && first <= '9') || first == '-') && !memchr(value.data, '.', value.len) &&
           !memchr(value.data, 'e', value.len) && !memchr(value.data, 'E', value.len);
}
