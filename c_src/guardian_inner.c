/*
 * Owns CMD: its start, its stop, its exit code, and that none of its descendants is left.
 * Must not know the owner: what reaches it of them comes from outer, through a pipe.
 */
#include "guardian_inner.h"

#include "descendants.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const int handled_signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1};

/* The parent of CMD. */
struct inner {
    int control;
    int signals;
    int input; /* stdin, only to see its end: outer may be stopped by a SIGSTOP */
    bool stopping;
    int64_t deadline;
    struct smx_descendants descendants; /* first: CMD */
};

int smx_guardian_exit_code(int status)
{
    return WIFSIGNALED(status) ? SMX_EXIT_BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

int smx_guardian_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(handled_signals) / sizeof(handled_signals[0]); i++)
        sigaddset(&set, handled_signals[i]);
    sigprocmask(SIG_SETMASK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int smx_guardian_timeout(int64_t deadline)
{
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - smx_now_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static _Noreturn void exec_failed(const char *program, int error)
{
    const char *advice = "is it a program for this machine?";
    if (error == ENOENT && access(program, F_OK) == 0)
        advice = "the file is there, but the interpreter named in its first line is not";
    else if (error == ENOENT)
        advice = strchr(program, '/') ? "check the path" : "give its full path, or put its directory on PATH";
    else if (error == EACCES)
        advice = "make it executable (chmod +x), or name its interpreter in front of it";
    dprintf(STDERR_FILENO, "snakemux: can't run %s: %s: %s\n", program, strerror(error), advice);
    _exit(error == ENOENT ? SMX_EXIT_NOT_FOUND : SMX_EXIT_NOT_EXECUTABLE);
}

static _Noreturn void command_main(char **command, pid_t parent, const int outputs[2])
{
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before the line above */
        _exit(SMX_EXIT_FAILED);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(outputs[0], STDOUT_FILENO) < 0 ||
        dup2(outputs[1], STDERR_FILENO) < 0)
        _exit(SMX_EXIT_FAILED);
    closefrom(STDERR_FILENO + 1);
    /* A BEAM leaves SIGPIPE and SIGFPE ignored, which exec would hand on. */
    for (int number = 1; number <= SIGRTMAX; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(command[0], command);
    exec_failed(command[0], errno);
}

static void inner_stop(struct inner *inner, int64_t grace_ms)
{
    int64_t deadline = smx_now_ms() + grace_ms;
    if (deadline < inner->deadline)
        inner->deadline = deadline;
    if (!inner->stopping)
        smx_descendants_signal(&inner->descendants, SIGTERM);
    inner->stopping = true;
}

static void inner_read_signals(struct inner *inner)
{
    struct signalfd_siginfo info;
    while (read(inner->signals, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo != SIGCHLD && info.ssi_signo != SIGUSR1)
            inner_stop(inner, SMX_SIGNAL_GRACE_MS);
}

static void inner_read_control(struct inner *inner)
{
    int64_t grace_ms;
    ssize_t len = read(inner->control, &grace_ms, sizeof(grace_ms));
    if (len == sizeof(grace_ms)) {
        inner_stop(inner, grace_ms);
    } else if (len == 0) {
        close(inner->control);
        inner->control = -1;
        inner_stop(inner, SMX_ORPHAN_GRACE_MS);
    }
}

/* Until CMD and, in a stop, its descendants have ended, or their time is over. */
static void inner_watch(struct inner *inner)
{
    while (smx_descendants_reap(&inner->descendants) && smx_now_ms() < inner->deadline) {
        if (inner->descendants.ended) {
            if (!inner->stopping)
                return;
            inner_stop(inner, SMX_ORPHAN_GRACE_MS);
        }
        struct pollfd fds[] = {
            {.fd = inner->signals, .events = POLLIN},
            {.fd = inner->control, .events = POLLIN},
            {.fd = inner->input}, /* POLLHUP comes without being asked for */
        };
        if (poll(fds, 3, smx_guardian_timeout(inner->deadline)) <= 0)
            continue;
        if (fds[0].revents)
            inner_read_signals(inner);
        if (fds[1].revents)
            inner_read_control(inner);
        if (fds[2].revents) {
            inner->input = -1;
            kill(getppid(), SIGCONT); /* should outer be stopped, nobody else will continue it */
            inner_stop(inner, SMX_ORPHAN_GRACE_MS);
        }
    }
}

_Noreturn void smx_guardian_inner_main(char **command, int control, const int outputs[2])
{
    /* A group of its own: a signal to the group of outer (Ctrl-C, kill %1) doesn't take both at once. Not a session
     * of its own: the kernel continues a stopped process group when its last link to the session's leader ends. */
    setpgid(0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    struct inner inner = {
        .control = control, .signals = smx_guardian_signals(), .input = STDIN_FILENO, .deadline = INT64_MAX};
    pid_t self = getpid();
    pid_t child = fork();
    if (child == 0)
        command_main(command, self, outputs);
    if (child < 0 || inner.signals < 0) {
        smx_log("exec: can't start a process: %s", strerror(errno));
        _exit(SMX_EXIT_FAILED);
    }
    close(outputs[0]);
    if (outputs[1] != outputs[0])
        close(outputs[1]);
    inner.descendants.first = child;
    inner_watch(&inner);
    int left = smx_descendants_kill(&inner.descendants, SMX_KILL_LIMIT_MS);
    if (left > 0)
        smx_log("exec: %d processes can't be killed: they wait in the kernel or run as another user", left);
    _exit(inner.descendants.ended ? smx_guardian_exit_code(inner.descendants.status) : SMX_EXIT_BY_SIGNAL + SIGKILL);
}
