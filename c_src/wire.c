/* Owns protobuf's encoding; knows nothing of what it carries. */
#include "wire.h"

#include <string.h>

/* At most ten bytes; what does not fit into 64 bits is lost, as in every protobuf library. */
static bool take_varint(struct smx_span *rest, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 70 && rest->len > 0; shift += 7) {
        uint8_t byte = *rest->data++;
        rest->len--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_bytes(struct smx_span *rest, uint64_t len, struct smx_span *bytes)
{
    if (len > rest->len)
        return false;
    *bytes = (struct smx_span){rest->data, (size_t)len};
    rest->data += len;
    rest->len -= (size_t)len;
    return true;
}

static bool take_field(struct smx_span *rest, struct smx_wire_field *field)
{
    uint64_t key;
    *field = (struct smx_wire_field){0};
    if (!take_varint(rest, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return false;
    field->number = (uint32_t)(key >> 3);
    field->type = (enum smx_wire_type)(key & 7);
    switch (field->type) {
    case SMX_WIRE_VARINT:
        return take_varint(rest, &field->value);
    case SMX_WIRE_FIXED64:
        return take_bytes(rest, 8, &field->bytes);
    case SMX_WIRE_BYTES:
        return take_varint(rest, &field->value) && take_bytes(rest, field->value, &field->bytes);
    case SMX_WIRE_FIXED32:
        return take_bytes(rest, 4, &field->bytes);
    }
    return false;
}

bool smx_wire_next(struct smx_span *rest, struct smx_wire_field *field)
{
    struct smx_span behind = *rest;
    bool good = rest->len > 0 && take_field(&behind, field);
    if (good)
        *rest = behind;
    return good;
}

static size_t varint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

size_t smx_wire_head_size(size_t len)
{
    return 1 + varint_size(len);
}

size_t smx_wire_bytes_size(size_t len)
{
    return len > 0 ? smx_wire_head_size(len) + len : 0;
}

size_t smx_wire_number_size(uint64_t value)
{
    return value > 0 ? 1 + varint_size(value) : 0;
}

uint8_t *smx_wire_put_head(uint8_t *at, unsigned number, size_t len)
{
    *at++ = (uint8_t)(number << 3 | SMX_WIRE_BYTES);
    return put_varint(at, len);
}

uint8_t *smx_wire_put_bytes(uint8_t *at, unsigned number, struct smx_span bytes)
{
    if (bytes.len == 0)
        return at;
    at = smx_wire_put_head(at, number, bytes.len);
    memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

uint8_t *smx_wire_put_number(uint8_t *at, unsigned number, uint64_t value)
{
    if (value == 0)
        return at;
    *at++ = (uint8_t)(number << 3 | SMX_WIRE_VARINT);
    return put_varint(at, value);
}
