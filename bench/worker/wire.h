/* The fields of a protobuf message in place: no schema, no copies. Only the wire types of snakepit.proto. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

struct wire_reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* One field. `start` is where its key stands; `data` and `len` are set for WIRE_BYTES, `value` for WIRE_VARINT. */
struct wire_field {
    const uint8_t *start;
    uint32_t number;
    enum wire_type type;
    uint64_t value;
    const uint8_t *data;
    size_t len;
};

/* False at the end, and at the first byte that makes no sense. */
bool wire_next(struct wire_reader *reader, struct wire_field *field);

/* Bytes that one field takes at most, beside its payload. */
enum { WIRE_MAX_HEAD = 20 };

/* Each writes one field and returns what is behind it. */
uint8_t *wire_put_varint(uint8_t *at, uint32_t number, uint64_t value);
uint8_t *wire_put_head(uint8_t *at, uint32_t number, size_t len); /* the payload follows */
uint8_t *wire_put_bytes(uint8_t *at, uint32_t number, const void *data, size_t len);
size_t wire_head_len(uint32_t number, size_t len);

#endif
