/* Owns the bytes of requests; must not know calls or channels. */
#include "request.h"

#include "snakepit.pb-c.h"
#include "util.h"

#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FOREVER = 1000000000,
    VALUE_HEAD = 5,     /* bytes beside the payload */
    BYTES_FROM = 65536, /* what is that large is bytes, not text, where the codec knows the difference */
};

static void put_number(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Each writes a value to `at`, which has room for `size` + VALUE_HEAD bytes and no less than 16; returns its length. */
static size_t put_text(enum request_codec codec, uint8_t *at, size_t size)
{
    if (codec == REQUEST_JSON) {
        size_t len = size < 2 ? 2 : size; /* as long as the payload, quotes included */
        memset(at, 'x', len);
        at[0] = at[len - 1] = '"';
        return len;
    }
    at[0] = size < BYTES_FROM ? 0xDB : 0xC6;
    put_number(at + 1, (uint32_t)size);
    memset(at + VALUE_HEAD, 'x', size);
    return size + VALUE_HEAD;
}

static size_t put_integer(enum request_codec codec, uint8_t *at, uint32_t number)
{
    if (codec == REQUEST_JSON)
        return (size_t)snprintf((char *)at, 16, "%u", number);
    at[0] = 0xCE;
    put_number(at + 1, number);
    return VALUE_HEAD;
}

void request_init(struct request *request, enum request_codec codec, bool streaming, size_t size)
{
    *request = (struct request){.codec = codec, .streaming = streaming};
    request->values[0] = smx_alloc((streaming ? 0 : size) + 16);
    request->values[1] = smx_alloc(16);
    request->lengths[0] =
        streaming ? put_integer(codec, request->values[0], FOREVER) : put_text(codec, request->values[0], size);
    request->lengths[1] = put_integer(codec, request->values[1], (uint32_t)size);
}

void request_fini(struct request *request)
{
    free(request->values[0]);
    free(request->values[1]);
}

grpc_byte_buffer *request_pack(const struct request *request)
{
    Snakepit__ExecuteRequest message = SNAKEPIT__EXECUTE_REQUEST__INIT;
    Snakepit__ExecuteRequest__ArgsEntry entries[2] = {SNAKEPIT__EXECUTE_REQUEST__ARGS_ENTRY__INIT,
                                                      SNAKEPIT__EXECUTE_REQUEST__ARGS_ENTRY__INIT};
    Snakepit__ExecuteRequest__ArgsEntry *args[2] = {&entries[0], &entries[1]};
    entries[0].key = request->streaming ? "count" : "data";
    entries[1].key = "size";
    for (int i = 0; i < 2; i++)
        entries[i].value = (ProtobufCBinaryData){request->lengths[i], request->values[i]};
    message.command = request->streaming ? "chunks" : "echo";
    message.n_args = request->streaming ? 2 : 1;
    message.args = args;
    message.request_id = "0123456789abcdef";
    grpc_slice slice = grpc_slice_malloc(snakepit__execute_request__get_packed_size(&message));
    snakepit__execute_request__pack(&message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

size_t request_metadata(const struct request *request, grpc_metadata *metadata)
{
    if (request->codec == REQUEST_JSON)
        return 0;
    *metadata = (grpc_metadata){.key = grpc_slice_from_static_string("snakemux-codec"),
                                .value = grpc_slice_from_static_string("msgpack")};
    return 1;
}
