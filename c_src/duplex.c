/* Owns the reading and the writing of bytes; knows nothing of what the frames say. */
#include "duplex.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "waker.h"

enum {
    /* With 64 KiB, as it comes, a large chunk costs a third more; and a small event waits behind what is in it. */
    PIPE_SIZE = 1 << 18,
    NARROW_PIPE_SIZE = 1 << 17,
    TURN_READ = 4 << 20,      /* bytes in one turn */
    COMPACT_OUTPUT = 1 << 20, /* written bytes kept in front of the waiting ones */
    KEPT_OUTPUT = 4 << 20,    /* a larger buffer is given back when it is empty */
};

static void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void smx_duplex_init(struct smx_duplex *duplex, int in, int out, size_t max_frame)
{
    *duplex = (struct smx_duplex){.in = in, .out = out};
    set_nonblocking(in);
    set_nonblocking(out);
    fcntl(out, F_SETPIPE_SZ, PIPE_SIZE); /* if it may */
    smx_frame_reader_init(&duplex->reader, max_frame);
}

void smx_duplex_fini(struct smx_duplex *duplex)
{
    smx_frame_reader_fini(&duplex->reader);
    smx_buffer_fini(&duplex->output);
}

bool smx_duplex_read(struct smx_duplex *duplex,
                     void (*take)(void *owner, struct smx_span frame, enum smx_frame_kind kind), void *owner)
{
    for (size_t total = 0; total < TURN_READ;) {
        size_t space;
        struct smx_span frame;
        enum smx_frame_kind kind;
        uint8_t *at = smx_frame_reader_space(&duplex->reader, &space);
        ssize_t len = read(duplex->in, at, space);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && errno == EAGAIN)
            break;
        if (len <= 0)
            return false;
        smx_frame_reader_fed(&duplex->reader, (size_t)len);
        while ((kind = smx_frame_reader_next(&duplex->reader, &frame)) != SMX_FRAME_NONE)
            take(owner, frame, kind);
        total += (size_t)len;
        duplex->taken += (size_t)len;
        if ((size_t)len < space)
            break; /* most likely all there is; if not, the waker says so at once */
    }
    if (duplex->unwatched)
        smx_waker_want_read(duplex->waker);
    duplex->unwatched = false;
    return true;
}

static void compact(struct smx_duplex *duplex)
{
    if (duplex->written == duplex->output.len) {
        duplex->output.len = duplex->written = 0;
        if (duplex->output.cap > KEPT_OUTPUT)
            smx_buffer_fini(&duplex->output);
    } else if (duplex->written > COMPACT_OUTPUT && duplex->written > duplex->output.len / 2) {
        smx_buffer_drop(&duplex->output, duplex->written);
        duplex->written = 0;
    }
}

bool smx_duplex_write(struct smx_duplex *duplex)
{
    bool heard = true;
    while (!duplex->blocked && duplex->written < duplex->output.len) {
        if (duplex->deaf) {
            duplex->written = duplex->output.len;
            break;
        }
        ssize_t len = write(duplex->out, duplex->output.data + duplex->written, duplex->output.len - duplex->written);
        if (len >= 0) {
            duplex->written += (size_t)len;
        } else if (errno == EAGAIN) {
            duplex->blocked = true;
            smx_waker_want_write(duplex->waker);
        } else if (errno != EINTR) {
            duplex->deaf = true;
            heard = false;
        }
    }
    compact(duplex);
    return heard;
}

void smx_duplex_narrow(struct smx_duplex *duplex, bool narrow)
{
    /* While it holds more than it would, it stays as it is. */
    if (duplex->narrow != narrow && fcntl(duplex->out, F_SETPIPE_SZ, narrow ? NARROW_PIPE_SIZE : PIPE_SIZE) > 0)
        duplex->narrow = narrow;
}

size_t smx_duplex_waiting(const struct smx_duplex *duplex)
{
    return duplex->output.len - duplex->written;
}
