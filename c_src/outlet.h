/* What goes to workers: small writes are kept, to be written together. */
#ifndef SMX_OUTLET_H
#define SMX_OUTLET_H

#include <sys/socket.h>

#include "util.h"

/* As much is kept: a few small calls, so that the worker begins while the others are still being written. */
enum { SMX_OUTLET_ENOUGH = 512 };

/* One connection, all zero at its start. */
struct smx_outlet {
    struct smx_buffer kept;
    int error;   /* what the last write said; EAGAIN: the socket is full */
    bool listed; /* for whoever lists those that keep something */
};

void smx_outlet_fini(struct smx_outlet *outlet);

/* As sendmsg. With `keep` what is small is kept, until there is enough. */
ssize_t smx_outlet_send(struct smx_outlet *outlet, int fd, const struct msghdr *message, int flags, bool keep);

/* True when nothing is kept any more. */
bool smx_outlet_flush(struct smx_outlet *outlet, int fd);

#endif
