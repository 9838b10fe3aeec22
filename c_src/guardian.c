/*
 * Owns the life and the death of one command and its descendants.
 * Must not know gRPC or terms: it runs before grpc_init, and without it.
 *
 * What Linux can't give:
 * - Both guardian processes killed in the same instant (a cgroup's OOM kill, say, which takes the worker as well): CMD
 *   still gets SIGKILL by its parent-death signal, its own children don't. Only a cgroup or a pid namespace would.
 * - A descendant that runs as another user (setuid) can't be signalled, and loses its parent-death signal on exec.
 * - A process in uninterruptible sleep dies when the kernel lets it: the guardian says so after some seconds, and ends.
 * - A process that somebody else starts for CMD (systemd-run, a container daemon, at) is nobody's descendant here.
 * - With /proc not mounted, or mounted with hidepid for another user, only CMD and its process group are reached by
 *   SIGTERM; on SIGKILL orphans are killed one generation after the other.
 */
#include "guardian.h"

#include "descendants.h"
#include "guardian_inner.h"
#include "pump.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    INNER_MARGIN_MS = 500, /* what inner may be late before outer takes over: 1000 + 500 is well under 2 s */
    DRAIN_LIMIT_MS = 5000, /* for the last output, while the owner lives */
    ORPHAN_DRAIN_MS = 200, /* and when it doesn't */
};

/* The process that the owner has started: stdin, output, and the watch over inner. */
struct outer {
    pid_t parent; /* 0: the owners are all that hold the other end of stdin, whoever has started us */
    int control;  /* to inner: the grace of a stop as int64_t; its end tells of our death */
    int signals;
    int input; /* stdin; -1 after its end */
    bool owner_gone;
    int64_t deadline; /* INT64_MAX: not stopping */
    char line[64];    /* what has come of the current line of stdin; longer ones are no command */
    size_t line_len;
    struct smx_descendants descendants; /* first: inner */
    struct smx_pump pumps[2];
    nfds_t pump_count;
};

static void outer_stop(struct outer *outer, int64_t grace_ms)
{
    /* The pipe is non-blocking and holds thousands of these: if it is full, inner is stuck, and the deadline counts. */
    ssize_t ignored = write(outer->control, &grace_ms, sizeof(grace_ms));
    (void)ignored;
    int64_t deadline = smx_now_ms() + grace_ms + INNER_MARGIN_MS;
    if (deadline < outer->deadline)
        outer->deadline = deadline;
}

static void outer_lose_owner(struct outer *outer)
{
    if (!outer->owner_gone)
        outer_stop(outer, SMX_ORPHAN_GRACE_MS);
    outer->owner_gone = true;
}

static void outer_read_signals(struct outer *outer)
{
    struct signalfd_siginfo info;
    while (read(outer->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGUSR1) { /* comes for the end of the thread that started us as well */
            if (outer->parent > 0 && getppid() != outer->parent)
                outer_lose_owner(outer);
        } else if (info.ssi_signo != SIGCHLD) {
            outer_stop(outer, SMX_SIGNAL_GRACE_MS);
        }
    }
}

static void outer_take_line(struct outer *outer)
{
    int64_t grace_ms;
    char rest;
    outer->line[outer->line_len] = '\0';
    if (outer->line_len < sizeof(outer->line) - 1 &&
        sscanf(outer->line, "stop %10" SCNd64 " %c", &grace_ms, &rest) == 1 && grace_ms >= 0)
        outer_stop(outer, grace_ms);
    else if (outer->line_len > 0)
        smx_log("exec: a line on stdin is no command; the one there is: stop Milliseconds");
    outer->line_len = 0;
}

static void outer_read_input(struct outer *outer)
{
    char bytes[256];
    ssize_t len = read(outer->input, bytes, sizeof(bytes));
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        outer->input = -1;
        outer_lose_owner(outer);
    }
    for (ssize_t i = 0; i < len; i++) {
        if (bytes[i] == '\n')
            outer_take_line(outer);
        else if (outer->line_len < sizeof(outer->line) - 1)
            outer->line[outer->line_len++] = bytes[i];
    }
}

/* Until inner has ended. */
static void outer_watch(struct outer *outer)
{
    while (smx_descendants_reap(&outer->descendants), !outer->descendants.ended) {
        if (smx_now_ms() >= outer->deadline) {
            kill(outer->descendants.first, SIGKILL);
            outer->deadline = INT64_MAX;
        }
        struct pollfd fds[6] = {
            {.fd = outer->signals, .events = POLLIN},
            {.fd = outer->input, .events = POLLIN},
        };
        for (nfds_t i = 0; i < outer->pump_count; i++)
            smx_pump_prepare(&outer->pumps[i], fds + 2 + 2 * i);
        if (poll(fds, 2 + 2 * outer->pump_count, smx_guardian_timeout(outer->deadline)) <= 0)
            continue;
        if (fds[0].revents)
            outer_read_signals(outer);
        if (fds[1].revents)
            outer_read_input(outer);
        for (nfds_t i = 0; i < outer->pump_count; i++)
            smx_pump_move(&outer->pumps[i], fds + 2 + 2 * i);
        if (outer->pumps[0].broken)
            outer_lose_owner(outer);
    }
}

/* Inner looks at stdin as well. Has it seen the end first, and ended all, nothing has told us yet that nobody reads. */
static bool is_owner_gone(const struct outer *outer)
{
    struct pollfd input = {.fd = outer->input};
    return outer->owner_gone || (poll(&input, 1, 0) > 0 && (input.revents & (POLLHUP | POLLERR)));
}

static int outer_finish(struct outer *outer)
{
    int status = outer->descendants.status;
    outer->owner_gone = is_owner_gone(outer);
    if (WIFSIGNALED(status) && !outer->owner_gone)
        smx_log("exec: the inner guardian was ended by signal %d, and the worker with it", WTERMSIG(status));
    int left = smx_descendants_kill(&outer->descendants, SMX_KILL_LIMIT_MS);
    for (nfds_t i = 0; i < outer->pump_count; i++) {
        smx_pump_drain(&outer->pumps[i], outer->owner_gone ? ORPHAN_DRAIN_MS : DRAIN_LIMIT_MS);
        smx_pump_fini(&outer->pumps[i]);
    }
    return left > 0 ? SMX_EXIT_FAILED : smx_guardian_exit_code(status);
}

/* Two pipes for CMD's output, or one in both places when our stdout and stderr are the same file. */
static bool open_outputs(struct outer *outer, int outputs[2])
{
    struct stat out = {0}, err = {0};
    fstat(STDOUT_FILENO, &out);
    fstat(STDERR_FILENO, &err);
    bool same = out.st_dev == err.st_dev && out.st_ino == err.st_ino;
    for (int i = 0; i < (same ? 1 : 2); i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            return false;
        smx_pump_init(&outer->pumps[i], ends[0], STDOUT_FILENO + i);
        outputs[i] = ends[1];
        outer->pump_count++;
    }
    if (same)
        outputs[1] = outputs[0];
    return true;
}

static bool outer_start(struct outer *outer, char **command)
{
    int control[2];
    int outputs[2];
    outer->signals = smx_guardian_signals();
    if (outer->signals < 0 || pipe2(control, O_CLOEXEC) < 0 || !open_outputs(outer, outputs))
        return false;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0) {
        /* Else inner would hold the pipe open whose end tells it of the death of outer. */
        close(control[1]);
        close(outer->signals);
        for (nfds_t i = 0; i < outer->pump_count; i++)
            smx_pump_fini(&outer->pumps[i]);
        smx_guardian_inner_main(command, control[0], outputs);
    }
    close(control[0]);
    close(outputs[0]);
    if (outputs[1] != outputs[0])
        close(outputs[1]);
    fcntl(control[1], F_SETFL, O_NONBLOCK);
    outer->control = control[1];
    outer->descendants.first = child;
    if (outer->parent == 0)
        return true;
    /* The second belt: something the owner has started may have inherited the other end of our stdin. */
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    if (getppid() != outer->parent)
        outer_lose_owner(outer);
    return true;
}

static int usage(FILE *to, int code)
{
    fputs("usage: snakemux exec [--orphan] [--] COMMAND [ARGUMENT…]\n"
          "Runs a command that dies, with all its descendants, when stdin ends or our parent does.\n"
          "A line `stop MILLISECONDS` on stdin: SIGTERM, and SIGKILL when they have passed.\n"
          "--orphan: in the background; it dies when the last process that holds the other end of stdin does.\n"
          "Exit code: the command's; 128 + N: signal N ended it; 127: not found; 126: not executable; 125: our own "
          "failure.\n",
          to);
    return code;
}

/* For a life that several processes hold: the one that starts us goes on at once, and its end is none of ours. */
static void leave_parent(void)
{
    pid_t child = fork();
    if (child != 0)
        _exit(child > 0 ? 0 : SMX_EXIT_FAILED);
    setsid();
}

int smx_guardian_main(int argc, char **argv)
{
    static struct outer outer = {.input = STDIN_FILENO, .deadline = INT64_MAX};
    outer.parent = getppid();
    char **command = argv + 1;
    if (argc > 1 && strcmp(*command, "--help") == 0)
        return usage(stdout, 0);
    if (argc > 1 && strcmp(*command, "--orphan") == 0) {
        leave_parent();
        outer.parent = 0;
        command++;
    }
    if (*command && strcmp(*command, "--") == 0)
        command++;
    else if (*command && **command == '-')
        return usage(stderr, SMX_EXIT_FAILED);
    if (!*command)
        return usage(stderr, SMX_EXIT_FAILED);
    /* What is missing of the three would else be taken by a pipe of ours. */
    int null = open("/dev/null", O_RDWR);
    while (null >= 0 && null <= STDERR_FILENO)
        null = open("/dev/null", O_RDWR);
    closefrom(STDERR_FILENO + 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would reap our children for us */
    if (!outer_start(&outer, command)) {
        smx_log("exec: can't start a process: %s", strerror(errno));
        return SMX_EXIT_FAILED;
    }
    outer_watch(&outer);
    return outer_finish(&outer);
}
