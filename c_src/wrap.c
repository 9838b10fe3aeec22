/* Owns the command line of `snakemux wrap`, the queue of requests and the loop; knows neither protobuf nor frames. */
#include "wrap.h"

#include <errno.h>
#include <getopt.h>
#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "codec.h"
#include "guardian.h"
#include "legacy_worker.h"
#include "server.h"
#include "waker.h"

enum {
    OVERHEAD = 64 * 1024, /* of a frame, beside what becomes the message */
    MAX_QUEUE = 1000,
    FLUSH_MS = 1000, /* for the last answers */
};

/* A request that waits, or runs. */
struct job {
    struct job *next;
    struct smx_incoming *incoming; /* NULL: its caller has gone */
    enum smx_codec codec;          /* the caller's */
};

struct wrap {
    const char *address;
    size_t max_message;
    size_t stuck_ms; /* a worker that is still busy so long after its caller has gone is unhealthy */
    char **command;
    grpc_completion_queue *queue;
    struct smx_waker *waker;
    struct smx_completion wake, stopped;
    struct smx_timers timers;
    struct smx_legacy_worker worker;
    struct smx_server *server;
    struct job *running;
    struct job *first, **last;
    size_t waiting;
    int64_t started_ms, abandoned_ms;
    int64_t requests, errors;
    bool stopping, is_stopped;
    int64_t stop_at_ms;
    int code;
};

static void refuse(struct wrap *wrap, struct smx_incoming *incoming, enum smx_code code, const char *text)
{
    wrap->errors++;
    smx_incoming_refuse(incoming, code, text);
}

/* The callers see the connection go before they hear why: what comes next waits for the next one. */
static void stop(struct wrap *wrap, int code, const char *text)
{
    if (wrap->stopping)
        return;
    wrap->stopping = true;
    wrap->code = code;
    wrap->stop_at_ms = smx_now_ms() + FLUSH_MS;
    if (wrap->server)
        smx_server_stop(wrap->server, &wrap->stopped);
    if (wrap->running) {
        wrap->running->next = wrap->first;
        wrap->first = wrap->running;
    }
    while (wrap->first) {
        struct job *job = wrap->first;
        wrap->first = job->next;
        if (job->incoming)
            refuse(wrap, job->incoming, SMX_UNAVAILABLE, text);
        free(job);
    }
    wrap->running = NULL;
}

/* ---- One request at a time ---- */

/* False when its values can't be carried, which is answered. */
static bool ask(struct wrap *wrap, const struct job *job)
{
    const struct smx_message *message = smx_incoming_message(job->incoming);
    struct smx_pairs args = message->args;
    struct smx_values made = {0};
    struct smx_error why = {0};
    bool good = true;
    if (job->codec != wrap->worker.codec) {
        good = smx_codec_transcode(job->codec, args, wrap->worker.codec, &made, &why);
        args = (struct smx_pairs){made.items, made.count};
    }
    if (good) {
        smx_legacy_worker_ask(&wrap->worker, message->command, args);
    } else {
        smx_buffer_append(&why.message, "", 1);
        refuse(wrap, job->incoming, why.code, (const char *)why.message.data);
    }
    smx_error_fini(&why);
    smx_values_fini(&made);
    return good;
}

static void pump(struct wrap *wrap)
{
    while (wrap->worker.phase == SMX_LEGACY_IDLE && wrap->first) {
        struct job *job = wrap->first;
        wrap->first = job->next;
        wrap->last = wrap->first ? wrap->last : &wrap->first;
        wrap->waiting--;
        if (job->incoming && ask(wrap, job))
            wrap->running = job;
        else
            free(job);
    }
}

static void on_answered(void *owner, const struct smx_legacy_answer *answer)
{
    struct wrap *wrap = owner;
    struct job *job = wrap->running;
    struct smx_values made = {0};
    struct smx_error why = {0};
    struct smx_reply reply = {.success = answer->success, .values = answer->values, .error = answer->text};
    enum smx_codec codec = job->codec == SMX_CODEC_LENIENT ? SMX_CODEC_JSON : job->codec;
    if (job->incoming && answer->success && answer->codec != codec) {
        reply.success = smx_codec_transcode(answer->codec, answer->values, codec, &made, &why);
        reply.values = (struct smx_pairs){made.items, reply.success ? made.count : 0};
        reply.error = smx_buffer_span(&why.message);
    }
    wrap->errors += !reply.success;
    if (job->incoming)
        smx_incoming_answer(job->incoming, &reply);
    free(job);
    wrap->running = NULL;
    wrap->abandoned_ms = 0;
    smx_error_fini(&why);
    smx_values_fini(&made);
    pump(wrap);
}

static bool read_codec(struct smx_span name, enum smx_codec *codec)
{
    *codec = name.len == 0 ? SMX_CODEC_LENIENT : smx_span_is(name, "msgpack") ? SMX_CODEC_MSGPACK : SMX_CODEC_JSON;
    return *codec != SMX_CODEC_JSON || smx_span_is(name, "json");
}

static void on_execute(void *owner, struct smx_incoming *incoming, const struct smx_message *message,
                       struct smx_span codec_name)
{
    struct wrap *wrap = owner;
    enum smx_codec codec;
    wrap->requests++;
    if (!read_codec(codec_name, &codec)) {
        refuse(wrap, incoming, SMX_INVALID_ARGUMENT, "no such codec: json and msgpack are understood");
    } else if (smx_span_is(message->command, "snakemux.end_session")) {
        smx_incoming_answer(incoming, &(struct smx_reply){.success = true}); /* sessions never reached these workers */
    } else if (wrap->waiting >= MAX_QUEUE || wrap->stopping) {
        refuse(wrap, incoming, wrap->stopping ? SMX_UNAVAILABLE : SMX_RESOURCE_EXHAUSTED,
               wrap->stopping ? "the worker stops" : "too many requests wait for the one legacy worker");
    } else {
        struct job *job = smx_alloc(sizeof(*job));
        *job = (struct job){.incoming = incoming, .codec = codec};
        *wrap->last = job;
        wrap->last = &job->next;
        wrap->waiting++;
        pump(wrap);
    }
}

static void on_left(void *owner, struct smx_incoming *incoming)
{
    struct wrap *wrap = owner;
    if (wrap->running && wrap->running->incoming == incoming) {
        wrap->running->incoming = NULL; /* it can't be cancelled there: its answer will be dropped */
        wrap->abandoned_ms = smx_now_ms();
    }
    for (struct job *job = wrap->first; job; job = job->next)
        if (job->incoming == incoming)
            job->incoming = NULL;
}

static void on_describe(void *owner, enum smx_method method, struct smx_reply *reply)
{
    struct wrap *wrap = owner;
    static struct smx_pair capabilities[4];
    if (method == SMX_METHOD_HEALTH) {
        reply->healthy = wrap->abandoned_ms == 0 || smx_now_ms() - wrap->abandoned_ms < (int64_t)wrap->stuck_ms;
        reply->uptime_ms = smx_now_ms() - wrap->started_ms;
        reply->total_requests = wrap->requests;
        reply->total_errors = wrap->errors;
        return;
    }
    const char *codec = wrap->worker.codec == SMX_CODEC_MSGPACK ? "msgpack" : "json";
    capabilities[0] = (struct smx_pair){smx_span_of("codecs"), smx_span_of(codec)};
    capabilities[1] = (struct smx_pair){smx_span_of("max_concurrent"), smx_span_of("1")};
    capabilities[2] = (struct smx_pair){smx_span_of("keepalive"), smx_span_of("1")};
    capabilities[3] = (struct smx_pair){smx_span_of("server"), smx_span_of("wrap")};
    reply->capabilities = (struct smx_pairs){capabilities, 4};
}

/* ---- The life of the process ---- */

static void on_ready(void *owner)
{
    struct wrap *wrap = owner;
    int port;
    struct smx_server_events events = {on_execute, on_left, on_describe, wrap};
    wrap->server = smx_server_new(wrap->queue, wrap->address, wrap->max_message, events, &port);
    if (port <= 0) {
        smx_log("wrap: can't listen on %s", wrap->address);
        stop(wrap, 1, "");
    } else if (strncmp(wrap->address, "unix", 4) == 0) {
        printf("GRPC_SERVER_READY_ON_ADDRESS=%s\n", wrap->address);
    } else {
        printf("GRPC_SERVER_READY_ON_PORT=%d\n", port);
    }
    fflush(stdout);
}

static void on_wake(void *owner, bool ok)
{
    struct wrap *wrap = owner;
    (void)ok;
    int what = smx_waker_take(wrap->waker);
    if (what & SMX_WAKE_WRITABLE)
        wrap->worker.pipes.blocked = false;
    if (what & SMX_WAKE_STOP)
        stop(wrap, 0, "the worker stops");
    if (what & SMX_WAKE_READABLE)
        wrap->worker.pipes.unwatched = true;
    if ((what & SMX_WAKE_READABLE) && !wrap->stopping && !smx_legacy_worker_read(&wrap->worker)) {
        smx_log("wrap: the worker has ended");
        stop(wrap, 1, "the legacy worker ended");
    }
}

static void on_stopped(void *owner, bool ok)
{
    struct wrap *wrap = owner;
    (void)ok;
    wrap->is_stopped = true;
}

static void take_completion(struct wrap *wrap, int64_t until_ms)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    int64_t wait = until_ms - smx_now_ms();
    if (until_ms >= 0)
        deadline =
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(wait < 0 ? 0 : wait + 1, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_next(wrap->queue, deadline, NULL);
    if (event.type != GRPC_OP_COMPLETE)
        return;
    struct smx_completion *completion = event.tag;
    completion->run(completion->owner, event.success);
}

static int run(struct wrap *wrap)
{
    smx_waker_block_signals();
    grpc_init();
    wrap->queue = grpc_completion_queue_create_for_next(NULL);
    wrap->wake = (struct smx_completion){on_wake, wrap};
    wrap->stopped = (struct smx_completion){on_stopped, wrap};
    wrap->waker = smx_waker_new(wrap->queue, wrap->worker.pipes.in, wrap->worker.pipes.out, &wrap->wake);
    wrap->worker.pipes.waker = wrap->waker;
    smx_legacy_worker_start(&wrap->worker);
    while (!wrap->stopping) {
        smx_duplex_write(&wrap->worker.pipes);
        take_completion(wrap, smx_timers_next(&wrap->timers));
        smx_timers_run(&wrap->timers, smx_now_ms());
    }
    while (wrap->server && !wrap->is_stopped && smx_now_ms() < wrap->stop_at_ms)
        take_completion(wrap, wrap->stop_at_ms);
    smx_waker_free(wrap->waker);
    return wrap->code; /* what gRPC still holds ends with the process */
}

/* ---- The command line ---- */

static const char usage_text[] =
    "usage: snakemux wrap [OPTION...] -- CMD [ARG...]\n"
    "Runs CMD, a stdin/stdout worker of the old kind, and serves it over gRPC, one request at a time.\n"
    "Ends when CMD ends, or its owner: when stdin closes (unless it is /dev/null) or on SIGTERM.\n"
    "\n"
    "  --address A          unix:/path, or host:port (127.0.0.1:0: any free port; it is printed)\n"
    "  --protocol P         auto (negotiate), json or msgpack\n"
    "  --max-message SIZE   of one request or answer, KiB, MiB, GiB (256MiB)\n"
    "  --stuck-grace MS     it is unhealthy when it is busy so long after its caller has gone (10000)\n";

static _Noreturn void usage(const char *what)
{
    fprintf(stderr, "snakemux wrap: %s\n%s", what, usage_text);
    exit(2);
}

static void parse_options(int argc, char **argv, struct wrap *wrap)
{
    static const struct option options[] = {
        {"address", required_argument, NULL, 'a'},
        {"protocol", required_argument, NULL, 'p'},
        {"max-message", required_argument, NULL, 'm'},
        {"stuck-grace", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int which;
    while ((which = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (which == 'a') {
            wrap->address = optarg;
        } else if (which == 'p' && strcmp(optarg, "json") == 0) {
            wrap->worker.fixed = SMX_CODEC_JSON;
        } else if (which == 'p' && strcmp(optarg, "msgpack") == 0) {
            wrap->worker.fixed = SMX_CODEC_MSGPACK;
        } else if (which == 'p' && strcmp(optarg, "auto") != 0) {
            usage("--protocol: auto, json or msgpack");
        } else if (which == 'm' && (!smx_size_parse(optarg, &wrap->max_message) || wrap->max_message > INT_MAX)) {
            usage("--max-message: a number above 0 and below 2GiB, perhaps with KiB or MiB");
        } else if (which == 's' && (!smx_size_parse(optarg, &wrap->stuck_ms) || wrap->stuck_ms > INT_MAX)) {
            usage("--stuck-grace: milliseconds from 1 on");
        } else if (which == 'h') {
            fputs(usage_text, stdout);
            exit(0);
        } else if (which == '?') {
            usage("an option is wrong");
        }
    }
    if (optind == argc)
        usage("which command?");
    wrap->command = argv + optind;
}

/* A guardian gives its command /dev/null as stdin: then one watches over us already. */
static bool has_guardian(void)
{
    struct stat about;
    return fstat(STDIN_FILENO, &about) == 0 && S_ISCHR(about.st_mode) && about.st_rdev == makedev(1, 3);
}

static int run_guarded(int argc, char **argv)
{
    char **guarded = smx_alloc(((size_t)argc + 4) * sizeof(*guarded));
    guarded[0] = "exec";
    guarded[1] = "--";
    guarded[2] = "/proc/self/exe";
    for (int i = 0; i < argc; i++)
        guarded[i + 3] = argv[i];
    int code = smx_guardian_main(argc + 3, guarded);
    free(guarded);
    return code;
}

int smx_wrap_main(int argc, char **argv)
{
    static struct wrap wrap = {.address = "127.0.0.1:0", .max_message = 256 << 20, .stuck_ms = 10000};
    wrap.worker.fixed = SMX_CODEC_AUTO;
    parse_options(argc, argv, &wrap);
    if (!has_guardian())
        return run_guarded(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* its end is seen at its stdout */
    wrap.last = &wrap.first;
    wrap.started_ms = smx_now_ms();
    wrap.worker.timers = &wrap.timers;
    wrap.worker.events = (struct smx_legacy_worker_events){on_ready, on_answered, &wrap};
    if (!smx_legacy_worker_spawn(&wrap.worker, wrap.command, wrap.max_message + OVERHEAD)) {
        smx_log("wrap: can't run %s: %s", wrap.command[0], strerror(errno));
        return errno == ENOENT ? 127 : 126;
    }
    return run(&wrap);
}
