/* What the bare client asks for: requests as byte buffers, values in either codec. */
#ifndef REQUEST_H
#define REQUEST_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

/* JSON is what workers assume of a caller that says nothing; MessagePack is announced in the metadata. */
enum request_codec { REQUEST_JSON, REQUEST_MSGPACK };

/* `echo` with a value of `size` bytes, or `chunks` of that size without end. The buffer is the caller's. */
grpc_byte_buffer *request_pack(enum request_codec codec, bool streaming, size_t size);

/* Entries of metadata that go with it: 0, or 1 written to `metadata`, which needs no freeing. */
size_t request_metadata(enum request_codec codec, grpc_metadata *metadata);

#endif
