/*
 * Owns the thread, its epoll and the call that carries the wake-ups; knows nothing of what is read and written.
 *
 * A thread that waits for stdio costs a hand-over for each command, a third of what a call takes alone. gRPC has no
 * place for a descriptor of ours, but it waits with epoll_wait, and the program's own is found before the C library's.
 * So stdio moves to gRPC's epoll once that has been seen; with a core that waits in another way it stays here.
 */
#include "waker.h"

#include <errno.h>
#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "sockets.h"
#include "util.h"

enum { QUIT = 8, MARKS = 32 };

/* What an event of ours points to, in whichever epoll: the address says what it is, and no event of gRPC's has it. */
static char marks[MARKS];
static _Atomic(struct smx_waker *) the_waker; /* one in a process */
static _Thread_local bool is_loop;            /* the thread that waits in the completion queue */

struct smx_waker {
    pthread_t thread;
    int epoll;
    atomic_int stdio_epoll; /* the same, or gRPC's */
    int in;
    int out;
    int signals;
    int quit;
    atomic_int happened;
    atomic_int late; /* has happened, but is told the next time that gRPC waits */
    grpc_channel *channel;
    grpc_call *call;
    struct smx_completion *completion;
};

/* A batch of no operations completes at once, and waking a queue this way is part of the public API. */
static void wake(struct smx_waker *waker, int what)
{
    if (atomic_fetch_or(&waker->happened, what) != 0)
        return; /* the loop has not taken the last ones yet */
    grpc_call_error error = grpc_call_start_batch(waker->call, NULL, 0, waker->completion, NULL);
    if (error != GRPC_CALL_OK)
        smx_abort("the loop can't be woken: %s", grpc_call_error_to_string(error));
}

static void watch(struct smx_waker *waker, int epoll, int fd, uint32_t events, int what)
{
    struct epoll_event event = {.events = events, .data.ptr = &marks[what]};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0 ||
        (errno == ENOENT && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0))
        return;
    if (errno == EPERM)
        wake(waker, what); /* a regular file: always ready */
    else
        smx_abort("epoll: %s", strerror(errno));
}

/* What happened by the events that are ours; leaves the others, `*count` of them. */
static int take_ours(struct epoll_event *events, int *count)
{
    int what = 0, left = 0;
    for (int i = 0; i < *count; i++) {
        uintptr_t mark = (uintptr_t)events[i].data.ptr - (uintptr_t)marks;
        if (mark < MARKS)
            what |= (int)mark;
        else
            events[left++] = events[i];
    }
    *count = left;
    return what;
}

/*
 * In place of the C library's: how gRPC waits. What came for gRPC at the same time goes first, once: of a worker that
 * has been killed the end of its connection is seen before its owner's {disconnect, …}.
 */
int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
    struct smx_waker *waker = atomic_load(&the_waker);
    int late = waker ? atomic_exchange(&waker->late, 0) : 0;
    int count = epoll_pwait(epoll, events, max, late != 0 ? 0 : timeout, NULL);
    smx_sockets_flush(); /* what a full one did not take */
    int what = count > 0 ? take_ours(events, &count) : 0;
    if (!waker)
        return count;
    if (is_loop)
        atomic_store(&waker->stdio_epoll, epoll);
    if (what != 0 && count > 0 && late == 0)
        atomic_fetch_or(&waker->late, what);
    else if ((what | late) != 0)
        wake(waker, what | late);
    return count;
}

static void *run(void *argument)
{
    struct smx_waker *waker = argument;
    for (;;) {
        struct epoll_event events[4];
        int count = epoll_pwait(waker->epoll, events, 4, -1, NULL);
        int what = count > 0 ? take_ours(events, &count) : 0;
        if (what & QUIT)
            return NULL;
        if (what & SMX_WAKE_STOP) {
            struct signalfd_siginfo info;
            if (read(waker->signals, &info, sizeof(info)) < 0)
                what &= ~SMX_WAKE_STOP;
        }
        if (what != 0)
            wake(waker, what);
    }
}

sigset_t smx_waker_block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

struct smx_waker *smx_waker_new(struct grpc_completion_queue *queue, int in, int out, struct smx_completion *completion)
{
    struct smx_waker *waker = smx_alloc(sizeof(*waker));
    sigset_t signals = smx_waker_block_signals();
    waker->completion = completion;
    waker->in = in;
    waker->out = out;
    waker->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    waker->quit = eventfd(0, EFD_CLOEXEC);
    waker->epoll = epoll_create1(EPOLL_CLOEXEC);
    waker->stdio_epoll = waker->epoll;
    if (waker->signals < 0 || waker->quit < 0 || waker->epoll < 0)
        smx_abort("no file descriptor to wait with: %s", strerror(errno));
    waker->channel = grpc_lame_client_channel_create("waker", GRPC_STATUS_UNAVAILABLE, "");
    waker->call = grpc_channel_create_call(waker->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
                                           grpc_slice_from_static_string("/waker"), NULL,
                                           gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    watch(waker, waker->epoll, waker->signals, EPOLLIN, SMX_WAKE_STOP);
    watch(waker, waker->epoll, waker->quit, EPOLLIN, QUIT);
    smx_waker_want_read(waker);
    is_loop = true;
    atomic_store(&the_waker, waker);
    if (pthread_create(&waker->thread, NULL, run, waker) != 0)
        smx_abort("no thread to wait with");
    return waker;
}

void smx_waker_free(struct smx_waker *waker)
{
    uint64_t one = 1;
    atomic_store(&the_waker, NULL);
    epoll_ctl(waker->stdio_epoll, EPOLL_CTL_DEL, waker->in, NULL);
    epoll_ctl(waker->stdio_epoll, EPOLL_CTL_DEL, waker->out, NULL);
    if (write(waker->quit, &one, sizeof(one)) != sizeof(one))
        smx_abort("the waiting thread can't be ended: %s", strerror(errno));
    pthread_join(waker->thread, NULL);
    close(waker->epoll);
    close(waker->quit);
    close(waker->signals);
    grpc_call_unref(waker->call);
    grpc_channel_destroy(waker->channel);
    free(waker);
}

int smx_waker_take(struct smx_waker *waker)
{
    return atomic_exchange(&waker->happened, 0);
}

void smx_waker_want_read(struct smx_waker *waker)
{
    watch(waker, waker->stdio_epoll, waker->in, EPOLLIN | EPOLLONESHOT, SMX_WAKE_READABLE);
}

void smx_waker_want_write(struct smx_waker *waker)
{
    watch(waker, waker->stdio_epoll, waker->out, EPOLLOUT | EPOLLONESHOT, SMX_WAKE_WRITABLE);
}

void smx_waker_watch_end(struct smx_waker *waker, int pipe)
{
    watch(waker, waker->epoll, pipe, EPOLLONESHOT, SMX_WAKE_HANGUP); /* its error comes without being asked for */
}
