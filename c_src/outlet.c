/* Owns what waits to be written to one connection; knows nothing of what it says. */
#include "outlet.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

void smx_outlet_fini(struct smx_outlet *outlet)
{
    smx_buffer_fini(&outlet->kept);
    outlet->error = 0;
}

/* False when the socket takes no more. */
static bool write_kept(struct smx_outlet *outlet, int fd)
{
    ssize_t sent = send(fd, outlet->kept.data, outlet->kept.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR)
        return true;
    outlet->error = sent < 0 ? errno : 0;
    if (sent > 0)
        smx_buffer_drop(&outlet->kept, (size_t)sent);
    return sent >= 0;
}

bool smx_outlet_flush(struct smx_outlet *outlet, int fd)
{
    while (outlet->kept.len > 0 && write_kept(outlet, fd))
        continue;
    if (outlet->error != 0 && outlet->error != EAGAIN)
        outlet->kept.len = 0; /* gRPC hears of it when it writes next, or reads */
    return outlet->kept.len == 0;
}

static size_t length_of(const struct msghdr *message)
{
    size_t len = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        len += message->msg_iov[i].iov_len;
    return len;
}

static void keep_all(struct smx_buffer *kept, const struct msghdr *message)
{
    for (size_t i = 0; i < message->msg_iovlen; i++)
        smx_buffer_append(kept, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
}

ssize_t smx_outlet_send(struct smx_outlet *outlet, int fd, const struct msghdr *message, int flags, bool keep)
{
    size_t len = length_of(message);
    if (keep && outlet->error == 0 && len < SMX_OUTLET_ENOUGH && message->msg_controllen == 0) {
        keep_all(&outlet->kept, message);
        if (outlet->kept.len >= SMX_OUTLET_ENOUGH)
            smx_outlet_flush(outlet, fd);
        return (ssize_t)len;
    }
    smx_outlet_flush(outlet, fd);
    if (outlet->error == 0)
        return syscall(SYS_sendmsg, fd, message, flags);
    errno = outlet->error;
    return -1;
}
