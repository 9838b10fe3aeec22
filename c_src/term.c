/* Owns what is known of the external term format; knows nothing of the messages made of terms. */
#include "term.h"

#include <ei.h>
#include <math.h>
#include <string.h>

#include "protocol.h"

/* A value of full depth stands in Args and these in a message; its leaves may be {tensor, {f, 32}, …}. */
enum { MAX_LEVELS = SMX_MAX_DEPTH + 4 };

enum kind { UNKNOWN, PLAIN, LATIN1, UTF8 };

/* What stands behind a tag, in this order: a number n, an atom, bytes (fixed and n times unit), elements. */
struct shape {
    const char *name;
    enum kind kind;   /* LATIN1, UTF8: an atom, its bytes are that */
    uint8_t width;    /* of n, in bytes */
    uint8_t unit;     /* bytes for each of n */
    uint8_t elements; /* for each of n */
    uint8_t more;     /* elements beside these */
    int8_t fixed;     /* bytes beside those */
    bool node;        /* the atom is there */
};

static const struct shape shapes[256] = {
    [ERL_SMALL_INTEGER_EXT] = {"an integer", PLAIN, .fixed = 1},
    [ERL_INTEGER_EXT] = {"an integer", PLAIN, .fixed = 4},
    [NEW_FLOAT_EXT] = {"a float", PLAIN, .fixed = 8},
    [ERL_SMALL_BIG_EXT] = {"an integer", PLAIN, .width = 1, .unit = 1, .fixed = 1}, /* the sign */
    [ERL_LARGE_BIG_EXT] = {"an integer", PLAIN, .width = 4, .unit = 1, .fixed = 1},
    [ERL_ATOM_EXT] = {"an atom", LATIN1, .width = 2, .unit = 1},
    [ERL_SMALL_ATOM_EXT] = {"an atom", LATIN1, .width = 1, .unit = 1},
    [ERL_ATOM_UTF8_EXT] = {"an atom", UTF8, .width = 2, .unit = 1},
    [ERL_SMALL_ATOM_UTF8_EXT] = {"an atom", UTF8, .width = 1, .unit = 1},
    [ERL_STRING_EXT] = {"a list", PLAIN, .width = 2, .unit = 1},
    [ERL_BINARY_EXT] = {"a binary", PLAIN, .width = 4, .unit = 1},
    [ERL_BIT_BINARY_EXT] = {"a bit string", PLAIN, .width = 4, .unit = 1, .fixed = 1}, /* bits of the last byte */
    [ERL_NIL_EXT] = {"a list", .kind = PLAIN},
    [ERL_LIST_EXT] = {"a list", PLAIN, .width = 4, .elements = 1, .more = 1}, /* the tail */
    [ERL_SMALL_TUPLE_EXT] = {"a tuple", PLAIN, .width = 1, .elements = 1},
    [ERL_LARGE_TUPLE_EXT] = {"a tuple", PLAIN, .width = 4, .elements = 1},
    [ERL_MAP_EXT] = {"a map", PLAIN, .width = 4, .elements = 2},
    [ERL_EXPORT_EXT] = {"a fun", PLAIN, .more = 3},                           /* module, function, arity */
    [ERL_NEW_FUN_EXT] = {"a fun", PLAIN, .width = 4, .unit = 1, .fixed = -4}, /* n counts itself */
    [ERL_PID_EXT] = {"a pid", PLAIN, .node = true, .fixed = 9},
    [ERL_NEW_PID_EXT] = {"a pid", PLAIN, .node = true, .fixed = 12},
    [ERL_PORT_EXT] = {"a port", PLAIN, .node = true, .fixed = 5},
    [ERL_NEW_PORT_EXT] = {"a port", PLAIN, .node = true, .fixed = 8},
    [ERL_V4_PORT_EXT] = {"a port", PLAIN, .node = true, .fixed = 12},
    [ERL_NEW_REFERENCE_EXT] = {"a reference", PLAIN, .width = 2, .node = true, .unit = 4, .fixed = 1},
    [ERL_NEWER_REFERENCE_EXT] = {"a reference", PLAIN, .width = 2, .node = true, .unit = 4, .fixed = 4},
};

/* Moves `*at` behind one term without its elements; `count` is how many of them follow, a byte at least for each. */
static bool walk_one(struct smx_span frame, size_t *at, uint64_t *count, bool atom_only)
{
    if (*at >= frame.len)
        return false;
    const struct shape *shape = &shapes[frame.data[(*at)++]];
    if (shape->kind == UNKNOWN || (atom_only && shape->kind == PLAIN) || frame.len - *at < shape->width)
        return false;
    int64_t n = 0;
    for (size_t i = 0; i < shape->width; i++)
        n = n << 8 | frame.data[(*at)++];
    if (shape->node && !walk_one(frame, at, count, true))
        return false;
    if (shape == &shapes[ERL_LIST_EXT] && n == 0)
        return false; /* the empty list is NIL_EXT; one that has a tail is none */
    int64_t bytes = n * shape->unit + shape->fixed;
    int64_t elements = n * shape->elements + shape->more;
    int64_t left = (int64_t)(frame.len - *at);
    if (bytes < 0 || bytes > left || elements > left - bytes)
        return false;
    struct smx_span text = {frame.data + *at, (size_t)bytes};
    if (shape->kind == UTF8 && (bytes > SMX_TERM_ATOM_SIZE - 1 || !smx_utf8_valid(text, true)))
        return false;
    if (shape->kind == LATIN1 && bytes > 255)
        return false;
    *at += (size_t)bytes;
    *count = (uint64_t)elements;
    return true;
}

bool smx_term_check(struct smx_span frame, size_t *at, const char **why)
{
    uint64_t left[1 + MAX_LEVELS] = {1}; /* elements to come, on each level */
    size_t level = 0;
    for (;;) {
        while (left[level] == 0) {
            if (level-- == 0)
                return true;
        }
        left[level]--;
        size_t start = *at;
        uint64_t count;
        *why = "a truncated or unknown term";
        if (!walk_one(frame, at, &count, false)) {
            *at = start;
            return false;
        }
        if (count == 0)
            continue;
        *why = "a term nested too deep";
        if (level == MAX_LEVELS)
            return false;
        left[++level] = count;
    }
}

bool smx_term_skip(struct smx_span frame, size_t *at)
{
    size_t end = *at;
    for (uint64_t left = 1; left > 0; left--) {
        uint64_t count;
        if (!walk_one(frame, &end, &count, false))
            return false;
        left += count;
    }
    *at = end;
    return true;
}

static int tag_at(struct smx_span term, size_t at)
{
    return at < term.len ? term.data[at] : -1;
}

bool smx_term_get_atom(struct smx_span term, size_t *at, char name[SMX_TERM_ATOM_SIZE])
{
    int tag = tag_at(term, *at);
    if (tag < 0 || shapes[tag].kind < LATIN1)
        return false;
    const char *from = (const char *)term.data + *at;
    int index = 0;
    if (ei_decode_atom_as(from, &index, name, SMX_TERM_ATOM_SIZE, ERLANG_UTF8, NULL, NULL) < 0)
        return false;
    int header = 1 + shapes[tag].width;
    if (memchr(from + header, 0, (size_t)(index - header)))
        return false;
    *at += (size_t)index;
    return true;
}

/* An integer as sign and magnitude, if that has at most 8 bytes. */
static bool get_magnitude(struct smx_span term, size_t *at, bool *negative, uint64_t *magnitude)
{
    const uint8_t *from = term.data + *at;
    int tag = tag_at(term, *at);
    *magnitude = 0;
    if (tag == ERL_SMALL_INTEGER_EXT) {
        *negative = false;
        *magnitude = from[1];
        *at += 2;
        return true;
    }
    if (tag == ERL_INTEGER_EXT) {
        int32_t value = (int32_t)((uint32_t)from[1] << 24 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 8 | from[4]);
        *negative = value < 0;
        *magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
        *at += 5;
        return true;
    }
    if (tag != ERL_SMALL_BIG_EXT)
        return false;
    for (size_t i = from[1]; i > 0; i--) {
        if (*magnitude >> 56)
            return false;
        *magnitude = *magnitude << 8 | from[2 + i];
    }
    *negative = from[2] != 0;
    *at += 3 + (size_t)from[1];
    return true;
}

bool smx_term_get_int(struct smx_span term, size_t *at, int64_t *value)
{
    bool negative;
    uint64_t magnitude;
    size_t end = *at;
    if (!get_magnitude(term, &end, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *value = negative ? (int64_t)-magnitude : (int64_t)magnitude;
    *at = end;
    return true;
}

bool smx_term_get_uint(struct smx_span term, size_t *at, uint64_t *value)
{
    bool negative;
    size_t end = *at;
    if (!get_magnitude(term, &end, &negative, value) || (negative && *value > 0))
        return false;
    *at = end;
    return true;
}

bool smx_term_get_double(struct smx_span term, size_t *at, double *value)
{
    if (tag_at(term, *at) != NEW_FLOAT_EXT)
        return false;
    int index = 0;
    if (ei_decode_double((const char *)term.data + *at, &index, value) < 0 || !isfinite(*value))
        return false;
    *at += (size_t)index;
    return true;
}

static bool get_sized(struct smx_span term, size_t *at, int tag, size_t *n)
{
    if (tag_at(term, *at) != tag || term.len - *at <= shapes[tag].width)
        return false;
    *n = 0;
    for (size_t i = 1; i <= shapes[tag].width; i++)
        *n = *n << 8 | term.data[*at + i];
    *at += 1 + (size_t)shapes[tag].width;
    return true;
}

static bool get_span(struct smx_span term, size_t *at, int tag, struct smx_span *value)
{
    if (!get_sized(term, at, tag, &value->len))
        return false;
    value->data = term.data + *at;
    *at += value->len;
    return true;
}

bool smx_term_get_binary(struct smx_span term, size_t *at, struct smx_span *value)
{
    return get_span(term, at, ERL_BINARY_EXT, value);
}

bool smx_term_get_bytes(struct smx_span term, size_t *at, struct smx_span *value)
{
    return get_span(term, at, ERL_STRING_EXT, value);
}

bool smx_term_get_tuple(struct smx_span term, size_t *at, size_t *count)
{
    return get_sized(term, at, ERL_SMALL_TUPLE_EXT, count) || get_sized(term, at, ERL_LARGE_TUPLE_EXT, count);
}

bool smx_term_get_map(struct smx_span term, size_t *at, size_t *count)
{
    return get_sized(term, at, ERL_MAP_EXT, count);
}

bool smx_term_get_list(struct smx_span term, size_t *at, size_t *count)
{
    return get_sized(term, at, ERL_LIST_EXT, count);
}

bool smx_term_get_nil(struct smx_span term, size_t *at)
{
    size_t n;
    return get_sized(term, at, ERL_NIL_EXT, &n);
}

const char *smx_term_kind(struct smx_span term, size_t at)
{
    int tag = tag_at(term, at);
    return tag >= 0 && shapes[tag].name ? shapes[tag].name : "nothing";
}

static void put_header(struct smx_buffer *out, uint8_t tag, uint64_t n)
{
    size_t width = shapes[tag].width ? shapes[tag].width : (size_t)shapes[tag].fixed;
    uint8_t *to = smx_buffer_reserve(out, 1 + width);
    to[0] = tag;
    for (size_t i = width; i > 0; i--, n >>= 8)
        to[i] = (uint8_t)n;
    out->len += 1 + width;
}

static void put_bytes(struct smx_buffer *out, uint8_t tag, const void *data, size_t len)
{
    put_header(out, tag, len);
    smx_buffer_append(out, data, len);
}

void smx_term_put_atom(struct smx_buffer *out, const char *name)
{
    put_bytes(out, ERL_SMALL_ATOM_UTF8_EXT, name, strlen(name));
}

void smx_term_put_bool(struct smx_buffer *out, bool value)
{
    smx_term_put_atom(out, value ? "true" : "false");
}

static void put_big(struct smx_buffer *out, bool negative, uint64_t magnitude)
{
    uint8_t bytes[1 + 8] = {negative};
    size_t count = 0;
    for (; magnitude > 0; magnitude >>= 8)
        bytes[++count] = (uint8_t)magnitude;
    put_header(out, ERL_SMALL_BIG_EXT, count);
    smx_buffer_append(out, bytes, 1 + count);
}

void smx_term_put_int(struct smx_buffer *out, int64_t value)
{
    if (value >= 0 && value <= UINT8_MAX)
        put_header(out, ERL_SMALL_INTEGER_EXT, (uint64_t)value);
    else if (value >= INT32_MIN && value <= INT32_MAX)
        put_header(out, ERL_INTEGER_EXT, (uint64_t)value);
    else
        put_big(out, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void smx_term_put_uint(struct smx_buffer *out, uint64_t value)
{
    if (value <= INT64_MAX)
        smx_term_put_int(out, (int64_t)value);
    else
        put_big(out, false, value);
}

void smx_term_put_double(struct smx_buffer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_header(out, NEW_FLOAT_EXT, bits);
}

void smx_term_put_binary(struct smx_buffer *out, struct smx_span value)
{
    put_bytes(out, ERL_BINARY_EXT, value.data, value.len);
}

void smx_term_put_binary_head(struct smx_buffer *out, size_t len)
{
    put_header(out, ERL_BINARY_EXT, len);
}

void smx_term_put_text(struct smx_buffer *out, const char *value)
{
    smx_term_put_binary(out, smx_span_of(value));
}

void smx_term_put_tuple(struct smx_buffer *out, size_t count)
{
    put_header(out, count <= UINT8_MAX ? ERL_SMALL_TUPLE_EXT : ERL_LARGE_TUPLE_EXT, count);
}

void smx_term_put_map(struct smx_buffer *out, size_t count)
{
    put_header(out, ERL_MAP_EXT, count);
}

void smx_term_put_list(struct smx_buffer *out, size_t count)
{
    put_header(out, ERL_LIST_EXT, count);
}

void smx_term_put_nil(struct smx_buffer *out)
{
    put_header(out, ERL_NIL_EXT, 0);
}

void smx_term_set_count(struct smx_buffer *out, size_t place, size_t count)
{
    for (size_t i = 4; i > 0; i--, count >>= 8)
        out->data[place + i] = (uint8_t)count;
}
