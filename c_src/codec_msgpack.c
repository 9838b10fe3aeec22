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

static bool read_bytes(struct reader *reader, uint64_t len, bool text)
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

/* A string or bytes whose length has `width` bytes. */
static bool read_sized(struct reader *reader, size_t width, bool text)
{
    uint64_t len;
    return take(reader, width, &len) && read_bytes(reader, len, text);
}

/* An extension; a fixed one has no length, so `width` is 0. */
static bool refuse_extension(struct reader *reader, size_t width)
{
    uint64_t len;
    uint64_t type;
    if (!take(reader, width, &len) || !take(reader, 1, &type))
        return false;
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

static bool read_counted(struct reader *reader, size_t width, bool (*read)(struct reader *reader, uint64_t count))
{
    uint64_t count;
    return take(reader, width, &count) && read(reader, count);
}

/* What the first byte doesn't say in its own bits. */
static bool read_typed(struct reader *reader, uint8_t type)
{
    switch (type) {
    case 0xc0:
        smx_build_null(reader->build);
        return true;
    case 0xc2:
    case 0xc3:
        smx_build_bool(reader->build, type == 0xc3);
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_sized(reader, (size_t)1 << (type - 0xc4), false);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return refuse_extension(reader, (size_t)1 << (type - 0xc7));
    case 0xca:
        return read_double(reader, sizeof(float));
    case 0xcb:
        return read_double(reader, sizeof(double));
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_uint(reader, (size_t)1 << (type - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_int(reader, (size_t)1 << (type - 0xd0));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_sized(reader, (size_t)1 << (type - 0xd9), true);
    case 0xdc:
    case 0xdd:
        return read_counted(reader, (size_t)2 << (type - 0xdc), read_list);
    case 0xde:
    case 0xdf:
        return read_counted(reader, (size_t)2 << (type - 0xde), read_map);
    default: /* 0xd4..0xd8, and 0xc1 */
        return type == 0xc1 ? fail(reader, "0xc1 is not MessagePack") : refuse_extension(reader, 0);
    }
}

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
        return read_bytes(reader, first & 0x1f, true);
    return read_typed(reader, (uint8_t)first);
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

static msgpack_packer packer_of(struct smx_buffer *out)
{
    return (msgpack_packer){.data = out, .callback = append};
}

static void put_null(struct smx_buffer *out)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_nil(&packer);
}

static void put_bool(struct smx_buffer *out, bool value)
{
    msgpack_packer packer = packer_of(out);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

static void put_int(struct smx_buffer *out, int64_t value)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_int64(&packer, value);
}

static void put_uint(struct smx_buffer *out, uint64_t value)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_uint64(&packer, value);
}

static void put_double(struct smx_buffer *out, double value)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_double(&packer, value);
}

static void put_string(struct smx_buffer *out, struct smx_span value)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_str(&packer, value.len);
    smx_buffer_append_span(out, value);
}

static void put_bytes(struct smx_buffer *out, struct smx_span value)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_bin(&packer, value.len);
    smx_buffer_append_span(out, value);
}

static void open_list(struct smx_buffer *out, size_t count)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_array(&packer, count);
}

static void open_map(struct smx_buffer *out, size_t count)
{
    msgpack_packer packer = packer_of(out);
    msgpack_pack_map(&packer, count);
}

const struct smx_codec_writer smx_codec_msgpack_writer = {
    .put_null = put_null,
    .put_bool = put_bool,
    .put_int = put_int,
    .put_uint = put_uint,
    .put_double = put_double,
    .put_string = put_string,
    .put_bytes = put_bytes,
    .open_list = open_list,
    .open_map = open_map,
    .comma = "",
    .colon = "",
    .end_list = "",
    .end_map = "",
};
