/* Owns nothing; knows protobuf and the fields of snakepit.proto, not how messages travel. */
#include "wire.h"

#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct field {
    uint64_t number;
    unsigned type;
    uint64_t value; /* of a varint */
    struct smx_span bytes;
};

static bool read_varint(struct smx_span message, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 70 && *at < message.len; shift += 7) {
        uint8_t byte = message.data[(*at)++];
        if (shift < 64)
            *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* False at the end and for what is no field: then *at is not the end. */
static bool read_field(struct smx_span message, size_t *at, struct field *field)
{
    size_t from = *at;
    uint64_t tag;
    *field = (struct field){0};
    if (from >= message.len)
        return false;
    if (!read_varint(message, &from, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
        return false;
    field->number = tag >> 3;
    field->type = tag & 7;
    uint64_t len = field->type == WIRE_FIXED64 ? 8 : 4;
    switch (field->type) {
    case WIRE_VARINT:
        if (!read_varint(message, &from, &field->value))
            return false;
        break;
    case WIRE_BYTES:
        if (!read_varint(message, &from, &len))
            return false;
        __attribute__((fallthrough));
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        if (len > message.len - from)
            return false;
        field->bytes = (struct smx_span){message.data + from, (size_t)len};
        from += (size_t)len;
        break;
    default: /* groups, which proto3 does not have */
        return false;
    }
    *at = from;
    return true;
}

static bool is_text(const struct field *field)
{
    return smx_utf8_valid(field->bytes, true);
}

/* Fields of another wire type than theirs are unknown fields, as for every reader of protobuf. */
static bool is(const struct field *field, unsigned number, enum wire_type type)
{
    return field->number == number && field->type == type;
}

static bool read_entry(struct smx_span entry, struct smx_span *key, struct smx_span *value)
{
    struct field field;
    size_t at = 0;
    *key = *value = (struct smx_span){(const uint8_t *)"", 0};
    while (read_field(entry, &at, &field)) {
        if (is(&field, 1, WIRE_BYTES) && is_text(&field))
            *key = field.bytes;
        else if (is(&field, 1, WIRE_BYTES))
            return false;
        else if (is(&field, 2, WIRE_BYTES))
            *value = field.bytes;
    }
    return at == entry.len;
}

bool smx_wire_read_request(struct smx_span message, enum smx_wire_kind kind, struct smx_wire_request *request)
{
    unsigned shift = kind == SMX_WIRE_SESSION ? 1 : 0;
    struct smx_span key, value;
    struct field field;
    size_t at = 0;
    *request = (struct smx_wire_request){0};
    while (read_field(message, &at, &field)) {
        struct smx_span *text = NULL;
        if (shift && is(&field, 1, WIRE_BYTES))
            text = &request->session;
        else if (is(&field, 1 + shift, WIRE_BYTES))
            text = &request->command;
        else if (is(&field, 4 + shift, WIRE_BYTES))
            text = &request->request_id;
        else if (is(&field, 3 + shift, WIRE_VARINT))
            request->timeout_ms = (int32_t)(uint32_t)field.value;
        else if (is(&field, 2 + shift, WIRE_BYTES) && !read_entry(field.bytes, &key, &value))
            return false;
        if (text && !is_text(&field))
            return false;
        if (text)
            *text = field.bytes;
    }
    return at == message.len;
}

bool smx_wire_next_arg(struct smx_span message, enum smx_wire_kind kind, size_t *at, struct smx_span *key,
                       struct smx_span *value)
{
    struct field field;
    while (read_field(message, at, &field))
        if (is(&field, kind == SMX_WIRE_SESSION ? 3 : 2, WIRE_BYTES))
            return read_entry(field.bytes, key, value);
    return false;
}

bool smx_wire_read_health(struct smx_span message, struct smx_span *worker_id)
{
    struct field field;
    size_t at = 0;
    *worker_id = (struct smx_span){0};
    while (read_field(message, &at, &field)) {
        if (!is(&field, 1, WIRE_BYTES))
            continue;
        if (!is_text(&field))
            return false;
        *worker_id = field.bytes;
    }
    return at == message.len;
}

bool smx_wire_read_info(struct smx_span message, bool *capabilities, bool *stats)
{
    struct field field;
    size_t at = 0;
    *capabilities = *stats = false;
    while (read_field(message, &at, &field)) {
        if (is(&field, 1, WIRE_VARINT))
            *capabilities = field.value != 0;
        if (is(&field, 2, WIRE_VARINT))
            *stats = field.value != 0;
    }
    return at == message.len;
}

void smx_wire_varint(struct smx_buffer *out, uint64_t value)
{
    uint8_t *at = smx_buffer_reserve(out, 10);
    for (; value >= 0x80; value >>= 7, out->len++)
        *at++ = (uint8_t)(value | 0x80);
    *at = (uint8_t)value;
    out->len++;
}

static void put_tag(struct smx_buffer *out, unsigned field, enum wire_type type)
{
    smx_wire_varint(out, (uint64_t)field << 3 | type);
}

static size_t varint_len(uint64_t value)
{
    size_t len = 1;
    for (; value >= 0x80; value >>= 7)
        len++;
    return len;
}

void smx_wire_number(struct smx_buffer *out, unsigned field, int64_t value)
{
    if (value == 0)
        return;
    put_tag(out, field, WIRE_VARINT);
    smx_wire_varint(out, (uint64_t)value);
}

void smx_wire_double(struct smx_buffer *out, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_tag(out, field, WIRE_FIXED64);
    for (unsigned i = 0; i < 8; i++)
        smx_buffer_append(out, &(uint8_t){(uint8_t)(bits >> (8 * i))}, 1);
}

void smx_wire_bytes(struct smx_buffer *out, unsigned field, struct smx_span bytes)
{
    if (bytes.len == 0)
        return;
    put_tag(out, field, WIRE_BYTES);
    smx_wire_varint(out, bytes.len);
    smx_buffer_append_span(out, bytes);
}

void smx_wire_entry(struct smx_buffer *out, unsigned field, struct smx_span key, size_t value_len)
{
    put_tag(out, field, WIRE_BYTES);
    smx_wire_varint(out, 2 + varint_len(key.len) + key.len + varint_len(value_len) + value_len);
    put_tag(out, 1, WIRE_BYTES);
    smx_wire_varint(out, key.len);
    smx_buffer_append_span(out, key);
    put_tag(out, 2, WIRE_BYTES);
    smx_wire_varint(out, value_len);
}
