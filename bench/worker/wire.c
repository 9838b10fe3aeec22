/* Owns the protobuf encoding; knows no message. */
#include "wire.h"

#include <string.h>

static bool take_varint(struct wire_reader *reader, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

bool wire_next(struct wire_reader *reader, struct wire_field *field)
{
    uint64_t key;
    field->start = reader->at;
    if (!take_varint(reader, &key) || key >> 3 > UINT32_MAX)
        return false;
    field->number = (uint32_t)(key >> 3);
    field->type = (enum wire_type)(key & 7);
    if (field->type == WIRE_VARINT)
        return take_varint(reader, &field->value);
    if (field->type == WIRE_FIXED64)
        field->len = 8;
    else if (field->type != WIRE_BYTES || !take_varint(reader, &field->value))
        return false;
    else
        field->len = field->value;
    if (field->len > (size_t)(reader->end - reader->at))
        return false;
    field->data = reader->at;
    reader->at += field->len;
    return true;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

uint8_t *wire_put_varint(uint8_t *at, uint32_t number, uint64_t value)
{
    return put_varint(put_varint(at, (uint64_t)number << 3 | WIRE_VARINT), value);
}

uint8_t *wire_put_head(uint8_t *at, uint32_t number, size_t len)
{
    return put_varint(put_varint(at, (uint64_t)number << 3 | WIRE_BYTES), len);
}

uint8_t *wire_put_bytes(uint8_t *at, uint32_t number, const void *data, size_t len)
{
    at = wire_put_head(at, number, len);
    if (len > 0)
        memcpy(at, data, len);
    return at + len;
}

size_t wire_head_len(uint32_t number, size_t len)
{
    uint8_t head[WIRE_MAX_HEAD];
    return (size_t)(wire_put_head(head, number, len) - head);
}
