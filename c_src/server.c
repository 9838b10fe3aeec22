/* Owns the server's side of RPCs, from their arrival to their status; knows nothing of what commands do. */
#include "server.h"

#include <limits.h>
#if __has_include(<grpc/credentials.h>) /* newer cores moved the credentials there */
#include <grpc/credentials.h>
#endif
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct smx_server {
    grpc_server *server;
    struct grpc_completion_queue *queue;
    size_t max_message;
    struct smx_server_events events;
};

/*
 * One RPC. It waits for up to three completions, and is freed when it has been answered, or its caller has gone, and
 * none is out: asked:  its message closed: its end, as the caller sees it; `cancelled` says which end told:   our
 * answer is out
 */
struct smx_incoming {
    struct smx_server *server;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request;
    struct smx_asked asked;
    enum smx_method method;
    struct smx_completion on_arrived, on_asked, on_closed, on_told;
    unsigned outstanding;
    bool given; /* the owner knows of it */
    bool ended; /* answered, or the caller has gone: the owner knows no longer of it */
    int cancelled;
};

static void start(struct smx_incoming *incoming, const grpc_op *ops, size_t count, struct smx_completion *completion)
{
    grpc_call_error error = grpc_call_start_batch(incoming->call, ops, count, completion, NULL);
    if (error != GRPC_CALL_OK)
        smx_abort("a batch of the server: %s", grpc_call_error_to_string(error));
    incoming->outstanding++;
}

static void release(struct smx_incoming *incoming)
{
    if (incoming->outstanding > 0)
        return;
    smx_asked_fini(&incoming->asked);
    if (incoming->request)
        grpc_byte_buffer_destroy(incoming->request);
    if (incoming->call)
        grpc_call_unref(incoming->call);
    grpc_call_details_destroy(&incoming->details);
    grpc_metadata_array_destroy(&incoming->metadata);
    free(incoming);
}

static void tell(struct smx_incoming *incoming, grpc_byte_buffer *message, grpc_status_code code, const char *text)
{
    grpc_slice details = grpc_slice_from_copied_string(text);
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
    ops[1].data.send_status_from_server.status = code;
    ops[1].data.send_status_from_server.status_details = &details;
    if (message) {
        ops[2].op = GRPC_OP_SEND_MESSAGE;
        ops[2].data.send_message.send_message = message;
    }
    incoming->ended = true;
    start(incoming, ops, message ? 3 : 2, &incoming->on_told);
    grpc_slice_unref(details);
    if (message)
        grpc_byte_buffer_destroy(message);
}

void smx_incoming_answer(struct smx_incoming *incoming, const struct smx_reply *reply)
{
    struct timespec now;
    struct smx_reply stamped = *reply;
    size_t len;
    clock_gettime(CLOCK_REALTIME, &now);
    stamped.timestamp = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    stamped.request_id = incoming->asked.message.request_id;
    grpc_byte_buffer *message = smx_answer_pack(incoming->method, &stamped, &len);
    if (len <= incoming->server->max_message) {
        tell(incoming, message, GRPC_STATUS_OK, "");
    } else {
        grpc_byte_buffer_destroy(message);
        tell(incoming, NULL, GRPC_STATUS_RESOURCE_EXHAUSTED,
             "the answer is larger than --max-message of snakemux wrap: raise it, and the caller's limit");
    }
}

void smx_incoming_refuse(struct smx_incoming *incoming, enum smx_code code, const char *text)
{
    tell(incoming, NULL, (grpc_status_code)code, text);
}

const struct smx_message *smx_incoming_message(const struct smx_incoming *incoming)
{
    return &incoming->asked.message;
}

static bool is_path(const struct smx_incoming *incoming, enum smx_method method)
{
    struct smx_span path = {GRPC_SLICE_START_PTR(incoming->details.method),
                            GRPC_SLICE_LENGTH(incoming->details.method)};
    return smx_span_is(path, smx_method_path(method));
}

static struct smx_span codec_of(const struct smx_incoming *incoming)
{
    for (size_t i = 0; i < incoming->metadata.count; i++) {
        const grpc_metadata *pair = &incoming->metadata.metadata[i];
        struct smx_span key = {GRPC_SLICE_START_PTR(pair->key), GRPC_SLICE_LENGTH(pair->key)};
        if (smx_span_is(key, "snakemux-codec"))
            return (struct smx_span){GRPC_SLICE_START_PTR(pair->value), GRPC_SLICE_LENGTH(pair->value)};
    }
    return (struct smx_span){0};
}

static void describe(struct smx_incoming *incoming)
{
    struct smx_reply reply = {0};
    const struct smx_server_events *events = &incoming->server->events;
    events->describe(events->owner, incoming->method, &reply);
    smx_incoming_answer(incoming, &reply);
}

static void on_asked(void *owner, bool ok)
{
    struct smx_incoming *incoming = owner;
    const struct smx_server_events *events = &incoming->server->events;
    incoming->outstanding--;
    if (!ok || !incoming->request || incoming->ended) {
        if (!incoming->ended)
            smx_incoming_refuse(incoming, SMX_INVALID_ARGUMENT, "there is no request");
        release(incoming);
    } else if (incoming->method == SMX_METHOD_HEALTH || incoming->method == SMX_METHOD_GET_INFO) {
        describe(incoming);
    } else if (smx_asked_read(incoming->method, incoming->request, &incoming->asked)) {
        incoming->given = true;
        events->execute(events->owner, incoming, &incoming->asked.message, codec_of(incoming));
    } else {
        smx_incoming_refuse(incoming, SMX_INVALID_ARGUMENT, "the request is not the message it should be");
    }
}

static void on_closed(void *owner, bool ok)
{
    struct smx_incoming *incoming = owner;
    (void)ok;
    incoming->outstanding--;
    if (!incoming->ended) {
        incoming->ended = true;
        if (incoming->given)
            incoming->server->events.left(incoming->server->events.owner, incoming);
    }
    release(incoming);
}

static void on_told(void *owner, bool ok)
{
    struct smx_incoming *incoming = owner;
    (void)ok;
    incoming->outstanding--;
    release(incoming);
}

/* Streams and what nobody knows: refused before anything is read. */
static bool take_method(struct smx_incoming *incoming)
{
    static const enum smx_method served[] = {SMX_METHOD_EXECUTE, SMX_METHOD_EXECUTE_IN_SESSION, SMX_METHOD_HEALTH,
                                             SMX_METHOD_GET_INFO};
    for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++) {
        incoming->method = served[i];
        if (is_path(incoming, served[i]))
            return true;
    }
    bool stream =
        is_path(incoming, SMX_METHOD_EXECUTE_STREAM) || is_path(incoming, SMX_METHOD_EXECUTE_IN_SESSION_STREAM);
    smx_incoming_refuse(incoming, SMX_UNIMPLEMENTED,
                        stream ? "a legacy stdin/stdout worker can't stream: use execute, or a gRPC worker"
                               : "snakemux wrap serves Execute, ExecuteInSession, Health and GetInfo");
    return false;
}

static void await(struct smx_server *server);

static void on_arrived(void *owner, bool ok)
{
    struct smx_incoming *incoming = owner;
    incoming->outstanding--;
    if (!ok) { /* the server stops */
        release(incoming);
        return;
    }
    await(incoming->server);
    grpc_op closed = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    closed.data.recv_close_on_server.cancelled = &incoming->cancelled;
    start(incoming, &closed, 1, &incoming->on_closed);
    if (!take_method(incoming))
        return;
    grpc_op message = {.op = GRPC_OP_RECV_MESSAGE};
    message.data.recv_message.recv_message = &incoming->request;
    start(incoming, &message, 1, &incoming->on_asked);
}

/* The next RPC. */
static void await(struct smx_server *server)
{
    struct smx_incoming *incoming = smx_alloc(sizeof(*incoming));
    incoming->server = server;
    incoming->on_arrived = (struct smx_completion){on_arrived, incoming};
    incoming->on_asked = (struct smx_completion){on_asked, incoming};
    incoming->on_closed = (struct smx_completion){on_closed, incoming};
    incoming->on_told = (struct smx_completion){on_told, incoming};
    grpc_call_details_init(&incoming->details);
    grpc_metadata_array_init(&incoming->metadata);
    if (grpc_server_request_call(server->server, &incoming->call, &incoming->details, &incoming->metadata,
                                 server->queue, server->queue, &incoming->on_arrived) == GRPC_CALL_OK)
        incoming->outstanding++;
    else
        release(incoming);
}

struct smx_server *smx_server_new(struct grpc_completion_queue *queue, const char *address, size_t max_message,
                                  struct smx_server_events events, int *port)
{
    char *const keys[] = {"grpc.max_receive_message_length", "grpc.max_send_message_length",
                          "grpc.max_metadata_size",          "grpc.so_reuseport",
                          "grpc.http2.max_ping_strikes",     "grpc.keepalive_permit_without_calls"};
    const int values[] = {(int)max_message, (int)max_message, 65536, 0, 0, 1};
    enum { COUNT = sizeof(values) / sizeof(values[0]) };
    grpc_arg items[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        items[i] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = keys[i], .value.integer = values[i]};
    const grpc_channel_args args = {COUNT, items};
    grpc_server *listening = grpc_server_create(&args, NULL);
    grpc_server_register_completion_queue(listening, queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    *port = grpc_server_add_http2_port(listening, address, credentials);
    grpc_server_credentials_release(credentials);
    struct smx_server *server = smx_alloc(sizeof(*server));
    *server = (struct smx_server){listening, queue, max_message, events};
    grpc_server_start(listening);
    if (*port > 0)
        await(server);
    return server;
}

void smx_server_stop(struct smx_server *server, struct smx_completion *done)
{
    grpc_server_shutdown_and_notify(server->server, server->queue, done);
}
