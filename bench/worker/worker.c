/*
 * A SnakepitBridge worker that costs as little as gRPC core allows, so that it is not what the benchmark measures.
 * Owns the server, its one completion queue and the calls; what is said in them is in answer.c.
 */
#include "answer.h"

#include <getopt.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAITING_CALLS = 128 };

struct worker {
    grpc_server *server;
    grpc_completion_queue *queue;
};

/* One way to serve a call. `answer` is NULL for the stream of chunks, and `handle` for calls that nobody knows. */
struct method {
    struct worker *worker;
    void *handle;
    grpc_byte_buffer *(*answer)(grpc_byte_buffer *request);
};

enum step { STEP_ARRIVED, STEP_CLOSED, STEP_SENT, STEP_ENDED, STEPS };

/* The tag of a batch: points to its call. */
struct tag {
    struct call *call;
    enum step step;
};

/* One call, from the moment it is waited for until no tag of it is outstanding. */
struct call {
    struct method *method;
    struct tag tags[STEPS];
    int outstanding;
    bool closed; /* it has ended, or the client has given up */
    bool streaming;
    grpc_call *call;
    grpc_call_details details; /* of unknown methods */
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    struct chunks chunks;
    grpc_slice status_text;
    int cancelled;
};

static void start(struct call *call, enum step step, const grpc_op *ops, size_t count)
{
    if (grpc_call_start_batch(call->call, ops, count, &call->tags[step], NULL) == GRPC_CALL_OK)
        call->outstanding++;
}

static void wait_for_call(struct method *method)
{
    struct worker *worker = method->worker;
    struct call *call = gpr_zalloc(sizeof(*call));
    call->method = method;
    call->status_text = grpc_empty_slice();
    for (int step = 0; step < STEPS; step++)
        call->tags[step] = (struct tag){call, (enum step)step};
    grpc_metadata_array_init(&call->metadata);
    call->outstanding = 1;
    if (method->handle) {
        grpc_server_request_registered_call(worker->server, method->handle, &call->call, &call->deadline,
                                            &call->metadata, &call->request, worker->queue, worker->queue,
                                            &call->tags[STEP_ARRIVED]);
    } else {
        grpc_call_details_init(&call->details);
        grpc_server_request_call(worker->server, &call->call, &call->details, &call->metadata, worker->queue,
                                 worker->queue, &call->tags[STEP_ARRIVED]);
    }
}

static void call_free(struct call *call)
{
    grpc_metadata_array_destroy(&call->metadata);
    if (!call->method->handle)
        grpc_call_details_destroy(&call->details);
    if (call->request)
        grpc_byte_buffer_destroy(call->request);
    if (call->response)
        grpc_byte_buffer_destroy(call->response);
    if (call->streaming)
        chunks_fini(&call->chunks);
    if (call->call)
        grpc_call_unref(call->call);
    gpr_free(call);
}

static grpc_op end_op(struct call *call, grpc_status_code code, const char *text)
{
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    call->status_text = grpc_slice_from_static_string(text);
    op.data.send_status_from_server.status = code;
    op.data.send_status_from_server.status_details = text[0] ? &call->status_text : NULL;
    return op;
}

static grpc_op close_op(struct call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->cancelled;
    return op;
}

static grpc_op message_op(struct call *call, uint32_t flags)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .flags = flags};
    op.data.send_message.send_message = call->response;
    return op;
}

/* Everything in one batch: its completion is the end of the call. */
static void answer_unary(struct call *call)
{
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, close_op(call)};
    size_t count = 2;
    call->response = call->method->answer ? call->method->answer(call->request) : NULL;
    if (call->response)
        ops[count++] = message_op(call, 0);
    ops[count++] = call->response         ? end_op(call, GRPC_STATUS_OK, "")
                   : call->method->answer ? end_op(call, GRPC_STATUS_INTERNAL, "the request can't be read")
                                          : end_op(call, GRPC_STATUS_UNIMPLEMENTED, "not part of the benchmark");
    start(call, STEP_ENDED, ops, count);
}

static void send_chunk(struct call *call)
{
    if (call->response)
        grpc_byte_buffer_destroy(call->response);
    call->response = chunks_next(&call->chunks);
    grpc_op op = message_op(call, 0);
    start(call, STEP_SENT, &op, 1);
}

static void continue_stream(struct call *call)
{
    if (call->closed)
        return;
    if (call->chunks.left > 0) {
        send_chunk(call);
    } else if (!call->chunks.endless) {
        grpc_op op = end_op(call, GRPC_STATUS_OK, "");
        start(call, STEP_ENDED, &op, 1);
    }
}

static void answer_stream(struct call *call)
{
    call->streaming = true;
    grpc_op close = close_op(call);
    start(call, STEP_CLOSED, &close, 1);
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}};
    if (!chunks_init(&call->chunks, call->request)) {
        ops[1] = end_op(call, GRPC_STATUS_UNIMPLEMENTED, "the streams are chunks and hold {count, size}");
        start(call, STEP_ENDED, ops, 2);
    } else {
        start(call, STEP_SENT, ops, 1);
    }
}

static void advance(struct call *call, enum step step, bool success)
{
    call->outstanding--;
    switch (step) {
    case STEP_ARRIVED:
        if (!success)
            break;
        wait_for_call(call->method);
        if (call->method->answer || !call->method->handle)
            answer_unary(call);
        else
            answer_stream(call);
        break;
    case STEP_CLOSED:
        call->closed = true;
        break;
    case STEP_SENT:
        if (success)
            continue_stream(call);
        break;
    case STEP_ENDED:
    case STEPS:
        break;
    }
    if (call->outstanding == 0)
        call_free(call);
}

static int listen_on(struct worker *worker, const char *address)
{
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = "grpc.max_receive_message_length", .value.integer = -1},
        {.type = GRPC_ARG_INTEGER, .key = "grpc.so_reuseport", .value.integer = 0},
    };
    grpc_channel_args list = {sizeof(args) / sizeof(args[0]), args};
    worker->server = grpc_server_create(&list, NULL);
    worker->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(worker->server, worker->queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(worker->server, address, credentials);
    grpc_server_credentials_release(credentials);
    return port;
}

static void run(struct worker *worker, const char *address)
{
    static struct method methods[] = {
        {.answer = answer_execute}, {.answer = NULL}, {.answer = answer_health}, {.answer = answer_info}, {0},
    };
    static const char *const names[] = {
        "/snakepit.SnakepitBridge/Execute",
        "/snakepit.SnakepitBridge/ExecuteStream",
        "/snakepit.SnakepitBridge/Health",
        "/snakepit.SnakepitBridge/GetInfo",
        NULL,
    };
    int port = listen_on(worker, address);
    if (port == 0) {
        fprintf(stderr, "worker: can't listen on %s\n", address);
        exit(1);
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        methods[i].worker = worker;
        if (names[i])
            methods[i].handle = grpc_server_register_method(worker->server, names[i], NULL,
                                                            GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    }
    grpc_server_start(worker->server);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        for (int n = 0; n < (i < 2 ? WAITING_CALLS : 4); n++)
            wait_for_call(&methods[i]);
    if (strncmp(address, "unix:", 5) == 0)
        printf("GRPC_SERVER_READY_ON_ADDRESS=%s\n", address);
    else
        printf("GRPC_SERVER_READY_ON_PORT=%d\n", port);
    fflush(stdout);
    for (;;) {
        grpc_event event = grpc_completion_queue_next(worker->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        struct tag *tag = event.tag;
        if (event.type == GRPC_OP_COMPLETE)
            advance(tag->call, tag->step, event.success);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"address", required_argument, NULL, 'a'}, {"codecs", required_argument, NULL, 'c'}, {0}};
    const char *address = "127.0.0.1:0";
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'a')
            address = optarg;
        else if (option == 'c')
            answer_codecs = optarg;
        else
            return 2;
    }
    struct worker worker = {0};
    answer_start();
    grpc_init();
    run(&worker, address);
    return 0;
}
