/*
 * Owns the bytes on their way from a worker's output to ours.
 * Must not know what they mean, nor what becomes of the worker.
 */
#include "pump.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

void smx_pump_init(struct smx_pump *pump, int in, int out)
{
    pump->in = in;
    pump->out = out;
    pump->broken = false;
    pump->at = pump->len = 0;
    fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
}

void smx_pump_fini(struct smx_pump *pump)
{
    if (pump->in >= 0)
        close(pump->in);
    pump->in = -1;
}

void smx_pump_prepare(const struct smx_pump *pump, struct pollfd fds[2])
{
    bool waiting = pump->at < pump->len;
    fds[0] = (struct pollfd){.fd = waiting ? -1 : pump->in, .events = POLLIN};
    /* Without events it still tells that the reader has gone. */
    fds[1] = (struct pollfd){.fd = pump->broken ? -1 : pump->out, .events = waiting ? POLLOUT : 0};
}

static void pump_read(struct smx_pump *pump)
{
    ssize_t len = read(pump->in, pump->bytes, sizeof(pump->bytes));
    if (len > 0) {
        pump->at = 0;
        pump->len = pump->broken ? 0 : (size_t)len;
    } else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
        smx_pump_fini(pump);
    }
}

static void pump_write(struct smx_pump *pump)
{
    /* A pipe that polls writable takes PIPE_BUF bytes without blocking, and not surely one more. */
    size_t waiting = pump->len - pump->at;
    ssize_t len = write(pump->out, pump->bytes + pump->at, waiting < PIPE_BUF ? waiting : PIPE_BUF);
    if (len > 0)
        pump->at += (size_t)len;
    else if (len < 0 && errno != EAGAIN && errno != EINTR)
        pump->broken = true;
}

void smx_pump_move(struct smx_pump *pump, const struct pollfd fds[2])
{
    if (fds[1].fd >= 0 && (fds[1].revents & (POLLERR | POLLNVAL)))
        pump->broken = true;
    else if (fds[1].fd >= 0 && (fds[1].revents & POLLOUT))
        pump_write(pump);
    if (pump->broken)
        pump->at = pump->len = 0;
    if (fds[0].fd >= 0 && fds[0].revents)
        pump_read(pump);
}

void smx_pump_drain(struct smx_pump *pump, int64_t ms)
{
    int64_t deadline = smx_now_ms() + ms;
    while (!pump->broken) {
        struct pollfd fds[2];
        smx_pump_prepare(pump, fds);
        bool waiting = fds[1].events != 0;
        int64_t left = deadline - smx_now_ms();
        if ((!waiting && pump->in < 0) || left <= 0)
            return;
        int ready = poll(fds, 2, waiting ? (int)left : 0);
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return;
        if (ready > 0)
            smx_pump_move(pump, fds);
    }
}
