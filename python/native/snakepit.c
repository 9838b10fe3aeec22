/* Owns nothing; knows the fields of snakepit.proto, not how messages travel. */
#include "snakepit.h"

#include "wire.h"

#include <string.h>

static bool is_text(const struct smx_wire_field *field)
{
    return smx_utf8_valid(field->bytes, true);
}

/* Fields of another wire type than theirs are unknown fields, as for every reader of protobuf. */
static bool is(const struct smx_wire_field *field, unsigned number, enum smx_wire_type type)
{
    return field->number == number && field->type == type;
}

static bool read_entry(struct smx_span entry, struct smx_span *key, struct smx_span *value)
{
    struct smx_wire_field field;
    *key = *value = (struct smx_span){(const uint8_t *)"", 0};
    while (smx_wire_next(&entry, &field)) {
        if (is(&field, 1, SMX_WIRE_BYTES) && !is_text(&field))
            return false;
        if (is(&field, 1, SMX_WIRE_BYTES))
            *key = field.bytes;
        else if (is(&field, 2, SMX_WIRE_BYTES))
            *value = field.bytes;
    }
    return entry.len == 0;
}

bool smx_read_request(struct smx_span message, enum smx_request_kind kind, struct smx_execute_request *request)
{
    unsigned shift = kind == SMX_REQUEST_SESSION ? 1 : 0;
    struct smx_span key, value;
    struct smx_wire_field field;
    *request = (struct smx_execute_request){0};
    while (smx_wire_next(&message, &field)) {
        struct smx_span *text = NULL;
        if (shift && is(&field, 1, SMX_WIRE_BYTES))
            text = &request->session;
        else if (is(&field, 1 + shift, SMX_WIRE_BYTES))
            text = &request->command;
        else if (is(&field, 4 + shift, SMX_WIRE_BYTES))
            text = &request->request_id;
        else if (is(&field, 3 + shift, SMX_WIRE_VARINT))
            request->timeout_ms = (int32_t)(uint32_t)field.value;
        else if (is(&field, 2 + shift, SMX_WIRE_BYTES) && !read_entry(field.bytes, &key, &value))
            return false;
        if (text && !is_text(&field))
            return false;
        if (text)
            *text = field.bytes;
    }
    return message.len == 0;
}

bool smx_next_arg(struct smx_span *rest, enum smx_request_kind kind, struct smx_span *key, struct smx_span *value)
{
    struct smx_wire_field field;
    while (smx_wire_next(rest, &field))
        if (is(&field, kind == SMX_REQUEST_SESSION ? 3 : 2, SMX_WIRE_BYTES))
            return read_entry(field.bytes, key, value);
    return false;
}

bool smx_read_health(struct smx_span message, struct smx_span *worker_id)
{
    struct smx_wire_field field;
    *worker_id = (struct smx_span){0};
    while (smx_wire_next(&message, &field)) {
        if (!is(&field, 1, SMX_WIRE_BYTES))
            continue;
        if (!is_text(&field))
            return false;
        *worker_id = field.bytes;
    }
    return message.len == 0;
}

bool smx_read_info(struct smx_span message, bool *capabilities, bool *stats)
{
    struct smx_wire_field field;
    *capabilities = *stats = false;
    while (smx_wire_next(&message, &field)) {
        if (is(&field, 1, SMX_WIRE_VARINT))
            *capabilities = field.value != 0;
        if (is(&field, 2, SMX_WIRE_VARINT))
            *stats = field.value != 0;
    }
    return message.len == 0;
}

void smx_put_number(struct smx_buffer *out, unsigned field, int64_t value)
{
    size_t size = smx_wire_number_size((uint64_t)value);
    smx_wire_put_number(smx_buffer_reserve(out, size), field, (uint64_t)value);
    out->len += size;
}

void smx_put_double(struct smx_buffer *out, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    smx_buffer_append(out, &(uint8_t){(uint8_t)(field << 3 | SMX_WIRE_FIXED64)}, 1);
    for (unsigned i = 0; i < 8; i++)
        smx_buffer_append(out, &(uint8_t){(uint8_t)(bits >> (8 * i))}, 1);
}

void smx_put_bytes(struct smx_buffer *out, unsigned field, struct smx_span bytes)
{
    size_t size = smx_wire_bytes_size(bytes.len);
    smx_wire_put_bytes(smx_buffer_reserve(out, size), field, bytes);
    out->len += size;
}

void smx_put_entry(struct smx_buffer *out, unsigned field, struct smx_span key, size_t value_len)
{
    size_t key_size = smx_wire_head_size(key.len) + key.len;
    size_t entry_len = key_size + smx_wire_head_size(value_len) + value_len;
    size_t size = smx_wire_head_size(entry_len) + key_size + smx_wire_head_size(value_len);
    uint8_t *at = smx_wire_put_head(smx_buffer_reserve(out, size), field, entry_len);
    at = smx_wire_put_head(at, 1, key.len);
    if (key.len > 0)
        memcpy(at, key.data, key.len);
    smx_wire_put_head(at + key.len, 2, value_len);
    out->len += size;
}
