/* Owns the protobuf side of an RPC; knows nothing of calls, channels or terms. */
#include "message.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "snakepit.pb-c.h"

static const struct {
    const char *path;
    bool stream;
} methods[] = {
    [SMX_METHOD_EXECUTE] = {"/snakepit.SnakepitBridge/Execute", false},
    [SMX_METHOD_EXECUTE_STREAM] = {"/snakepit.SnakepitBridge/ExecuteStream", true},
    [SMX_METHOD_EXECUTE_IN_SESSION] = {"/snakepit.SnakepitBridge/ExecuteInSession", false},
    [SMX_METHOD_EXECUTE_IN_SESSION_STREAM] = {"/snakepit.SnakepitBridge/ExecuteInSessionStream", true},
    [SMX_METHOD_HEALTH] = {"/snakepit.SnakepitBridge/Health", false},
    [SMX_METHOD_GET_INFO] = {"/snakepit.SnakepitBridge/GetInfo", false},
};

const char *smx_method_path(enum smx_method method)
{
    return methods[method].path;
}

bool smx_method_is_stream(enum smx_method method)
{
    return methods[method].stream;
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

/* protobuf-c wants strings that end at a NUL; `at` moves behind the copy. */
static char *string_of(struct smx_span span, char **at)
{
    char *string = *at;
    if (span.len > 0)
        memcpy(string, span.data, span.len);
    string[span.len] = 0;
    *at += span.len + 1;
    return string;
}

struct args {
    Snakepit__ExecuteRequest__ArgsEntry *entries;
    Snakepit__ExecuteRequest__ArgsEntry **list;
    char *strings;
};

/* One block for the map's entries, the list of pointers to them and all strings of the message. */
static struct args args_of(const struct smx_message *message, void **block)
{
    size_t count = message->args.count;
    size_t strings = message->session.len + message->command.len + message->request_id.len + 3;
    for (size_t i = 0; i < count; i++)
        strings += message->args.items[i].key.len + 1;
    struct args args;
    *block = smx_alloc(count * (sizeof(Snakepit__ExecuteRequest__ArgsEntry) + sizeof(void *)) + strings);
    args.entries = *block;
    args.list = (void *)(args.entries + count);
    args.strings = (char *)(args.list + count);
    for (size_t i = 0; i < count; i++) {
        const struct smx_pair *pair = &message->args.items[i];
        args.entries[i] = (Snakepit__ExecuteRequest__ArgsEntry)SNAKEPIT__EXECUTE_REQUEST__ARGS_ENTRY__INIT;
        args.entries[i].key = string_of(pair->key, &args.strings);
        args.entries[i].value.len = pair->value.len;
        args.entries[i].value.data = (uint8_t *)pair->value.data;
        args.list[i] = &args.entries[i];
    }
    return args;
}

static struct grpc_byte_buffer *pack_execute(const struct smx_message *message, size_t *len)
{
    void *block;
    struct args args = args_of(message, &block);
    Snakepit__ExecuteRequest request = SNAKEPIT__EXECUTE_REQUEST__INIT;
    request.command = string_of(message->command, &args.strings);
    request.n_args = message->args.count;
    request.args = args.list;
    request.timeout_ms = message->timeout_ms;
    request.request_id = string_of(message->request_id, &args.strings);
    struct grpc_byte_buffer *buffer = pack(&request.base, len);
    free(block);
    return buffer;
}

static struct grpc_byte_buffer *pack_session(const struct smx_message *message, size_t *len)
{
    void *block;
    struct args args = args_of(message, &block);
    Snakepit__SessionRequest request = SNAKEPIT__SESSION_REQUEST__INIT;
    request.session_id = string_of(message->session, &args.strings);
    request.command = string_of(message->command, &args.strings);
    request.n_args = message->args.count;
    /* Two entry types of the same layout: protoc-c makes one for each map field, both {string 1, bytes 2}. */
    _Static_assert(sizeof(Snakepit__SessionRequest__ArgsEntry) == sizeof(Snakepit__ExecuteRequest__ArgsEntry),
                   "map entries differ");
    request.args = (Snakepit__SessionRequest__ArgsEntry **)args.list;
    for (size_t i = 0; i < message->args.count; i++)
        request.args[i]->base.descriptor = &snakepit__session_request__args_entry__descriptor;
    request.timeout_ms = message->timeout_ms;
    request.request_id = string_of(message->request_id, &args.strings);
    struct grpc_byte_buffer *buffer = pack(&request.base, len);
    free(block);
    return buffer;
}

struct grpc_byte_buffer *smx_message_pack(enum smx_method method, const struct smx_message *message, size_t *len)
{
    switch (method) {
    case SMX_METHOD_EXECUTE:
    case SMX_METHOD_EXECUTE_STREAM:
        return pack_execute(message, len);
    case SMX_METHOD_EXECUTE_IN_SESSION:
    case SMX_METHOD_EXECUTE_IN_SESSION_STREAM:
        return pack_session(message, len);
    case SMX_METHOD_HEALTH: {
        Snakepit__HealthRequest request = SNAKEPIT__HEALTH_REQUEST__INIT;
        return pack(&request.base, len);
    }
    case SMX_METHOD_GET_INFO: {
        Snakepit__InfoRequest request = SNAKEPIT__INFO_REQUEST__INIT;
        request.include_capabilities = 1;
        request.include_stats = 1;
        return pack(&request.base, len);
    }
    }
    smx_abort("unknown method %d", (int)method);
}

void smx_message_free(struct grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_destroy(buffer);
}

/* A map<string, bytes> of protobuf-c -> pairs; all its entry types share this layout. */
static void read_bytes_map(void *entries, size_t count, struct smx_reply *reply)
{
    Snakepit__ExecuteResponse__ResultEntry **list = entries;
    struct smx_pair *pairs = smx_alloc(count * sizeof(*pairs));
    for (size_t i = 0; i < count; i++) {
        pairs[i].key = smx_span_of(list[i]->key);
        pairs[i].value = (struct smx_span){list[i]->value.data, list[i]->value.len};
    }
    reply->arrays = pairs;
    reply->values = (struct smx_pairs){pairs, count};
}

static void read_execute(const Snakepit__ExecuteResponse *from, struct smx_reply *reply)
{
    reply->success = from->success;
    reply->error = smx_span_of(from->error);
    reply->timestamp = from->timestamp;
    reply->request_id = smx_span_of(from->request_id);
    read_bytes_map(from->result, from->n_result, reply);
}

static void read_stream(const Snakepit__StreamResponse *from, struct smx_reply *reply)
{
    reply->success = from->error[0] == 0;
    reply->is_final = from->is_final;
    reply->error = smx_span_of(from->error);
    reply->timestamp = from->timestamp;
    reply->request_id = smx_span_of(from->request_id);
    read_bytes_map(from->chunk, from->n_chunk, reply);
}

static void read_health(const Snakepit__HealthResponse *from, struct smx_reply *reply)
{
    reply->healthy = from->healthy;
    reply->worker_id = smx_span_of(from->worker_id);
    reply->uptime_ms = from->uptime_ms;
    reply->total_requests = from->total_requests;
    reply->total_errors = from->total_errors;
    reply->version = smx_span_of(from->version);
}

static void read_info(const Snakepit__InfoResponse *from, struct smx_reply *reply)
{
    reply->worker_type = smx_span_of(from->worker_type);
    reply->version = smx_span_of(from->version);
    struct smx_pair *pairs = smx_alloc((from->n_capabilities + from->n_system_info) * sizeof(struct smx_pair) +
                                       from->n_supported_commands * sizeof(struct smx_span));
    reply->arrays = pairs;
    reply->capabilities = (struct smx_pairs){pairs, from->n_capabilities};
    for (size_t i = 0; i < from->n_capabilities; i++)
        *pairs++ =
            (struct smx_pair){smx_span_of(from->capabilities[i]->key), smx_span_of(from->capabilities[i]->value)};
    reply->system_info = (struct smx_pairs){pairs, from->n_system_info};
    for (size_t i = 0; i < from->n_system_info; i++)
        *pairs++ = (struct smx_pair){smx_span_of(from->system_info[i]->key), smx_span_of(from->system_info[i]->value)};
    struct smx_span *commands = (struct smx_span *)pairs;
    reply->commands = (struct smx_list){commands, from->n_supported_commands};
    for (size_t i = 0; i < from->n_supported_commands; i++)
        commands[i] = smx_span_of(from->supported_commands[i]);
    if (!from->stats)
        return;
    reply->has_stats = true;
    reply->requests_handled = from->stats->requests_handled;
    reply->requests_failed = from->stats->requests_failed;
    reply->uptime_ms = from->stats->uptime_ms;
    reply->memory_usage_bytes = from->stats->memory_usage_bytes;
    reply->cpu_usage_percent = from->stats->cpu_usage_percent;
    reply->active_sessions = from->stats->active_sessions;
}

/* gRPC's own decompression knows no bound (a gzip bomb passes max_receive_message_length): it is off, this is ours. */
static bool inflate_message(struct smx_span in, size_t max, struct smx_buffer *out, struct smx_error *why)
{
    z_stream stream = {.next_in = (uint8_t *)in.data, .avail_in = (unsigned)in.len};
    if (inflateInit2(&stream, 15 + 32) != Z_OK)
        smx_abort("zlib can't start");
    int state = Z_OK;
    while (state == Z_OK && out->len <= max) {
        stream.next_out = smx_buffer_reserve(out, 65536);
        stream.avail_out = 65536;
        state = inflate(&stream, Z_NO_FLUSH);
        out->len += 65536 - stream.avail_out;
    }
    inflateEnd(&stream);
    if (out->len > max)
        return smx_error_set(why, SMX_RESOURCE_EXHAUSTED, "too_large",
                             "the worker's compressed message inflates to more than max_message (%zu bytes): "
                             "send it as a stream of chunks, or raise --max-message",
                             max);
    if (state != Z_STREAM_END)
        return smx_error_set(why, SMX_INTERNAL, "decode", "the worker's compressed message can't be inflated");
    return true;
}

/* A map entry of two bytes on the wire takes a hundred in memory: what one message may take is bounded. */
enum { MEMORY_FACTOR = 4 };

struct budget {
    size_t used;
    size_t max;
};

static void *allocate(void *data, size_t size)
{
    struct budget *budget = data;
    budget->used += size + 16; /* malloc's own part */
    return budget->used > budget->max ? NULL : malloc(size);
}

static void release(void *data, void *memory)
{
    (void)data;
    free(memory);
}

static bool unpack(enum smx_method method, struct smx_span bytes, size_t max_message, struct smx_reply *reply)
{
    const ProtobufCMessageDescriptor *type = NULL;
    switch (method) {
    case SMX_METHOD_EXECUTE:
    case SMX_METHOD_EXECUTE_IN_SESSION:
        type = &snakepit__execute_response__descriptor;
        break;
    case SMX_METHOD_EXECUTE_STREAM:
    case SMX_METHOD_EXECUTE_IN_SESSION_STREAM:
        type = &snakepit__stream_response__descriptor;
        break;
    case SMX_METHOD_HEALTH:
        type = &snakepit__health_response__descriptor;
        break;
    case SMX_METHOD_GET_INFO:
        type = &snakepit__info_response__descriptor;
        break;
    }
    struct budget budget = {.max = MEMORY_FACTOR * max_message};
    ProtobufCAllocator allocator = {allocate, release, &budget};
    reply->unpacked = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data);
    reply->size = budget.used;
    if (!reply->unpacked)
        return false;
    if (type == &snakepit__execute_response__descriptor)
        read_execute(reply->unpacked, reply);
    else if (type == &snakepit__stream_response__descriptor)
        read_stream(reply->unpacked, reply);
    else if (type == &snakepit__health_response__descriptor)
        read_health(reply->unpacked, reply);
    else
        read_info(reply->unpacked, reply);
    return true;
}

bool smx_message_read(enum smx_method method, struct grpc_byte_buffer *buffer, size_t max_message,
                      struct smx_reply *reply, struct smx_error *why)
{
    *reply = (struct smx_reply){0};
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return smx_error_set(why, SMX_INTERNAL, "decode", "the worker's message can't be read");
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    struct smx_span bytes = {GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)};
    struct smx_buffer inflated = {0};
    bool ok = true;
    if (buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
        ok = inflate_message(bytes, max_message, &inflated, why);
        bytes = smx_buffer_span(&inflated);
    }
    if (ok && !unpack(method, bytes, max_message, reply))
        ok = smx_error_set(why, SMX_INTERNAL, "decode", "the worker's answer to %s is not the message it should be",
                           smx_method_path(method));
    smx_buffer_fini(&inflated);
    grpc_slice_unref(slice);
    return ok;
}

void smx_reply_fini(struct smx_reply *reply)
{
    if (reply->unpacked)
        protobuf_c_message_free_unpacked(reply->unpacked, NULL);
    free(reply->arrays);
    *reply = (struct smx_reply){0};
}
