/* The messages of snakepit.proto as bytes: requests are read, answers are written. Bounded by the bytes there are. */
#ifndef SMX_WIRE_H
#define SMX_WIRE_H

#include "util.h"

/* Which of the two messages a call has; their fields differ in number only. */
enum smx_wire_kind { SMX_WIRE_EXECUTE, SMX_WIRE_SESSION };

/* Borrowed from the message. */
struct smx_wire_request {
    struct smx_span session;
    struct smx_span command;
    struct smx_span request_id;
    int32_t timeout_ms;
};

/* False for bytes that are not this message, text that is not UTF-8 included. Afterwards smx_wire_next_arg is safe. */
bool smx_wire_read_request(struct smx_span message, enum smx_wire_kind kind, struct smx_wire_request *request);
/* The arguments of a message that was read; `*at` starts at 0. False when there are no more. */
bool smx_wire_next_arg(struct smx_span message, enum smx_wire_kind kind, size_t *at, struct smx_span *key,
                       struct smx_span *value);
bool smx_wire_read_health(struct smx_span message, struct smx_span *worker_id);
bool smx_wire_read_info(struct smx_span message, bool *capabilities, bool *stats);

void smx_wire_varint(struct smx_buffer *out, uint64_t value);
/* A field of type varint; nothing for 0, the default of all. */
void smx_wire_number(struct smx_buffer *out, unsigned field, int64_t value);
void smx_wire_double(struct smx_buffer *out, unsigned field, double value);
/* A field of bytes or text; nothing when it is empty. */
void smx_wire_bytes(struct smx_buffer *out, unsigned field, struct smx_span bytes);
/* The head of an entry of a map<string, bytes>: all but its value, which must follow. */
void smx_wire_entry(struct smx_buffer *out, unsigned field, struct smx_span key, size_t value_len);

#endif
