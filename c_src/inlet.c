/*
 * Owns what is known of the bytes of each connection; knows HTTP/2's frames, and nothing of gRPC.
 *
 * gRPC looks at the size of headers a frame at a time, and keeps what CONTINUATION after CONTINUATION brings, most of
 * it outside the quota of the channel: a worker that never ends its headers fills the machine. HTTP/2 lets nothing else
 * come on that connection meanwhile, so that closing it takes nothing from its other calls that they still had. gRPC
 * has no place to look at the bytes. It reads them with recvmsg, and the program's own is found before the C library's.
 */
#undef _GNU_SOURCE      /* with it the C library declares connect with a union */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): that is its name */
#include "inlet.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_FDS = 1 << 20,    /* the most that Linux gives to a process; pages never touched cost nothing */
    TLS_HANDSHAKE = 0x16, /* a frame would be over a MiB, which gRPC refuses */
    FRAME_HEADERS = 1,
    FRAME_PUSH_PROMISE = 5,
    FRAME_CONTINUATION = 9,
};

/* By fd, which gRPC reads in one thread at a time; what the last one wrote goes to the next through `ours`. */
static struct smx_inlet inlets[MAX_FDS];
static atomic_bool ours[MAX_FDS]; /* opened from here */

static bool begin_frame(struct smx_inlet *inlet)
{
    const uint8_t *head = inlet->head;
    inlet->head_len = 0;
    inlet->left = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    inlet->opaque = head[0] == TLS_HANDSHAKE;
    uint8_t kind = head[3];
    if (kind == FRAME_HEADERS || kind == FRAME_PUSH_PROMISE)
        inlet->block = 0;
    else if (kind != FRAME_CONTINUATION)
        return true;
    inlet->block += inlet->left + SMX_INLET_FRAME_COST;
    return inlet->block <= SMX_INLET_MAX_BLOCK;
}

bool smx_inlet_take(struct smx_inlet *inlet, const uint8_t *data, size_t len)
{
    while (len > 0 && !inlet->over && !inlet->opaque) {
        size_t wanted = inlet->left > 0 ? inlet->left : SMX_INLET_HEAD - (size_t)inlet->head_len;
        size_t part = len < wanted ? len : wanted;
        if (inlet->left > 0) {
            inlet->left -= (uint32_t)part;
        } else {
            memcpy(inlet->head + inlet->head_len, data, part);
            inlet->head_len += (uint8_t)part;
            inlet->over = inlet->head_len == SMX_INLET_HEAD && !begin_frame(inlet);
        }
        data += part;
        len -= part;
    }
    return !inlet->over;
}

static bool take_parts(struct smx_inlet *inlet, const struct msghdr *message, size_t len)
{
    for (size_t i = 0; len > 0 && i < message->msg_iovlen; i++) {
        const struct iovec *part = &message->msg_iov[i];
        size_t part_len = part->iov_len < len ? part->iov_len : len;
        if (!smx_inlet_take(inlet, part->iov_base, part_len))
            return false;
        len -= part_len;
    }
    return true;
}

/* In place of the C library's: what gRPC opens. */
int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (fd >= 0 && fd < MAX_FDS) {
        atomic_load_explicit(&ours[fd], memory_order_acquire);
        inlets[fd] = (struct smx_inlet){0};
        atomic_store_explicit(&ours[fd], true, memory_order_release);
    }
    return (int)syscall(SYS_connect, fd, to, len);
}

/* In place of the C library's: what gRPC reads. It asks for timestamps with flags, perhaps in another thread. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (flags != 0 || fd < 0 || fd >= MAX_FDS || !atomic_load_explicit(&ours[fd], memory_order_acquire))
        return syscall(SYS_recvmsg, fd, message, flags);
    struct smx_inlet *inlet = &inlets[fd];
    ssize_t len = inlet->over ? 0 : syscall(SYS_recvmsg, fd, message, flags);
    if (len > 0 && !take_parts(inlet, message, (size_t)len)) {
        smx_log("a worker sent headers without end: its connection is closed");
        len = 0;
    }
    atomic_store_explicit(&ours[fd], true, memory_order_release);
    return len;
}
