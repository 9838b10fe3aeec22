/* The messages of snakepit.proto: requests are read, answers are written. */
#ifndef SMX_SNAKEPIT_H
#define SMX_SNAKEPIT_H

#include "util.h"

/* Which of the two messages a call has; their fields differ in number only. */
enum smx_request_kind { SMX_REQUEST_EXECUTE, SMX_REQUEST_SESSION };

/* Borrowed from the message. */
struct smx_execute_request {
    struct smx_span session;
    struct smx_span command;
    struct smx_span request_id;
    int32_t timeout_ms;
};

/* False for bytes that are not this message, text that is not UTF-8 included. Afterwards smx_next_arg is safe. */
bool smx_read_request(struct smx_span message, enum smx_request_kind kind, struct smx_execute_request *request);
/* The arguments of a message that was read; `rest` starts as the message. False when there are no more. */
bool smx_next_arg(struct smx_span *rest, enum smx_request_kind kind, struct smx_span *key, struct smx_span *value);
bool smx_read_health(struct smx_span message, struct smx_span *worker_id);
bool smx_read_info(struct smx_span message, bool *capabilities, bool *stats);

/* One field behind the others; nothing for what is empty or 0. */
void smx_put_number(struct smx_buffer *out, unsigned field, int64_t value);
void smx_put_double(struct smx_buffer *out, unsigned field, double value);
void smx_put_bytes(struct smx_buffer *out, unsigned field, struct smx_span bytes);
/* The head of an entry of a map<string, bytes>: all but its value, which must follow. */
void smx_put_entry(struct smx_buffer *out, unsigned field, struct smx_span key, size_t value_len);

#endif
