/* What the bare client asks for: requests as byte buffers, values in either codec. */
#ifndef REQUEST_H
#define REQUEST_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* JSON is what workers assume of a caller that says nothing; MessagePack is announced in the metadata. */
enum request_codec { REQUEST_JSON, REQUEST_MSGPACK };

/* One request, to be sent again and again: `echo` with a value of `size` bytes, or `chunks` of that size without end.
 */
struct request {
    enum request_codec codec;
    bool streaming;
    uint8_t *values[2];
    size_t lengths[2];
};

void request_init(struct request *request, enum request_codec codec, bool streaming, size_t size);
void request_fini(struct request *request);

/* The message, packed anew from values that are there already. The buffer is the caller's. */
grpc_byte_buffer *request_pack(const struct request *request);

/* Entries of metadata that go with it: 0, or 1 written to `metadata`, which needs no freeing. */
size_t request_metadata(const struct request *request, grpc_metadata *metadata);

#endif
