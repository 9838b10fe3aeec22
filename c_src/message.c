/* Owns the protobuf side of an RPC; knows nothing of calls, channels or terms. */
#include "message.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "packing.h"
#include "snakepit.pb-c.h"
#include "wire.h"

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

static struct grpc_byte_buffer *buffer_of(grpc_slice slice)
{
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static struct grpc_byte_buffer *pack(const ProtobufCMessage *message, size_t *len)
{
    *len = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(*len);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return buffer_of(slice);
}

static size_t entry_size(const struct smx_pair *entry)
{
    return smx_wire_bytes_size(entry->key.len) + smx_wire_bytes_size(entry->value.len);
}

/*
 * An ExecuteRequest, or a SessionRequest: the same behind the session. By hand, straight from what is borrowed into the
 * slice: protobuf-c wants a structure for each entry, and a NUL behind each string.
 */
static struct grpc_byte_buffer *pack_execute(bool in_session, const struct smx_message *message, size_t *len)
{
    const struct smx_pairs args = message->args;
    uint64_t timeout_ms = (uint64_t)message->timeout_ms;
    struct smx_span session = in_session ? message->session : (struct smx_span){0};
    unsigned before = in_session ? 1 : 0;
    *len = smx_wire_bytes_size(session.len) + smx_wire_bytes_size(message->command.len) +
           smx_wire_number_size(timeout_ms) + smx_wire_bytes_size(message->request_id.len);
    for (size_t i = 0; i < args.count; i++) {
        size_t size = entry_size(&args.items[i]);
        *len += smx_wire_head_size(size) + size;
    }
    struct smx_packing packing;
    smx_packing_init(&packing, message, *len);
    uint8_t *at = smx_wire_put_bytes(GRPC_SLICE_START_PTR(packing.own), 1, session);
    at = smx_wire_put_bytes(at, before + 1, message->command);
    for (size_t i = 0; i < args.count; i++) {
        at = smx_wire_put_head(at, before + 2, entry_size(&args.items[i]));
        at = smx_wire_put_bytes(at, 1, args.items[i].key);
        at = smx_packing_put(&packing, at, 2, args.items[i].value);
    }
    at = smx_wire_put_number(at, before + 3, timeout_ms);
    at = smx_wire_put_bytes(at, before + 4, message->request_id);
    return smx_packing_end(&packing, at);
}

struct grpc_byte_buffer *smx_message_pack(enum smx_method method, const struct smx_message *message, size_t *len)
{
    switch (method) {
    case SMX_METHOD_EXECUTE:
    case SMX_METHOD_EXECUTE_STREAM:
        return pack_execute(false, message, len);
    case SMX_METHOD_EXECUTE_IN_SESSION:
    case SMX_METHOD_EXECUTE_IN_SESSION_STREAM:
        return pack_execute(true, message, len);
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

/* ---- ExecuteResponse and StreamResponse: in place ---- */

/* Where pairs may begin behind so many bytes. */
static size_t pairs_place(size_t len)
{
    return (len + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
}

enum { USUAL_VALUES = 4 }; /* with room for them from the beginning */

/* Both say the same by the same numbers, but for the first one: success, is_final. */
enum { FIRST = 1, VALUES = 2, ERROR = 3, TIMESTAMP = 4, REQUEST_ID = 5 };

static bool is_answer(enum smx_method method)
{
    return method < SMX_METHOD_HEALTH;
}

static bool read_entry(struct smx_span rest, struct smx_pair *entry)
{
    struct smx_wire_field field;
    *entry = (struct smx_pair){0};
    while (smx_wire_next(&rest, &field)) {
        if (field.number > 2)
            continue;
        if (field.type != SMX_WIRE_BYTES)
            return false;
        *(field.number == 1 ? &entry->key : &entry->value) = field.bytes;
    }
    return rest.len == 0;
}

/* Entries of the map; false when the message can't be read. */
static bool count_values(struct smx_span rest, size_t *count)
{
    struct smx_wire_field field;
    *count = 0;
    while (smx_wire_next(&rest, &field)) {
        bool number = field.number == FIRST || field.number == TIMESTAMP;
        if (field.number <= REQUEST_ID && field.type != (number ? SMX_WIRE_VARINT : SMX_WIRE_BYTES))
            return false;
        *count += field.number == VALUES;
    }
    return rest.len == 0;
}

/* Takes the bytes: the spans of the reply point into them, and its pairs follow them in the same block. */
static bool read_answer(enum smx_method method, struct smx_buffer *bytes, size_t max_memory, struct smx_reply *reply)
{
    size_t count;
    if (!count_values(smx_buffer_span(bytes), &count))
        return false;
    size_t place = pairs_place(bytes->len);
    reply->size = place + count * sizeof(struct smx_pair);
    if (reply->size > max_memory)
        return false;
    if (reply->size > bytes->cap)
        bytes->data = smx_realloc(bytes->data, reply->size);
    struct smx_pair *pairs = (struct smx_pair *)(void *)(bytes->data + place);
    struct smx_wire_field field;
    struct smx_span rest = smx_buffer_span(bytes);
    reply->block = bytes->data;
    *bytes = (struct smx_buffer){0};
    reply->values = (struct smx_pairs){pairs, count};
    while (smx_wire_next(&rest, &field)) {
        if (field.number == FIRST)
            reply->success = reply->is_final = field.value != 0;
        else if (field.number == VALUES && !read_entry(field.bytes, pairs++))
            return false;
        else if (field.number == ERROR)
            reply->error = field.bytes;
        else if (field.number == TIMESTAMP)
            reply->timestamp = (int64_t)field.value;
        else if (field.number == REQUEST_ID)
            reply->request_id = field.bytes;
    }
    if (smx_method_is_stream(method))
        reply->success = reply->error.len == 0;
    else
        reply->is_final = false;
    return true;
}

/* ---- HealthResponse and InfoResponse: by protobuf-c ---- */

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
    reply->block = pairs;
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
                             "raise it, or send smaller messages, as a stream",
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

static bool unpack(enum smx_method method, struct smx_span bytes, size_t max_memory, struct smx_reply *reply)
{
    bool health = method == SMX_METHOD_HEALTH;
    struct budget budget = {.max = max_memory};
    ProtobufCAllocator allocator = {allocate, release, &budget};
    reply->unpacked = protobuf_c_message_unpack(health ? &snakepit__health_response__descriptor
                                                       : &snakepit__info_response__descriptor,
                                                &allocator, bytes.len, bytes.data);
    reply->size = budget.used;
    if (reply->unpacked && health)
        read_health(reply->unpacked, reply);
    else if (reply->unpacked)
        read_info(reply->unpacked, reply);
    return reply->unpacked != NULL;
}

/* A copy in one piece, with room for a few pairs behind it: a slice of gRPC's may be a small part of a large block. */
static bool copy_of(struct grpc_byte_buffer *buffer, struct smx_buffer *bytes)
{
    grpc_byte_buffer_reader reader;
    grpc_slice *slice;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return false;
    bytes->cap = pairs_place(grpc_byte_buffer_length(buffer)) + USUAL_VALUES * sizeof(struct smx_pair);
    bytes->data = smx_realloc(NULL, bytes->cap);
    while (grpc_byte_buffer_reader_peek(&reader, &slice))
        smx_buffer_append(bytes, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

bool smx_message_read(enum smx_method method, struct grpc_byte_buffer *buffer, size_t max_message,
                      struct smx_reply *reply, struct smx_error *why)
{
    *reply = (struct smx_reply){0};
    struct smx_buffer bytes = {0};
    if (!copy_of(buffer, &bytes))
        return smx_error_set(why, SMX_INTERNAL, "decode", "the worker's message can't be read");
    bool ok = true;
    if (buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
        struct smx_buffer inflated = {0};
        ok = inflate_message(smx_buffer_span(&bytes), max_message, &inflated, why);
        smx_buffer_fini(&bytes);
        bytes = inflated;
    }
    size_t max_memory = MEMORY_FACTOR * max_message;
    if (ok && !(is_answer(method) ? read_answer(method, &bytes, max_memory, reply)
                                  : unpack(method, smx_buffer_span(&bytes), max_memory, reply)))
        ok = smx_error_set(why, SMX_INTERNAL, "decode", "the worker's answer to %s is not the message it should be",
                           smx_method_path(method));
    smx_buffer_fini(&bytes);
    if (!ok)
        smx_reply_fini(reply);
    return ok;
}

void smx_reply_fini(struct smx_reply *reply)
{
    if (reply->unpacked)
        protobuf_c_message_free_unpacked(reply->unpacked, NULL);
    free(reply->block);
    *reply = (struct smx_reply){0};
}
