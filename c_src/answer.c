/* Owns the protobuf side of an RPC that we serve; knows nothing of calls, nor of who answers. */
#include "answer.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "snakepit.pb-c.h"

static void read_args(Snakepit__ExecuteRequest__ArgsEntry **entries, size_t count, struct smx_asked *asked)
{
    struct smx_pair *pairs = smx_alloc(count * sizeof(*pairs));
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct smx_pair){smx_span_of(entries[i]->key), {entries[i]->value.data, entries[i]->value.len}};
    asked->arrays = pairs;
    asked->message.args = (struct smx_pairs){pairs, count};
}

static void read_execute(const Snakepit__ExecuteRequest *from, struct smx_asked *asked)
{
    asked->message = (struct smx_message){.command = smx_span_of(from->command),
                                          .timeout_ms = from->timeout_ms,
                                          .request_id = smx_span_of(from->request_id)};
    read_args(from->args, from->n_args, asked);
}

static void read_session(const Snakepit__SessionRequest *from, struct smx_asked *asked)
{
    asked->message = (struct smx_message){.session = smx_span_of(from->session_id),
                                          .command = smx_span_of(from->command),
                                          .timeout_ms = from->timeout_ms,
                                          .request_id = smx_span_of(from->request_id)};
    /* Two entry types of the same layout, see message.c. */
    read_args((Snakepit__ExecuteRequest__ArgsEntry **)from->args, from->n_args, asked);
}

bool smx_asked_read(enum smx_method method, struct grpc_byte_buffer *buffer, struct smx_asked *asked)
{
    bool in_session = method == SMX_METHOD_EXECUTE_IN_SESSION;
    grpc_byte_buffer_reader reader;
    *asked = (struct smx_asked){0};
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return false;
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    asked->unpacked = protobuf_c_message_unpack(in_session ? &snakepit__session_request__descriptor
                                                           : &snakepit__execute_request__descriptor,
                                                NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
    grpc_slice_unref(slice);
    if (asked->unpacked && in_session)
        read_session(asked->unpacked, asked);
    else if (asked->unpacked)
        read_execute(asked->unpacked, asked);
    return asked->unpacked != NULL;
}

void smx_asked_fini(struct smx_asked *asked)
{
    if (asked->unpacked)
        protobuf_c_message_free_unpacked(asked->unpacked, NULL);
    free(asked->arrays);
    *asked = (struct smx_asked){0};
}

/* protobuf-c wants strings that end at a NUL; the caller's. */
static char *string_of(struct smx_span span)
{
    char *string = smx_alloc(span.len + 1);
    if (span.len > 0)
        memcpy(string, span.data, span.len);
    return string;
}

static struct grpc_byte_buffer *pack(const ProtobufCMessage *message, size_t *len)
{
    *len = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(*len);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static struct grpc_byte_buffer *pack_execute(const struct smx_reply *reply, size_t *len)
{
    size_t count = reply->values.count;
    Snakepit__ExecuteResponse__ResultEntry *entries = smx_alloc(count * sizeof(*entries));
    Snakepit__ExecuteResponse__ResultEntry **list = smx_alloc(count * sizeof(void *));
    Snakepit__ExecuteResponse response = SNAKEPIT__EXECUTE_RESPONSE__INIT;
    for (size_t i = 0; i < count; i++) {
        const struct smx_pair *pair = &reply->values.items[i];
        entries[i] = (Snakepit__ExecuteResponse__ResultEntry)SNAKEPIT__EXECUTE_RESPONSE__RESULT_ENTRY__INIT;
        entries[i].key = string_of(pair->key);
        entries[i].value.len = pair->value.len;
        entries[i].value.data = (uint8_t *)pair->value.data;
        list[i] = &entries[i];
    }
    response.success = reply->success;
    response.n_result = count;
    response.result = list;
    response.error = string_of(reply->error);
    response.timestamp = reply->timestamp;
    response.request_id = string_of(reply->request_id);
    struct grpc_byte_buffer *buffer = pack(&response.base, len);
    for (size_t i = 0; i < count; i++)
        free(entries[i].key);
    free(response.error);
    free(response.request_id);
    free(list);
    free(entries);
    return buffer;
}

static struct grpc_byte_buffer *pack_health(const struct smx_reply *reply, size_t *len)
{
    Snakepit__HealthResponse response = SNAKEPIT__HEALTH_RESPONSE__INIT;
    response.healthy = reply->healthy;
    response.uptime_ms = reply->uptime_ms;
    response.total_requests = reply->total_requests;
    response.total_errors = reply->total_errors;
    response.version = SMX_VERSION;
    return pack(&response.base, len);
}

static struct grpc_byte_buffer *pack_info(const struct smx_reply *reply, size_t *len)
{
    enum { MAX_CAPABILITIES = 8 };
    Snakepit__InfoResponse response = SNAKEPIT__INFO_RESPONSE__INIT;
    Snakepit__InfoResponse__CapabilitiesEntry entries[MAX_CAPABILITIES], *list[MAX_CAPABILITIES];
    response.worker_type = "legacy";
    response.version = SMX_VERSION;
    response.capabilities = list;
    for (size_t i = 0; i < reply->capabilities.count && i < MAX_CAPABILITIES; i++) {
        entries[i] = (Snakepit__InfoResponse__CapabilitiesEntry)SNAKEPIT__INFO_RESPONSE__CAPABILITIES_ENTRY__INIT;
        entries[i].key = string_of(reply->capabilities.items[i].key);
        entries[i].value = string_of(reply->capabilities.items[i].value);
        list[response.n_capabilities++] = &entries[i];
    }
    struct grpc_byte_buffer *buffer = pack(&response.base, len);
    for (size_t i = 0; i < response.n_capabilities; i++) {
        free(entries[i].key);
        free(entries[i].value);
    }
    return buffer;
}

struct grpc_byte_buffer *smx_answer_pack(enum smx_method method, const struct smx_reply *reply, size_t *len)
{
    if (method == SMX_METHOD_HEALTH)
        return pack_health(reply, len);
    return method == SMX_METHOD_GET_INFO ? pack_info(reply, len) : pack_execute(reply, len);
}
