/*
 * Owns the connections that gRPC opens, by fd; knows nothing of gRPC.
 *
 * gRPC has no place to look at the bytes, and writes each call by itself. It does both through the C library, and the
 * program's own functions are found before the library's: headers without end are seen in recvmsg, and sendmsg keeps
 * what the loop causes until its turn ends or there is enough, so that one system call takes several requests.
 */
#undef _GNU_SOURCE      /* with it the C library declares connect with a union */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): that is its name */
#include "sockets.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "inlet.h"
#include "outlet.h"

enum { MAX_FDS = 1 << 20 }; /* the most that Linux gives to a process; pages never touched cost nothing */

/* What gRPC reads of a connection it reads in one thread at a time; the last one's goes to the next through `ours`. */
static struct smx_inlet inlets[MAX_FDS];
static atomic_bool ours[MAX_FDS]; /* opened from here */

/* The lock is for all that follows. A connection is listed while something of it is kept. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct smx_outlet outlets[MAX_FDS];
static struct smx_buffer listed; /* of ints */
static atomic_bool is_listed;

static _Thread_local bool keeps;

static bool is_ours(int fd)
{
    return fd >= 0 && fd < MAX_FDS && atomic_load_explicit(&ours[fd], memory_order_acquire);
}

void smx_sockets_keep(bool keep)
{
    keeps = keep;
}

void smx_sockets_flush(void)
{
    if (!atomic_load(&is_listed))
        return;
    pthread_mutex_lock(&lock);
    int *fds = (int *)(void *)listed.data;
    size_t count = listed.len / sizeof(int), left = 0;
    for (size_t i = 0; i < count; i++) {
        struct smx_outlet *outlet = &outlets[fds[i]];
        outlet->listed = !smx_outlet_flush(outlet, fds[i]);
        if (outlet->listed)
            fds[left++] = fds[i];
    }
    listed.len = left * sizeof(int);
    atomic_store(&is_listed, left > 0);
    pthread_mutex_unlock(&lock);
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

/* In place of the C library's: what is kept for that fd must not go to the next one of its number. */
int close(int fd)
{
    if (is_ours(fd)) {
        pthread_mutex_lock(&lock);
        smx_outlet_flush(&outlets[fd], fd);
        smx_outlet_fini(&outlets[fd]);
        atomic_store_explicit(&ours[fd], false, memory_order_release);
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_close, fd);
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

/* In place of the C library's: what gRPC reads. It asks for timestamps with flags, perhaps in another thread. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (flags != 0 || !is_ours(fd))
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

/* In place of the C library's: what gRPC writes. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!is_ours(fd))
        return syscall(SYS_sendmsg, fd, message, flags);
    pthread_mutex_lock(&lock);
    struct smx_outlet *outlet = &outlets[fd];
    ssize_t sent = smx_outlet_send(outlet, fd, message, flags, keeps);
    int error = errno;
    if (outlet->kept.len > 0 && !outlet->listed) {
        outlet->listed = true;
        smx_buffer_append(&listed, &fd, sizeof(fd));
        atomic_store(&is_listed, true);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return sent;
}
