/*
 * A bare gRPC client: C, one thread, one completion queue, protobuf-c. What it reaches is what snakemux is held
 * against. Owns the measuring; the channel arguments of --tuned are those of the port program, from its own source.
 */
#include "channel.h"
#include "latency.h"
#include "request.h"
#include "snakepit.pb-c.h"

#include <getopt.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char usage_text[] =
    "usage: bare --target TARGET... [--tuned] [--codec json|msgpack] [WORK]   without WORK: one on each line of stdin\n"
    "WORK: unary IN_FLIGHT SIZE MS [WARM_UP_MS]   echo of SIZE bytes, closed loop\n"
    "      stream STREAMS SIZE MS [WARM_UP_MS]    chunks of SIZE bytes, as fast as they come\n"
    "Prints one line for each: done N seconds S p50_us N p99_us N max_us N bytes N cpu_s S failed N\n";

enum { DEFAULT_WARM_UP_MS = 150, MAX_PEERS = 16 };

/* One connection to one worker. */
struct peer {
    grpc_channel *channel;
    void *execute;
    void *execute_stream;
};

struct client {
    grpc_completion_queue *queue;
    enum request_codec codec;
    struct peer peers[MAX_PEERS];
    size_t peer_count;
};

/* One kind of work, while it runs. */
struct work {
    struct client *client;
    bool streaming;
    size_t in_flight;
    int64_t measure_from;
    int64_t end;
    struct latency latency;
    uint64_t done;
    uint64_t bytes;
    uint64_t failed;
    size_t running;
    struct request request;
};

enum tag_kind { TAG_ALL, TAG_MESSAGE };

/* One call, used again and again. */
struct call {
    struct work *work;
    const struct peer *peer;
    grpc_call *call;
    int64_t started;
    int outstanding;
    bool measured;
    grpc_metadata metadata;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_status_code status;
    grpc_slice details;
    struct tag {
        struct call *call;
        enum tag_kind kind;
    } tags[2];
};

/* Bytes of the values in the message, -1 when it is not a good one. */
static int64_t unpack(bool streaming, grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    if (!buffer || !grpc_byte_buffer_reader_init(&reader, buffer))
        return -1;
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    int64_t len = -1;
    if (streaming) {
        Snakepit__StreamResponse *response =
            snakepit__stream_response__unpack(NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
        if (response && response->n_chunk == 1)
            len = (int64_t)response->chunk[0]->value.len;
        if (response)
            snakepit__stream_response__free_unpacked(response, NULL);
    } else {
        Snakepit__ExecuteResponse *response =
            snakepit__execute_response__unpack(NULL, GRPC_SLICE_LENGTH(slice), GRPC_SLICE_START_PTR(slice));
        if (response && response->success && response->n_result == 1)
            len = (int64_t)response->result[0]->value.len;
        if (response)
            snakepit__execute_response__free_unpacked(response, NULL);
    }
    grpc_slice_unref(slice);
    return len;
}

static void start(struct call *call, enum tag_kind kind, const grpc_op *ops, size_t count)
{
    if (grpc_call_start_batch(call->call, ops, count, &call->tags[kind], NULL) != GRPC_CALL_OK)
        smx_abort("grpc_call_start_batch");
    call->outstanding++;
}

static void receive_message(struct call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->response;
    start(call, TAG_MESSAGE, &op, 1);
}

static void call_begin(struct call *call)
{
    struct work *work = call->work;
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},  {.op = GRPC_OP_RECV_MESSAGE},
    };
    call->started = smx_now_us();
    call->measured = call->started >= work->measure_from;
    /* Packed anew for each call, as anybody would do it. */
    call->request = request_pack(&work->request);
    call->response = NULL;
    call->call = grpc_channel_create_registered_call(
        call->peer->channel, NULL, GRPC_PROPAGATE_DEFAULTS, work->client->queue,
        work->streaming ? call->peer->execute_stream : call->peer->execute,
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(60, GPR_TIMESPAN)), NULL);
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    ops[0].data.send_initial_metadata.count = request_metadata(&work->request, &call->metadata);
    ops[0].data.send_initial_metadata.metadata = &call->metadata;
    ops[1].data.send_message.send_message = call->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[4].data.recv_status_on_client.status = &call->status;
    ops[4].data.recv_status_on_client.status_details = &call->details;
    ops[5].data.recv_message.recv_message = &call->response;
    work->running++;
    start(call, TAG_ALL, ops, work->streaming ? 5 : 6);
    if (work->streaming)
        receive_message(call);
}

static void call_fail(struct call *call)
{
    if (call->work->failed++ == 0)
        fprintf(stderr, "bare: status %d%s: %.*s\n", call->status,
                call->status == GRPC_STATUS_OK ? ", but not the answer that was expected" : "",
                (int)GRPC_SLICE_LENGTH(call->details), (const char *)GRPC_SLICE_START_PTR(call->details));
}

static void call_end(struct call *call)
{
    struct work *work = call->work;
    int64_t now = smx_now_us();
    int64_t len = work->streaming ? 0 : unpack(false, call->response);
    if (work->streaming ? call->status != GRPC_STATUS_CANCELLED : call->status != GRPC_STATUS_OK || len < 0)
        call_fail(call);
    if (!work->streaming && call->measured && now <= work->end) {
        work->done++;
        work->bytes += (uint64_t)(len > 0 ? len : 0);
        latency_add(&work->latency, (uint64_t)(now - call->started));
    }
    if (call->response)
        grpc_byte_buffer_destroy(call->response);
    grpc_byte_buffer_destroy(call->request);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->call);
    work->running--;
    if (now < work->end && work->failed == 0)
        call_begin(call);
}

static void take_chunk(struct call *call)
{
    struct work *work = call->work;
    if (!call->response)
        return; /* the stream has ended */
    int64_t len = unpack(true, call->response);
    grpc_byte_buffer_destroy(call->response);
    call->response = NULL;
    int64_t now = smx_now_us();
    if (len < 0)
        work->failed++;
    if (now >= work->measure_from && now <= work->end) {
        work->done++;
        work->bytes += (uint64_t)(len > 0 ? len : 0);
    }
    if (now > work->end)
        grpc_call_cancel(call->call, NULL);
    receive_message(call);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void drive(struct work *work)
{
    struct call *calls = smx_alloc(work->in_flight * sizeof(*calls));
    double cpu = 0, cpu_end = 0;
    for (size_t i = 0; i < work->in_flight; i++) {
        calls[i].work = work;
        calls[i].peer = &work->client->peers[i % work->client->peer_count];
        calls[i].tags[TAG_ALL] = (struct tag){&calls[i], TAG_ALL};
        calls[i].tags[TAG_MESSAGE] = (struct tag){&calls[i], TAG_MESSAGE};
        call_begin(&calls[i]);
    }
    while (work->running > 0) {
        grpc_event event = grpc_completion_queue_next(work->client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        struct tag *tag = event.tag;
        int64_t now = smx_now_us();
        if (cpu == 0 && now >= work->measure_from)
            cpu = cpu_seconds();
        if (cpu_end == 0 && now >= work->end)
            cpu_end = cpu_seconds();
        tag->call->outstanding--;
        if (tag->kind == TAG_MESSAGE && event.success)
            take_chunk(tag->call);
        if (tag->call->outstanding == 0)
            call_end(tag->call);
    }
    latency_finish(&work->latency);
    printf("done %llu seconds %.6f p50_us %llu p99_us %llu max_us %llu bytes %llu cpu_s %.6f failed %llu\n",
           (unsigned long long)work->done, (double)(work->end - work->measure_from) / 1e6,
           (unsigned long long)latency_at(&work->latency, 0.5), (unsigned long long)latency_at(&work->latency, 0.99),
           (unsigned long long)latency_at(&work->latency, 1.0), (unsigned long long)work->bytes, cpu_end - cpu,
           (unsigned long long)work->failed);
    fflush(stdout);
    latency_fini(&work->latency);
    free(calls);
}

static bool do_work(struct client *client, const char *text)
{
    char what[16];
    unsigned in_flight, size, ms, warm_up_ms = DEFAULT_WARM_UP_MS;
    if (sscanf(text, "%15s %u %u %u %u", what, &in_flight, &size, &ms, &warm_up_ms) < 4 || in_flight == 0 || ms == 0 ||
        (strcmp(what, "unary") != 0 && strcmp(what, "stream") != 0)) {
        fputs(usage_text, stderr);
        return false;
    }
    struct work work = {
        .client = client,
        .streaming = what[0] == 's',
        .in_flight = in_flight,
        .measure_from = smx_now_us() + (int64_t)warm_up_ms * 1000,
    };
    work.end = work.measure_from + (int64_t)ms * 1000;
    request_init(&work.request, client->codec, work.streaming, size);
    drive(&work);
    request_fini(&work.request);
    return true;
}

static grpc_channel *open_channel(const char *target, bool tuned)
{
    if (tuned) {
        struct smx_connect_options options = {.keepalive_ms = 0};
        struct smx_error why = {0};
        grpc_channel *channel = smx_channel_new(target, &options, 64 << 20, &why);
        if (!channel)
            smx_abort("channel: %.*s", (int)why.message.len, (const char *)why.message.data);
        return channel;
    }
    grpc_arg limit = {.type = GRPC_ARG_INTEGER, .key = "grpc.max_receive_message_length", .value.integer = -1};
    grpc_channel_args args = {1, &limit}; /* all else as it comes */
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return channel;
}

static void add_peer(struct client *client, const char *target, bool tuned)
{
    struct peer *peer = &client->peers[client->peer_count++];
    peer->channel = open_channel(target, tuned);
    peer->execute = grpc_channel_register_call(peer->channel, "/snakepit.SnakepitBridge/Execute", NULL, NULL);
    peer->execute_stream =
        grpc_channel_register_call(peer->channel, "/snakepit.SnakepitBridge/ExecuteStream", NULL, NULL);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"target", required_argument, NULL, 't'},
                                            {"tuned", no_argument, NULL, 'u'},
                                            {"codec", required_argument, NULL, 'c'},
                                            {0}};
    const char *targets[MAX_PEERS];
    size_t count = 0;
    bool tuned = false;
    enum request_codec codec = REQUEST_JSON;
    bool good = true;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 't' && count < MAX_PEERS)
            targets[count++] = optarg;
        else if (option == 'u')
            tuned = true;
        else if (option == 'c' && strcmp(optarg, "msgpack") == 0)
            codec = REQUEST_MSGPACK;
        else if (option == 'c' && strcmp(optarg, "json") == 0)
            codec = REQUEST_JSON;
        else
            good = false;
    }
    if (!good || count == 0) {
        fputs(usage_text, stderr);
        return 2;
    }
    grpc_init();
    struct client client = {.queue = grpc_completion_queue_create_for_next(NULL), .codec = codec};
    for (size_t i = 0; i < count; i++)
        add_peer(&client, targets[i], tuned);
    char line[256] = "";
    if (optind < argc) {
        for (int i = optind; i < argc; i++)
            snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s ", argv[i]);
        return do_work(&client, line) ? 0 : 2;
    }
    while (good && fgets(line, sizeof(line), stdin))
        good = do_work(&client, line);
    return good ? 0 : 2;
}
