/* Owns the walk over MessagePack; knows nothing of what its values mean. */
#include <string.h>

#include "codec_msgpack.h"
#include "splice.h"

enum kind { KIND_OTHER, KIND_TEXT, KIND_LIST, KIND_MAP };

/* One header: its own bytes, then `len` bytes of payload, or `len` values (twice as many in a map). */
struct head {
    enum kind kind;
    size_t size;
    uint64_t len;
};

static uint64_t number_at(const uint8_t *at, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | at[i];
    return value;
}

/* Of the first bytes 0xc0..0xdf: how many bytes a length has, and what comes behind it beside that length. */
static const struct {
    enum kind kind;
    uint8_t width;
    int8_t fixed; /* -1: there is no such first byte */
} types[] = {
    {KIND_OTHER, 0, 0}, {KIND_OTHER, 0, -1}, {KIND_OTHER, 0, 0}, {KIND_OTHER, 0, 0}, /* nil, -, false, true */
    {KIND_OTHER, 1, 0}, {KIND_OTHER, 2, 0},  {KIND_OTHER, 4, 0},                     /* bin */
    {KIND_OTHER, 1, 1}, {KIND_OTHER, 2, 1},  {KIND_OTHER, 4, 1},                     /* ext */
    {KIND_OTHER, 0, 4}, {KIND_OTHER, 0, 8},                                          /* float */
    {KIND_OTHER, 0, 1}, {KIND_OTHER, 0, 2},  {KIND_OTHER, 0, 4}, {KIND_OTHER, 0, 8}, /* uint */
    {KIND_OTHER, 0, 1}, {KIND_OTHER, 0, 2},  {KIND_OTHER, 0, 4}, {KIND_OTHER, 0, 8}, /* int */
    {KIND_OTHER, 0, 2}, {KIND_OTHER, 0, 3},  {KIND_OTHER, 0, 5}, {KIND_OTHER, 0, 9}, {KIND_OTHER, 0, 17}, /* fixext */
    {KIND_TEXT, 1, 0},  {KIND_TEXT, 2, 0},   {KIND_TEXT, 4, 0},                                           /* str */
    {KIND_LIST, 2, 0},  {KIND_LIST, 4, 0},   {KIND_MAP, 2, 0},   {KIND_MAP, 4, 0}, /* array, map */
};

static bool read_head(struct smx_span bytes, size_t at, struct head *head)
{
    if (at >= bytes.len)
        return false;
    uint8_t first = bytes.data[at];
    *head = (struct head){.kind = KIND_OTHER, .size = 1};
    if (first < 0x80 || first >= 0xe0)
        return true;
    if (first < 0xc0) {
        head->kind = first < 0x90 ? KIND_MAP : first < 0xa0 ? KIND_LIST : KIND_TEXT;
        head->len = first & (first < 0xa0 ? 0x0f : 0x1f);
    } else {
        size_t width = types[first - 0xc0].width;
        if (types[first - 0xc0].fixed < 0 || bytes.len - at - 1 < width)
            return false;
        head->kind = types[first - 0xc0].kind;
        head->size += width;
        head->len = number_at(bytes.data + at + 1, width) + (uint64_t)types[first - 0xc0].fixed;
    }
    return head->kind >= KIND_LIST || bytes.len - at - head->size >= head->len;
}

/* How many values follow a header, and how many bytes belong to it. */
static uint64_t values_behind(const struct head *head)
{
    return head->kind == KIND_LIST ? head->len : head->kind == KIND_MAP ? 2 * head->len : 0;
}

static size_t bytes_of(const struct head *head)
{
    return head->size + (head->kind >= KIND_LIST ? 0 : (size_t)head->len);
}

/* A count of the values still to come is all the memory that this needs: each takes a byte at least. */
bool smx_splice_msgpack_skip(struct smx_span bytes, size_t *at)
{
    struct head head;
    for (uint64_t left = 1; left > 0; left--) {
        if (!read_head(bytes, *at, &head))
            return false;
        *at += bytes_of(&head);
        left += values_behind(&head);
    }
    return true;
}

static struct smx_span text_at(struct smx_span bytes, size_t at, const struct head *head)
{
    return (struct smx_span){bytes.data + at + head->size, (size_t)head->len};
}

bool smx_splice_msgpack_text(struct smx_span value, struct smx_buffer *out)
{
    struct head head;
    if (!read_head(value, 0, &head) || head.kind != KIND_TEXT)
        return false;
    smx_buffer_append_text(out, text_at(value, 0, &head));
    return true;
}

bool smx_splice_msgpack_map(struct smx_span bytes, struct smx_values *pairs)
{
    struct head head;
    if (!read_head(bytes, 0, &head) || head.kind != KIND_MAP || head.len > bytes.len / 2)
        return false;
    size_t at = head.size, count = (size_t)head.len;
    pairs->items = smx_alloc(count * sizeof(*pairs->items));
    for (; pairs->count < count; pairs->count++) {
        struct smx_pair *pair = &pairs->items[pairs->count];
        if (!read_head(bytes, at, &head) || head.kind != KIND_TEXT)
            return false;
        pair->key = text_at(bytes, at, &head);
        if (!smx_utf8_valid(pair->key, false))
            return false;
        at += bytes_of(&head);
        size_t start = at;
        if (!smx_splice_msgpack_skip(bytes, &at))
            return false;
        pair->value = (struct smx_span){bytes.data + start, at - start};
    }
    return at == bytes.len;
}

bool smx_splice_has_extension(enum smx_codec codec, struct smx_span value)
{
    struct head head;
    for (size_t at = 0; codec == SMX_CODEC_MSGPACK && read_head(value, at, &head); at += bytes_of(&head)) {
        uint8_t first = value.data[at];
        if ((first >= 0xc7 && first <= 0xc9) || (first >= 0xd4 && first <= 0xd8))
            return true;
    }
    return false;
}

bool smx_splice_mend(struct smx_span value, struct smx_buffer *out)
{
    struct head head;
    size_t copied = 0;
    for (size_t at = 0; read_head(value, at, &head); at += bytes_of(&head)) {
        if (head.kind != KIND_TEXT || smx_utf8_valid(text_at(value, at, &head), true))
            continue;
        smx_buffer_append(out, value.data + copied, at - copied);
        smx_codec_msgpack_writer.put(out, &(struct smx_value){SMX_VALUE_BYTES, .span = text_at(value, at, &head)});
        copied = at + bytes_of(&head);
    }
    if (copied > 0)
        smx_buffer_append(out, value.data + copied, value.len - copied);
    return copied > 0;
}
