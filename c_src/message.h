/* The messages of snakepit.SnakepitBridge: built as gRPC byte buffers, and read from them. */
#ifndef SMX_MESSAGE_H
#define SMX_MESSAGE_H

#include "protocol.h"

struct grpc_byte_buffer;

enum smx_method {
    SMX_METHOD_EXECUTE,
    SMX_METHOD_EXECUTE_STREAM,
    SMX_METHOD_EXECUTE_IN_SESSION,
    SMX_METHOD_EXECUTE_IN_SESSION_STREAM,
    SMX_METHOD_HEALTH,
    SMX_METHOD_GET_INFO,
};

/* "/snakepit.SnakepitBridge/…"; static. */
const char *smx_method_path(enum smx_method method);
bool smx_method_is_stream(enum smx_method method);

/* What a request says; each method uses what it knows of. Borrowed. */
struct smx_message {
    struct smx_span session;
    struct smx_span command;
    struct smx_pairs args;
    int32_t timeout_ms;
    struct smx_span request_id;
    struct smx_buffer *memory; /* where large args are, to be taken instead of copied; NULL: nowhere */
};

/* The caller's, for smx_call_start or smx_message_free. `len`: its size in bytes. */
struct grpc_byte_buffer *smx_message_pack(enum smx_method method, const struct smx_message *message, size_t *len);
void smx_message_free(struct grpc_byte_buffer *buffer);

/* An answer, read. ExecuteResponse and StreamResponse use the first block, the others the rest. Owns its memory. */
struct smx_reply {
    bool success;
    bool is_final;
    struct smx_pairs values;
    struct smx_span error;
    int64_t timestamp;
    struct smx_span request_id;

    bool healthy;
    struct smx_span worker_id;
    int64_t uptime_ms;
    int64_t total_requests;
    int64_t total_errors;
    struct smx_span version;

    struct smx_span worker_type;
    struct smx_list commands;
    struct smx_pairs capabilities;
    struct smx_pairs system_info;
    bool has_stats;
    int64_t requests_handled;
    int64_t requests_failed;
    int64_t memory_usage_bytes;
    double cpu_usage_percent;
    int64_t active_sessions;

    size_t size;    /* bytes of memory */
    void *block;    /* the bytes that the spans point into, arrays */
    void *unpacked; /* or the protobuf-c message that they point into */
};

/*
 * Reads the answer of `method`. A compressed one is inflated, to at most `max_message` bytes, and the memory for its
 * parts is bounded too. False with `why` set
 * (internal, reason `decode`, or resource_exhausted, reason `too_large`) when it can't be read.
 */
bool smx_message_read(enum smx_method method, struct grpc_byte_buffer *buffer, size_t max_message,
                      struct smx_reply *reply, struct smx_error *why);
void smx_reply_fini(struct smx_reply *reply);

#endif
