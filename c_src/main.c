/* Owns the command line and the first acts of the process; knows nothing of what the subcommands do. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "front_ei.h"
#include "guardian.h"
#include "legacy.h"
#include "loop.h"
#include "wrap.h"

static const char usage_text[] =
    "usage: snakemux [port] [OPTION...]     speak Erlang terms on stdio, for Port.open\n"
    "       snakemux exec -- CMD [ARG...]   run CMD so that it and all its descendants end with their owner\n"
    "       snakemux legacy [OPTION...] ... serve a pool of stdin/stdout workers from a gRPC worker (legacy --help)\n"
    "       snakemux wrap [OPTION...] -- CMD    make a stdin/stdout worker a gRPC worker (wrap --help)\n"
    "       snakemux --version | --help\n"
    "\n"
    "Options of port; sizes take KiB, MiB, GiB:\n"
    "  --max-frame SIZE      one frame on stdio (128MiB, or twice max-message)\n"
    "  --max-message SIZE    one gRPC message, both ways (64MiB)\n"
    "  --max-buffered SIZE   output waiting for stdout and messages waiting for credit (256MiB)\n"
    "  --max-queue N         calls waiting for one target (1000)\n"
    "  --max-calls N         calls at once (100000)\n"
    "  --max-sessions N      pinned sessions (10000)\n"
    "  --session-ttl MS      idle time until a session's pin expires (3600000)\n";

static size_t parse_size(const char *name, const char *text)
{
    size_t size;
    if (smx_size_parse(text, &size))
        return size;
    fprintf(stderr, "snakemux: %s %s: a number above 0 is wanted, perhaps with KiB, MiB or GiB\n", name, text);
    exit(2);
}

static struct smx_limits parse_limits(int argc, char **argv)
{
    struct smx_limits limits = {
        .max_message = 64 << 20,
        .max_buffered = 256 << 20,
        .max_queue = 1000,
        .max_calls = 100000,
        .max_sessions = 10000,
        .session_ttl_ms = 3600000,
    };
    size_t ttl = 3600000;
    size_t *const places[] = {&limits.max_frame,
                              &limits.max_message,
                              &limits.max_buffered,
                              &limits.max_queue,
                              &limits.max_calls,
                              &limits.max_sessions,
                              &ttl};
    static const struct option options[] = {
        {"max-frame", required_argument, NULL, 0},    {"max-message", required_argument, NULL, 1},
        {"max-buffered", required_argument, NULL, 2}, {"max-queue", required_argument, NULL, 3},
        {"max-calls", required_argument, NULL, 4},    {"max-sessions", required_argument, NULL, 5},
        {"session-ttl", required_argument, NULL, 6},  {0},
    };
    int which, index = 0;
    while ((which = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (which == '?') {
            fputs(usage_text, stderr);
            exit(2);
        }
        *places[which] = parse_size(options[index].name, optarg);
    }
    if (optind < argc) {
        fprintf(stderr, "snakemux: what is %s?\n%s", argv[optind], usage_text);
        exit(2);
    }
    limits.session_ttl_ms = (int64_t)ttl;
    /* Whoever raises max_message alone means arguments, too. */
    if (limits.max_frame == 0)
        limits.max_frame = 2 * (limits.max_message > 64 << 20 ? limits.max_message : 64 << 20);
    return limits;
}

/* Frames only on stdout: whatever else prints, a library's stray line even, goes to stderr. */
static int take_stdout(void)
{
    int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        fprintf(stderr, "snakemux: stdout: %s\n", strerror(errno));
        exit(2);
    }
    signal(SIGPIPE, SIG_IGN);
    return out;
}

static int run_port(int argc, char **argv)
{
    int out = take_stdout();
    struct smx_limits limits = parse_limits(argc, argv);
    if (isatty(STDIN_FILENO)) {
        fprintf(stderr, "snakemux speaks Erlang terms on stdio: it is opened by Port.open, not by hand.\n%s",
                usage_text);
        return 2;
    }
    struct smx_front_ei ei;
    struct smx_front front = smx_front_ei(&ei);
    int status = smx_loop_run(&limits, &front, STDIN_FILENO, out);
    smx_front_ei_fini(&ei);
    return status;
}

static bool is_named(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

int main(int argc, char **argv)
{
    if (argc > 0 && is_named(argv[0], "snakemux_legacy"))
        return smx_legacy_main(argc, argv, take_stdout());
    const char *what = argc > 1 ? argv[1] : "port";
    if (strcmp(what, "exec") == 0)
        return smx_guardian_main(argc - 1, argv + 1);
    if (strcmp(what, "legacy") == 0)
        return smx_legacy_main(argc - 1, argv + 1, take_stdout());
    if (strcmp(what, "wrap") == 0)
        return smx_wrap_main(argc - 1, argv + 1);
    if (strcmp(what, "kill") == 0 && argc == 3) {
        /* For the one who owns a port program that no longer answers, where there is no kill(1). */
        long pid = strtol(argv[2], NULL, 10);
        return pid <= 1 || kill((pid_t)pid, SIGKILL) < 0;
    }
    if (strcmp(what, "--version") == 0) {
        printf("snakemux %s\n", SMX_VERSION);
        return 0;
    }
    if (strcmp(what, "--help") == 0) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (strcmp(what, "port") == 0 && argc > 1)
        return run_port(argc - 1, argv + 1);
    return run_port(argc, argv);
}
