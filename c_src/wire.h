/* Protobuf on the wire: fields of a message, read in place and written. Knows no message. */
#ifndef SMX_WIRE_H
#define SMX_WIRE_H

#include "util.h"

enum smx_wire_type { SMX_WIRE_VARINT = 0, SMX_WIRE_FIXED64 = 1, SMX_WIRE_BYTES = 2, SMX_WIRE_FIXED32 = 5 };

struct smx_wire_field {
    uint32_t number;
    enum smx_wire_type type;
    uint64_t value;        /* of a varint */
    struct smx_span bytes; /* of all others; borrowed */
};

/* The next field of the message; moves `rest` behind it. False at the end, and where none can be read: `rest` is not
   empty then. */
bool smx_wire_next(struct smx_span *rest, struct smx_wire_field *field);

/* Writing: a number is below 16, and an empty field is not written, as proto3 has it. */
size_t smx_wire_head_size(size_t len);
size_t smx_wire_bytes_size(size_t len);
size_t smx_wire_number_size(uint64_t value);
/* In front of `len` bytes, even if there are none. */
uint8_t *smx_wire_put_head(uint8_t *at, unsigned number, size_t len);
uint8_t *smx_wire_put_bytes(uint8_t *at, unsigned number, struct smx_span bytes);
uint8_t *smx_wire_put_number(uint8_t *at, unsigned number, uint64_t value);

#endif
