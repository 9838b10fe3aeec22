/* Owns stdio and the completion queue; knows nothing of what the frames say. */
#include "loop.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <sched.h>

#include "bridge.h"
#include "completion.h"
#include "duplex.h"
#include "sockets.h"
#include "waker.h"

enum {
    FLUSH_MS = 200,        /* after the owner left: for the last cancellations and events */
    TURN_PARTS = 4,        /* of large events, written in one turn when nothing else comes */
    TURN_COMPLETIONS = 16, /* taken in one turn before what came of them is written: others work on it meanwhile */
    SPIN_US = 150,         /* after a turn that had something to do: another one is near */
    SPIN_CALLS = 12,       /* with more of them others have enough to do meanwhile */
    TURN_OUTPUT = 1 << 20, /* bytes for stdout made in one turn, at most one event more */
};

/*
 * Debian builds abseil with its checks for debugging: the search for deadlocks at every lock is a twentieth of a call,
 * and locks a graph that all threads share. There where this name is none there is nothing to be switched off.
 */
enum { IGNORE_DEADLOCKS = 0 };
extern void
set_deadlock_detection(int mode) __asm__("_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE")
    __attribute__((weak));

struct loop {
    grpc_completion_queue *queue;
    struct smx_waker *waker;
    struct smx_completion wake;
    struct smx_duplex stdio;
    const struct smx_front *front;
    struct smx_bridge bridge;
    bool unread; /* stdin has something that must wait */
    bool stopping;
    int64_t stop_at_ms;
    int64_t spin_until_us;
};

static void stop(struct loop *loop)
{
    if (loop->stopping)
        return;
    loop->stopping = true;
    loop->stop_at_ms = smx_now_ms() + FLUSH_MS;
    if (loop->front->stop)
        loop->front->stop(loop->front->self);
    smx_bridge_stop(&loop->bridge);
}

static void take_frame(void *owner, struct smx_span frame, enum smx_frame_kind kind)
{
    struct loop *loop = owner;
    loop->front->frame(loop->front->self, frame, kind, loop->stdio.reader.len, loop->stdio.reader.max_frame);
}

/* Bytes that wait in the front for their turn. */
static size_t held(const struct loop *loop)
{
    return loop->front->held ? loop->front->held(loop->front->self) : 0;
}

static size_t waiting(const struct loop *loop)
{
    return smx_duplex_waiting(&loop->stdio) + held(loop);
}

/* What goes in parts is made when there is room for it, so that whatever comes meanwhile overtakes it. */
static bool write_parts(struct loop *loop)
{
    const struct smx_front *front = loop->front;
    bool heard = true, mixed = false;
    for (int i = 0; i < TURN_PARTS && heard && !mixed && smx_duplex_waiting(&loop->stdio) == 0 && held(loop) > 0; i++) {
        mixed = front->is_mixed(front->self);
        smx_duplex_narrow(&loop->stdio, mixed);
        front->more(front->self);
        heard = smx_duplex_write(&loop->stdio);
    }
    return heard;
}

static void write_output(struct loop *loop)
{
    loop->front->flush(loop->front->self);
    if (held(loop) == 0)
        smx_duplex_narrow(&loop->stdio, false);
    bool heard = smx_duplex_write(&loop->stdio) && write_parts(loop);
    if (!heard)
        stop(loop);
}

/*
 * Calls ask for no more answers long before this, so that it is an owner that asks and asks and never reads what it is
 * told: only then stdin is not read either.
 */
static bool is_flooded(const struct loop *loop)
{
    return waiting(loop) > 2 * loop->bridge.limits.max_buffered;
}

static void read_input(struct loop *loop)
{
    loop->unread = is_flooded(loop);
    if (!loop->unread && !smx_duplex_read(&loop->stdio, take_frame, loop))
        stop(loop);
}

static void on_wake(void *owner, bool ok)
{
    struct loop *loop = owner;
    (void)ok;
    int what = smx_waker_take(loop->waker);
    if (what & SMX_WAKE_WRITABLE)
        loop->stdio.blocked = false;
    if (what & SMX_WAKE_READABLE)
        loop->stdio.unwatched = true;
    if (what & SMX_WAKE_STOP)
        stop(loop);
    if ((what & SMX_WAKE_HANGUP) && !loop->stopping)
        loop->front->hangup(loop->front->self);
    if ((what & SMX_WAKE_READABLE) && !loop->stopping)
        read_input(loop);
}

static gpr_timespec next_deadline(const struct loop *loop)
{
    int64_t at = smx_bridge_next(&loop->bridge);
    if (loop->stopping && (at < 0 || at > loop->stop_at_ms))
        at = loop->stop_at_ms;
    if (held(loop) > 0 && smx_duplex_waiting(&loop->stdio) == 0)
        return gpr_inf_past(GPR_CLOCK_MONOTONIC); /* it could be written */
    if (at < 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    int64_t wait = at - smx_now_ms();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(wait < 0 ? 0 : wait + 1, GPR_TIMESPAN));
}

/* One completion, if one comes before the deadline. */
static bool take_completion(struct loop *loop, gpr_timespec deadline)
{
    smx_sockets_keep(false); /* it may sleep after it has written */
    grpc_event event = grpc_completion_queue_next(loop->queue, deadline, NULL);
    smx_sockets_keep(true);
    if (event.type != GRPC_OP_COMPLETE)
        return false;
    struct smx_completion *completion = event.tag;
    completion->run(completion->owner, event.success);
    return true;
}

/* Whether the owner has said something. gRPC would need a wake-up and a new watch to tell. */
static bool take_input(struct loop *loop)
{
    uint64_t before = loop->stdio.taken;
    if (loop->stopping)
        return false;
    read_input(loop);
    return loop->stopping || loop->stdio.taken != before;
}

/*
 * To be woken takes longer than most workers and callers take for their next word. Who else wants the core has it.
 * While no call is under way, and nothing waits for stdout, only the owner is near.
 */
static bool spin(struct loop *loop)
{
    while (held(loop) == 0 && smx_now_us() < loop->spin_until_us) {
        bool awaited = loop->bridge.requests.count > 0 || smx_duplex_waiting(&loop->stdio) > 0;
        if ((awaited && take_completion(loop, gpr_inf_past(GPR_CLOCK_MONOTONIC))) || take_input(loop))
            return true;
        sched_yield();
    }
    return false;
}

static void turn(struct loop *loop)
{
    gpr_timespec now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    size_t full = loop->stdio.output.len + TURN_OUTPUT;
    bool taken = spin(loop) || take_completion(loop, next_deadline(loop));
    if (taken)
        for (int i = 1; i < TURN_COMPLETIONS && (i == 1 || loop->stdio.output.len < full); i++)
            if (!take_completion(loop, now))
                break;
    bool spins = taken && loop->bridge.requests.count <= SPIN_CALLS;
    loop->spin_until_us = spins ? smx_now_us() + SPIN_US : 0;
    smx_timers_run(&loop->bridge.timers, smx_now_ms());
    smx_sockets_flush();
    write_output(loop);
    if (loop->unread && !loop->stopping)
        read_input(loop);
    smx_bridge_turn(&loop->bridge, waiting(loop));
    smx_sockets_flush();
}

static bool is_over(const struct loop *loop)
{
    if (!loop->stopping)
        return false;
    bool flushed = waiting(loop) == 0;
    return (flushed && smx_bridge_is_idle(&loop->bridge)) || smx_now_ms() >= loop->stop_at_ms;
}

/* Frees everything when nothing is outstanding; else the exit of the process does. */
static void fini(struct loop *loop)
{
    bool idle = smx_bridge_is_idle(&loop->bridge);
    smx_waker_free(loop->waker);
    smx_duplex_fini(&loop->stdio);
    if (!idle)
        return;
    smx_bridge_fini(&loop->bridge);
    grpc_completion_queue_shutdown(loop->queue);
    gpr_timespec forever = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    while (grpc_completion_queue_next(loop->queue, forever, NULL).type != GRPC_QUEUE_SHUTDOWN)
        continue;
    grpc_completion_queue_destroy(loop->queue);
    grpc_shutdown();
}

int smx_loop_run(const struct smx_limits *limits, const struct smx_front *front, int in, int out)
{
    struct loop loop = {.front = front};
    loop.wake = (struct smx_completion){on_wake, &loop};
    smx_duplex_init(&loop.stdio, in, out, limits->max_frame);
    loop.stdio.reader.tail_size = front->tail_size;
    smx_waker_block_signals();
    if (set_deadlock_detection)
        set_deadlock_detection(IGNORE_DEADLOCKS);
    grpc_init();
    loop.queue = grpc_completion_queue_create_for_next(NULL);
    smx_bridge_init(&loop.bridge, limits, loop.queue, grpc_version_string(),
                    (struct smx_sink){front->emit, front->self});
    loop.waker = loop.stdio.waker = smx_waker_new(loop.queue, in, out, &loop.wake);
    front->start(front->self, &(struct smx_stage){
                                  .handler = {smx_bridge_handle, smx_bridge_is_live, &loop.bridge},
                                  .out = &loop.stdio.output,
                                  .timers = &loop.bridge.timers,
                                  .waker = loop.waker,
                              });
    smx_bridge_hello(&loop.bridge);
    write_output(&loop);
    while (!is_over(&loop))
        turn(&loop);
    fini(&loop);
    return 0;
}
