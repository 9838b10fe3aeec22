/* What the worker says: requests in, responses out, as byte buffers. */
#ifndef ANSWER_H
#define ANSWER_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <stdbool.h>
#include <stdint.h>

/* The codecs that GetInfo announces; empty: none, like a worker of the first generation. */
extern const char *answer_codecs;

/* The uptime begins. */
void answer_start(void);

/* The returned buffers are the caller's. NULL: the request can't be read. */
grpc_byte_buffer *answer_execute(grpc_byte_buffer *request);
grpc_byte_buffer *answer_health(grpc_byte_buffer *request);
grpc_byte_buffer *answer_info(grpc_byte_buffer *request);

/* A stream of equal chunks #{data => a JSON string of `size` bytes}. */
struct chunks {
    uint64_t left;
    uint32_t index;
    bool endless; /* after the last one the stream stays open, silent */
    grpc_slice head;
    grpc_slice value;
};

/* Commands `chunks` and `hold` with the arguments `count` and `size`, decimal. False: the request is another one. */
bool chunks_init(struct chunks *chunks, grpc_byte_buffer *request);
void chunks_fini(struct chunks *chunks);
/* The next message, the caller's; there must be one left. */
grpc_byte_buffer *chunks_next(struct chunks *chunks);

#endif
