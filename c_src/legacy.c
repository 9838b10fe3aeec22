/* Owns the command line of `snakemux legacy` and the connection to its one worker; knows nothing of frames. */
#include "legacy.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "front_legacy.h"
#include "keeper.h"
#include "loop.h"
#include "term.h"
#include "waker.h"

enum {
    OVERHEAD = 64 * 1024, /* of a frame, beside what becomes the message */
    STABLE_MS = 10000,    /* a worker that has lived so long is started again at once */
    FIRST_DELAY_MS = 50,
    LAST_DELAY_MS = 5000,
};

struct legacy {
    struct smx_front_legacy front;
    struct smx_keeper keeper;
    const char *attach; /* --worker */
    struct smx_limits limits;
    struct smx_buffer target; /* connected to */
    struct smx_timer again;
    int64_t since_ms; /* the last start */
    unsigned failures;
};

/* ---- The connection ---- */

static void tell(struct legacy *legacy, struct smx_command *command)
{
    static const char worker[] = "worker";
    struct smx_buffer tag = {0};
    smx_term_put_text(&tag, "snakemux.legacy"); /* the front's own tags are integers */
    command->tag = smx_buffer_span(&tag);
    command->worker = smx_span_of(worker);
    legacy->front.stage.handler.handle(legacy->front.stage.handler.bridge, command);
    smx_buffer_fini(&tag);
}

static void connect_to(struct legacy *legacy, struct smx_span target)
{
    if (legacy->target.len > 0)
        tell(legacy, &(struct smx_command){.op = SMX_OP_DISCONNECT, .drain_ms = -1});
    legacy->target.len = 0;
    smx_buffer_append_span(&legacy->target, target);
    tell(legacy, &(struct smx_command){
                     .op = SMX_OP_CONNECT,
                     .target = target,
                     .connect = {.weight = 1,
                                 .codec = SMX_CODEC_AUTO,
                                 /* What we start will come: calls wait for it as long as their timeout lasts. */
                                 .ready_timeout_ms = legacy->attach ? SMX_DEFAULT_READY_TIMEOUT_MS : INT_MAX,
                                 .health_interval_ms = SMX_DEFAULT_HEALTH_INTERVAL_MS,
                                 .unresponsive_after_ms = SMX_DEFAULT_UNRESPONSIVE_AFTER_MS},
                 });
}

static void try_again(struct legacy *legacy)
{
    unsigned shift = legacy->failures < 8 ? legacy->failures : 8;
    int64_t delay = legacy->failures == 0 ? 0 : (int64_t)FIRST_DELAY_MS << shift;
    legacy->failures++;
    smx_timer_set(legacy->front.stage.timers, &legacy->again,
                  smx_now_ms() + (delay < LAST_DELAY_MS ? delay : LAST_DELAY_MS));
}

static void start_worker(void *owner)
{
    struct legacy *legacy = owner;
    struct smx_error why = {0};
    struct smx_buffer target = {0};
    legacy->since_ms = smx_now_ms();
    if (smx_keeper_start(&legacy->keeper, &why)) {
        smx_keeper_target(&legacy->keeper, &target);
        if (!smx_span_equal(smx_buffer_span(&target), smx_buffer_span(&legacy->target)))
            connect_to(legacy, smx_buffer_span(&target));
        smx_waker_watch_end(legacy->front.stage.waker, legacy->keeper.hold);
    } else {
        smx_log("legacy: %.*s", (int)why.message.len, (const char *)why.message.data);
        try_again(legacy);
    }
    smx_buffer_fini(&target);
    smx_error_fini(&why);
}

/* ---- As the loop sees it ---- */

static void on_start(void *self, const struct smx_stage *stage)
{
    struct legacy *legacy = self;
    smx_front_legacy_start(&legacy->front, stage);
    legacy->again = (struct smx_timer){.fire = start_worker, .owner = legacy};
    if (legacy->attach)
        connect_to(legacy, smx_span_of(legacy->attach));
    else
        start_worker(legacy);
}

/* The guardian has ended, and so the worker. Calls wait for the next one. */
static void on_hangup(void *self)
{
    struct legacy *legacy = self;
    struct smx_buffer target = {0};
    smx_keeper_drop(&legacy->keeper);
    if (smx_now_ms() - legacy->since_ms >= STABLE_MS)
        legacy->failures = 0;
    smx_log("legacy: the worker has ended, and is started again");
    smx_buffer_append_span(&target, smx_buffer_span(&legacy->target));
    connect_to(legacy, smx_buffer_span(&target));
    smx_buffer_fini(&target);
    try_again(legacy);
}

static void on_frame(void *self, struct smx_span frame, enum smx_frame_kind kind, size_t len, size_t max_frame)
{
    struct legacy *legacy = self;
    smx_front_legacy_frame(&legacy->front, frame, kind, len, max_frame);
}

static bool on_event(void *self, const struct smx_event *event, struct smx_error *why)
{
    struct legacy *legacy = self;
    return smx_front_legacy_emit(&legacy->front, event, why);
}

static void on_flush(void *self)
{
    struct legacy *legacy = self;
    smx_front_legacy_flush(&legacy->front);
}

static void on_stop(void *self)
{
    struct legacy *legacy = self;
    smx_front_legacy_stop(&legacy->front);
    smx_timer_stop(legacy->front.stage.timers, &legacy->again);
    smx_keeper_drop(&legacy->keeper);
}

/* ---- The command line ---- */

static const char usage_text[] =
    "usage: snakemux legacy [OPTION...] -- CMD [ARG...]   start CMD, a gRPC worker, and serve from it\n"
    "       snakemux legacy [OPTION...] --worker TARGET   serve from a worker that runs: unix:/path, ipv4:host:port\n"
    "       snakemux_legacy SCRIPT [OPTION...]            start `$SNAKEMUX_PYTHON SCRIPT --address ADDRESS`\n"
    "Speaks the protocol of stdin/stdout workers: JSON or MessagePack in frames with a length of 4 bytes.\n"
    "In CMD {address} (or {port}) is where the worker is to listen, {max_message} the option's value in bytes.\n"
    "\n"
    "  --share NAME         one worker for all that give this name; it ends with the last of them\n"
    "  --timeout MS         always answer before (29000)\n"
    "  --ready-timeout MS   the first ping is answered when the worker is ready, or after this time (18000)\n"
    "  --max-message SIZE   of one request or answer, KiB, MiB, GiB (256MiB); the worker's: $SNAKEMUX_MAX_MESSAGE\n"
    "  --mode X, --protocol json|msgpack|auto, --quiet   of the old workers: accepted anywhere\n";

static _Noreturn void usage(const char *what)
{
    fprintf(stderr, "snakemux legacy: %s\n%s", what, usage_text);
    exit(2);
}

/* The options of the old workers, wherever they stand before the command: taken out. Returns what is left of argc. */
static int take_old(int argc, char **argv, struct legacy *legacy)
{
    int left = 1;
    bool command = false;
    for (int i = 1; i < argc; i++) {
        command = command || strcmp(argv[i], "--") == 0;
        bool mode = strcmp(argv[i], "--mode") == 0, protocol = strcmp(argv[i], "--protocol") == 0;
        if (command || !(mode || protocol || strcmp(argv[i], "--quiet") == 0 || strncmp(argv[i], "--mode=", 7) == 0 ||
                         strncmp(argv[i], "--protocol=", 11) == 0)) {
            argv[left++] = argv[i];
            continue;
        }
        const char *value = strchr(argv[i], '=');
        if ((mode || protocol) && i + 1 < argc)
            value = argv[i += 1] - 1;
        if (strncmp(argv[i], "--protocol", 10) == 0 || protocol)
            legacy->front.json_only = value && strcmp(value + 1, "json") == 0;
    }
    argv[left] = NULL;
    return left;
}

static void parse_options(int argc, char **argv, struct legacy *legacy)
{
    static const struct option options[] = {
        {"worker", required_argument, NULL, 'w'},
        {"share", required_argument, NULL, 's'},
        {"timeout", required_argument, NULL, 't'},
        {"max-message", required_argument, NULL, 'm'},
        {"ready-timeout", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int which;
    size_t timeout;
    while ((which = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (which) {
        case 'w':
            legacy->attach = optarg;
            break;
        case 's':
            legacy->keeper.share = optarg;
            if (strlen(optarg) > 40 ||
                strspn(optarg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(optarg) ||
                !optarg[0])
                usage("--share: a name of at most 40 letters, digits, _ and -");
            break;
        case 't':
        case 'r':
            if (!smx_size_parse(optarg, &timeout) || timeout > INT_MAX)
                usage("--timeout, --ready-timeout: milliseconds from 1 on");
            *(which == 't' ? &legacy->front.timeout_ms : &legacy->front.init_ms) = (int64_t)timeout;
            break;
        case 'm':
            if (!smx_size_parse(optarg, &legacy->keeper.max_message) || legacy->keeper.max_message > INT_MAX)
                usage("--max-message: a number above 0 and below 2GiB, perhaps with KiB or MiB");
            break;
        case 'h':
            fputs(usage_text, stderr);
            exit(0);
        default:
            usage("an option is wrong");
        }
    }
}

/* What is to be started: behind --, or the script. */
static void parse_command(int argc, char **argv, struct legacy *legacy)
{
    static char *script_command[] = {NULL, "-u", NULL, "--address", "{address}", NULL};
    bool has_command = optind > 1 && strcmp(argv[optind - 1], "--") == 0 && optind < argc;
    if (has_command) {
        legacy->keeper.command = argv + optind;
    } else if (optind < argc) {
        char *python = getenv("SNAKEMUX_PYTHON");
        script_command[0] = python && python[0] ? python : "python3";
        script_command[2] = argv[optind];
        legacy->keeper.command = script_command;
    }
    if (!legacy->attach == !legacy->keeper.command)
        usage("give either -- CMD, or a script, or --worker TARGET");
    bool listens = legacy->attach;
    for (char **argument = legacy->keeper.command; argument && *argument; argument++)
        listens = listens || strstr(*argument, "{address}") || strstr(*argument, "{port}");
    if (!listens)
        usage("CMD needs {address} or {port} in it, where it is to listen");
}

/* What the worker is told by its environment: the limit, and where our Python library is. */
static void set_environment(const struct legacy *legacy)
{
    char size[32], program[PATH_MAX];
    snprintf(size, sizeof(size), "%zu", legacy->keeper.max_message);
    setenv("SNAKEMUX_MAX_MESSAGE", size, 1);
    setenv("SNAKEMUX_EXIT_WHEN_STUCK", "1", 1); /* the old pool can't know; the keeper starts it again */
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[len > 0 ? len : 0] = 0;
    const char *slash = strrchr(program, '/'), *given = getenv("PYTHONPATH");
    if (!slash)
        return;
    struct smx_buffer path = {0};
    smx_buffer_printf(&path, "%s%s%.*s/python", given ? given : "", given && given[0] ? ":" : "",
                      (int)(slash - program), program);
    smx_buffer_append(&path, "", 1);
    setenv("PYTHONPATH", (const char *)path.data, 1);
    smx_buffer_fini(&path);
}

int smx_legacy_main(int argc, char **argv, int out)
{
    struct legacy legacy = {
        .front = {.timeout_ms = 29000, .init_ms = 18000 /* the owner waits 20 s */},
        .keeper = {.max_message = 256 << 20},
        .limits = {.max_buffered = 1 << 30,
                   .max_queue = 1000,
                   .max_calls = 100000,
                   .max_sessions = 1,
                   .session_ttl_ms = 3600000},
    };
    argc = take_old(argc, argv, &legacy);
    parse_options(argc, argv, &legacy);
    parse_command(argc, argv, &legacy);
    set_environment(&legacy);
    signal(SIGCHLD, SIG_IGN); /* guardians end when they do */
    legacy.limits.max_message = legacy.keeper.max_message;
    legacy.limits.max_frame = legacy.keeper.max_message + OVERHEAD;
    const struct smx_front front = {
        .self = &legacy,
        .tail_size = SMX_LEGACY_TAIL,
        .start = on_start,
        .frame = on_frame,
        .emit = on_event,
        .flush = on_flush,
        .hangup = on_hangup,
        .stop = on_stop,
    };
    int code = smx_loop_run(&legacy.limits, &front, STDIN_FILENO, out);
    smx_keeper_fini(&legacy.keeper);
    smx_buffer_fini(&legacy.target);
    return code;
}
