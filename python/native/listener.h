/* The address that a server listens on: unix:/path, unix-abstract:name, host:port. */
#ifndef SMX_LISTENER_H
#define SMX_LISTENER_H

#include "util.h"

#include <sys/stat.h>

struct smx_listener {
    int *fds; /* one for each address that the host has */
    size_t count;
    int port;
    char *path; /* of a socket in the file system */
    struct stat file;
};

/* Binds and listens, non-blocking. False with a text for people in `why`. */
bool smx_listener_open(struct smx_listener *listener, const char *address, struct smx_buffer *why);
/* Also removes the socket from the file system, if it is still this one. */
void smx_listener_close(struct smx_listener *listener);
/* In a forked child: the sockets are the parent's. */
void smx_listener_abandon(struct smx_listener *listener);
/* The next connection, non-blocking; -1 with errno. */
int smx_listener_accept(struct smx_listener *listener);

#endif
