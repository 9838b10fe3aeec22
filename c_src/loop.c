/* Owns stdio and the completion queue; knows nothing of what the frames say. */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <string.h>
#include <unistd.h>

#include "bridge.h"
#include "completion.h"
#include "frame.h"
#include "waker.h"

enum {
    FLUSH_MS = 200,           /* after the owner left: for the last cancellations and events */
    TURN_COMPLETIONS = 256,   /* taken in one turn before stdio is looked at again */
    TURN_READ = 4 << 20,      /* bytes of stdin in one turn */
    COMPACT_OUTPUT = 1 << 20, /* written bytes kept in front of the waiting ones */
};

struct loop {
    grpc_completion_queue *queue;
    struct smx_waker *waker;
    struct smx_completion wake;
    struct smx_frame_reader reader;
    struct smx_buffer output;
    size_t written; /* bytes of output that are out already */
    bool blocked;   /* the waker tells when stdout can be written again */
    const struct smx_front *front;
    struct smx_bridge bridge;
    int in;
    int out;
    bool stopping;
    bool deaf; /* nobody reads stdout any more */
    int64_t stop_at_ms;
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

static void read_frames(struct loop *loop)
{
    struct smx_span frame;
    enum smx_frame_kind kind;
    while ((kind = smx_frame_reader_next(&loop->reader, &frame)) != SMX_FRAME_NONE)
        loop->front->frame(loop->front->self, frame, kind, loop->reader.max_frame);
}

static void read_input(struct loop *loop)
{
    for (size_t total = 0; total < TURN_READ && !loop->stopping;) {
        size_t space;
        uint8_t *at = smx_frame_reader_space(&loop->reader, &space);
        ssize_t len = read(loop->in, at, space);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && errno == EAGAIN)
            break;
        if (len <= 0) {
            stop(loop);
            return;
        }
        smx_frame_reader_fed(&loop->reader, (size_t)len);
        read_frames(loop);
        total += (size_t)len;
        if ((size_t)len < space)
            break; /* most likely all there is; if not, the waker says so at once */
    }
    smx_waker_want_read(loop->waker);
}

static void write_output(struct loop *loop)
{
    loop->front->flush(loop->front->self);
    while (!loop->blocked && loop->written < loop->output.len) {
        if (loop->deaf) {
            loop->written = loop->output.len;
            break;
        }
        ssize_t len = write(loop->out, loop->output.data + loop->written, loop->output.len - loop->written);
        if (len >= 0) {
            loop->written += (size_t)len;
        } else if (errno == EAGAIN) {
            loop->blocked = true;
            smx_waker_want_write(loop->waker);
        } else if (errno != EINTR) {
            loop->deaf = true;
            stop(loop);
        }
    }
    if (loop->written == loop->output.len) {
        loop->output.len = loop->written = 0;
        if (loop->output.cap > 4 * COMPACT_OUTPUT)
            smx_buffer_fini(&loop->output);
    } else if (loop->written > COMPACT_OUTPUT && loop->written > loop->output.len / 2) {
        smx_buffer_drop(&loop->output, loop->written);
        loop->written = 0;
    }
}

static void on_wake(void *owner, bool ok)
{
    struct loop *loop = owner;
    (void)ok;
    int what = smx_waker_take(loop->waker);
    if (what & SMX_WAKE_WRITABLE)
        loop->blocked = false;
    if (what & SMX_WAKE_STOP)
        stop(loop);
    if ((what & SMX_WAKE_HANGUP) && !loop->stopping)
        loop->front->hangup(loop->front->self);
    if (what & SMX_WAKE_READABLE)
        read_input(loop);
}

static gpr_timespec next_deadline(const struct loop *loop)
{
    int64_t at = smx_timers_next(&loop->bridge.timers);
    if (loop->stopping && (at < 0 || at > loop->stop_at_ms))
        at = loop->stop_at_ms;
    if (at < 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    int64_t wait = at - smx_now_ms();
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(wait < 0 ? 0 : wait + 1, GPR_TIMESPAN));
}

/* One completion, if one comes before the deadline. */
static bool take_completion(struct loop *loop, gpr_timespec deadline)
{
    grpc_event event = grpc_completion_queue_next(loop->queue, deadline, NULL);
    if (event.type != GRPC_OP_COMPLETE)
        return false;
    struct smx_completion *completion = event.tag;
    completion->run(completion->owner, event.success);
    return true;
}

static void turn(struct loop *loop)
{
    gpr_timespec now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    if (take_completion(loop, next_deadline(loop)))
        for (int i = 1; i < TURN_COMPLETIONS && take_completion(loop, now); i++)
            continue;
    smx_timers_run(&loop->bridge.timers, smx_now_ms());
    write_output(loop);
    smx_bridge_turn(&loop->bridge, loop->output.len - loop->written);
}

static bool is_over(const struct loop *loop)
{
    if (!loop->stopping)
        return false;
    bool flushed = loop->written == loop->output.len;
    return (flushed && smx_bridge_is_idle(&loop->bridge)) || smx_now_ms() >= loop->stop_at_ms;
}

/* Frees everything when nothing is outstanding; else the exit of the process does. */
static void fini(struct loop *loop)
{
    bool idle = smx_bridge_is_idle(&loop->bridge);
    smx_waker_free(loop->waker);
    smx_frame_reader_fini(&loop->reader);
    smx_buffer_fini(&loop->output);
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

static void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int smx_loop_run(const struct smx_limits *limits, const struct smx_front *front, int in, int out)
{
    struct loop loop = {.front = front, .in = in, .out = out};
    loop.wake = (struct smx_completion){on_wake, &loop};
    set_nonblocking(in);
    set_nonblocking(out);
    grpc_init();
    loop.queue = grpc_completion_queue_create_for_next(NULL);
    smx_frame_reader_init(&loop.reader, limits->max_frame);
    loop.reader.tail_size = front->tail_size;
    smx_bridge_init(&loop.bridge, limits, loop.queue, grpc_version_string(),
                    (struct smx_sink){front->emit, front->self});
    loop.waker = smx_waker_new(loop.queue, in, out, &loop.wake);
    front->start(front->self, &(struct smx_stage){
                                  .handler = {smx_bridge_handle, smx_bridge_is_live, &loop.bridge},
                                  .out = &loop.output,
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
