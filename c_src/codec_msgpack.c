/*
 * Owns the bytes of MessagePack; knows neither terms nor the mapping. msgpack-c writes them. It does not read them:
 * its parser ends at 32 levels, and takes memory for as many elements as a header claims.
 */
#include "codec_msgpack.h"

#include <math.h>
#include <msgpack/pack.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ARRAY = 1 }; /* the type of the extension that is a .npy file */

struct reader {
    struct smx_span bytes;
    size_t at;
    struct smx_build *build;
    char *fault;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct reader *reader, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reader->fault, SMX_CODEC_FAULT_SIZE, format, args);
    va_end(args);
    return false;
}

/* A big-endian number of `width` bytes. */
static bool take(struct reader *reader, size_t width, uint64_t *value)
{
    if (reader->bytes.len - reader->at < width) {
        fail(reader, "it is truncated");
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < width; i++)
        *value = *value << 8 | reader->bytes.data[reader->at++];
    return true;
}

static bool read_uint(struct reader *reader, size_t width)
{
    uint64_t value;
    if (!take(reader, width, &value))
        return false;
    smx_build_uint(reader->build, value);
    return true;
}

static bool read_int(struct reader *reader, size_t width)
{
    uint64_t value;
    if (!take(reader, width, &value))
        return false;
    unsigned shift = 64 - 8 * (unsigned)width;
    smx_build_int(reader->build, (int64_t)(value << shift) >> shift);
    return true;
}

static bool read_double(struct reader *reader, size_t width)
{
    uint64_t bits;
    double value;
    if (!take(reader, width, &bits))
        return false;
    if (width == sizeof(float)) {
        uint32_t half = (uint32_t)bits;
        float single;
        memcpy(&single, &half, sizeof(single));
        value = (double)single;
    } else {
        memcpy(&value, &bits, sizeof(value));
    }
    if (!isfinite(value))
        return fail(reader, "a number is NaN or infinite");
    smx_build_double(reader->build, value);
    return true;
}

static bool take_bytes(struct reader *reader, uint64_t len, bool text)
{
    if (reader->bytes.len - reader->at < len)
        return fail(reader, "it is truncated");
    struct smx_span value = {reader->bytes.data + reader->at, (size_t)len};
    if (text && !smx_utf8_valid(value, true))
        return fail(reader, "a string is not valid UTF-8");
    smx_build_binary(reader->build, value);
    reader->at += (size_t)len;
    return true;
}

static bool read_string(struct reader *reader, size_t width)
{
    uint64_t len;
    return take(reader, width, &len) && take_bytes(reader, len, true);
}

static bool read_bytes(struct reader *reader, size_t width)
{
    uint64_t len;
    return take(reader, width, &len) && take_bytes(reader, len, false);
}

static bool refuse_format(struct reader *reader, size_t width)
{
    (void)width;
    return fail(reader, "0xc1 is not MessagePack");
}

static bool read_array(struct reader *reader, uint64_t len)
{
    struct smx_npy array;
    if (reader->bytes.len - reader->at < len)
        return fail(reader, "it is truncated");
    if (!smx_npy_read((struct smx_span){reader->bytes.data + reader->at, (size_t)len}, &array, reader->fault))
        return false;
    smx_build_tensor(reader->build, &array);
    reader->at += (size_t)len;
    return true;
}

/* An extension; a fixed one has no length, so `width` is 0. No array is as small as those are. */
static bool read_extension(struct reader *reader, size_t width)
{
    uint64_t len;
    uint64_t type;
    if (!take(reader, width, &len) || !take(reader, 1, &type))
        return false;
    if (type == ARRAY)
        return read_array(reader, len);
    return fail(reader, "extension type %d is not supported", (int8_t)type);
}

static bool read_value(struct reader *reader);

/* The builder bounds the depth, and so the recursion; the bytes bound the number of turns. */
static bool read_list(struct reader *reader, uint64_t count)
{
    if (!smx_build_list(reader->build))
        return fail(reader, "nested deeper than %d levels", SMX_MAX_DEPTH);
    for (; count > 0; count--)
        if (!read_value(reader))
            return false;
    smx_build_end(reader->build);
    return true;
}

static bool is_key(uint8_t first)
{
    bool number = first < 0x80 || first >= 0xe0 || (first >= 0xcc && first <= 0xd3);
    return number || (first & 0xe0) == 0xa0 || (first >= 0xd9 && first <= 0xdb);
}

static bool read_map(struct reader *reader, uint64_t count)
{
    if (!smx_build_map(reader->build))
        return fail(reader, "nested deeper than %d levels", SMX_MAX_DEPTH);
    for (; count > 0; count--) {
        if (reader->at < reader->bytes.len && !is_key(reader->bytes.data[reader->at]))
            return fail(reader, "the key of a map is neither a string nor an integer");
        smx_build_key(reader->build);
        if (!read_value(reader) || !read_value(reader))
            return false;
    }
    smx_build_end(reader->build);
    return true;
}

static bool read_null(struct reader *reader, size_t width)
{
    (void)width;
    smx_build_null(reader->build);
    return true;
}

static bool read_bool(struct reader *reader, size_t value)
{
    smx_build_bool(reader->build, value != 0);
    return true;
}

static bool read_sized_list(struct reader *reader, size_t width)
{
    uint64_t count;
    return take(reader, width, &count) && read_list(reader, count);
}

static bool read_sized_map(struct reader *reader, size_t width)
{
    uint64_t count;
    return take(reader, width, &count) && read_map(reader, count);
}

/* The formats 0xc0..0xdf: what reads them, and the width of the number behind the first byte. */
static const struct {
    bool (*read)(struct reader *reader, size_t width);
    size_t width;
} formats[32] = {
    {read_null, 0},      {refuse_format, 0},  {read_bool, 0},      {read_bool, 1},       {read_bytes, 1},
    {read_bytes, 2},     {read_bytes, 4},     {read_extension, 1}, {read_extension, 2},  {read_extension, 4},
    {read_double, 4},    {read_double, 8},    {read_uint, 1},      {read_uint, 2},       {read_uint, 4},
    {read_uint, 8},      {read_int, 1},       {read_int, 2},       {read_int, 4},        {read_int, 8},
    {read_extension, 0}, {read_extension, 0}, {read_extension, 0}, {read_extension, 0},  {read_extension, 0},
    {read_string, 1},    {read_string, 2},    {read_string, 4},    {read_sized_list, 2}, {read_sized_list, 4},
    {read_sized_map, 2}, {read_sized_map, 4},
};

static bool read_value(struct reader *reader)
{
    uint64_t first;
    if (!take(reader, 1, &first))
        return false;
    if (first < 0x80) {
        smx_build_uint(reader->build, first);
        return true;
    }
    if (first >= 0xe0) {
        smx_build_int(reader->build, (int64_t)first - 0x100);
        return true;
    }
    if (first < 0x90)
        return read_map(reader, first & 0x0f);
    if (first < 0xa0)
        return read_list(reader, first & 0x0f);
    if (first < 0xc0)
        return take_bytes(reader, first & 0x1f, true);
    return formats[first - 0xc0].read(reader, formats[first - 0xc0].width);
}

bool smx_codec_msgpack_read(struct smx_span bytes, struct smx_build *build, char fault[SMX_CODEC_FAULT_SIZE])
{
    struct reader reader = {bytes, 0, build, fault};
    if (!read_value(&reader))
        return false;
    return reader.at == bytes.len || fail(&reader, "there are bytes behind the value");
}

static int append(void *out, const char *data, size_t len)
{
    smx_buffer_append(out, data, len);
    return 0;
}

/* The longest of the heads, whatever the array's size: then it is known where the data begin. */
static void put_array(struct smx_buffer *out, const struct smx_npy *array, bool alone)
{
    static const uint8_t head[] = {0xc9, 0, 0, 0, 0, ARRAY};
    size_t place = out->len;
    smx_buffer_append(out, head, sizeof(head));
    smx_npy_write(array, alone ? sizeof(head) : 0, out);
    size_t len = out->len - place - sizeof(head);
    for (size_t i = 4; i > 0; i--, len >>= 8)
        out->data[place + i] = (uint8_t)len;
}

static void put(struct smx_buffer *out, const struct smx_value *value)
{
    msgpack_packer packer = {.data = out, .callback = append};
    switch (value->kind) {
    case SMX_VALUE_NULL:
        msgpack_pack_nil(&packer);
        break;
    case SMX_VALUE_BOOL:
        (value->boolean ? msgpack_pack_true : msgpack_pack_false)(&packer);
        break;
    case SMX_VALUE_INT:
        msgpack_pack_int64(&packer, value->number);
        break;
    case SMX_VALUE_UINT:
        msgpack_pack_uint64(&packer, value->large);
        break;
    case SMX_VALUE_DOUBLE:
        msgpack_pack_double(&packer, value->fraction);
        break;
    case SMX_VALUE_STRING:
        msgpack_pack_str_with_body(&packer, value->span.data, value->span.len);
        break;
    case SMX_VALUE_BYTES:
        msgpack_pack_bin_with_body(&packer, value->span.data, value->span.len);
        break;
    case SMX_VALUE_LIST:
        msgpack_pack_array(&packer, value->count);
        break;
    case SMX_VALUE_MAP:
        msgpack_pack_map(&packer, value->count);
        break;
    case SMX_VALUE_ARRAY:
        put_array(out, value->array, value->alone);
        break;
    }
}

const struct smx_codec_writer smx_codec_msgpack_writer = {
    .put = put,
    .text_head = 0xdb,
    .bytes_head = 0xc6,
    .has_bytes = true,
    .comma = "",
    .colon = "",
    .end_list = "",
    .end_map = "",
};
