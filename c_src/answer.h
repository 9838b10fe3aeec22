/* The messages of snakepit.SnakepitBridge as a server sees them: requests read, answers built. */
#ifndef SMX_ANSWER_H
#define SMX_ANSWER_H

#include "message.h"

/* A request, read. Owns its memory. */
struct smx_asked {
    struct smx_message message; /* its spans point into what was unpacked */
    void *unpacked;             /* the protobuf-c message */
    void *arrays;
};

/* EXECUTE or EXECUTE_IN_SESSION. False when it is not that message. */
bool smx_asked_read(enum smx_method method, struct grpc_byte_buffer *buffer, struct smx_asked *asked);
void smx_asked_fini(struct smx_asked *asked);

/* The answer of `method` as a message of gRPC, the caller's. Of the reply each method uses what it has. */
struct grpc_byte_buffer *smx_answer_pack(enum smx_method method, const struct smx_reply *reply, size_t *len);

#endif
