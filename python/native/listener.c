/* Owns the listening socket; knows addresses, not what is spoken. */
#include "listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static bool fail(struct smx_listener *listener, struct smx_buffer *why, const char *text)
{
    smx_buffer_append_span(why, smx_span_of(text));
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
    return false;
}

static bool bind_and_listen(struct smx_listener *listener, const struct sockaddr *address, socklen_t len,
                            struct smx_buffer *why)
{
    listener->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    /* For a port that is still in TIME_WAIT; two listeners can't share one by this. */
    if (listener->fd < 0 ||
        (address->sa_family != AF_UNIX && setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) ||
        bind(listener->fd, address, len) != 0 || listen(listener->fd, BACKLOG) != 0)
        return fail(listener, why, strerror(errno));
    return true;
}

static bool open_unix(struct smx_listener *listener, const char *name, bool is_abstract, struct smx_buffer *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if (len == 0 || len + 1 >= sizeof(address.sun_path))
        return fail(listener, why, len == 0 ? "it names no socket" : "its path is too long for a socket");
    memcpy(address.sun_path + is_abstract, name, len);
    struct stat old;
    /* What a worker that was killed has left. */
    if (!is_abstract && stat(name, &old) == 0 && S_ISSOCK(old.st_mode))
        unlink(name);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (!bind_and_listen(listener, (struct sockaddr *)&address, size, why))
        return false;
    if (!is_abstract && stat(name, &listener->file) == 0) {
        listener->path = smx_alloc(len + 1);
        memcpy(listener->path, name, len);
    }
    return true;
}

static bool open_port(struct smx_listener *listener, const char *address, struct smx_buffer *why)
{
    const char *colon = strrchr(address, ':');
    char host[256] = "";
    if (!colon || (size_t)(colon - address) >= sizeof(host))
        return fail(listener, why, "it is neither host:port nor unix:/path");
    bool bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    memcpy(host, address + bracketed, (size_t)(colon - address) - 2 * (size_t)bracketed);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int status = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found);
    if (status != 0)
        return fail(listener, why, gai_strerror(status));
    bool ok = false;
    for (struct addrinfo *at = found; at && !ok; at = at->ai_next) {
        why->len = 0;
        ok = bind_and_listen(listener, at->ai_addr, at->ai_addrlen, why);
    }
    freeaddrinfo(found);
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {0};
    socklen_t len = sizeof(bound);
    if (ok && getsockname(listener->fd, &bound.any, &len) == 0)
        listener->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return ok;
}

bool smx_listener_open(struct smx_listener *listener, const char *address, struct smx_buffer *why)
{
    *listener = (struct smx_listener){.fd = -1};
    if (strncmp(address, "unix:", 5) == 0)
        return open_unix(listener, strncmp(address + 5, "///", 3) == 0 ? address + 7 : address + 5, false, why);
    if (strncmp(address, "unix-abstract:", 14) == 0)
        return open_unix(listener, address + 14, true, why);
    return open_port(listener, address, why);
}

void smx_listener_close(struct smx_listener *listener)
{
    struct stat now;
    if (listener->path && stat(listener->path, &now) == 0 && now.st_ino == listener->file.st_ino &&
        now.st_dev == listener->file.st_dev)
        unlink(listener->path);
    smx_listener_abandon(listener);
    free(listener->path);
    listener->path = NULL;
}

void smx_listener_abandon(struct smx_listener *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

int smx_listener_accept(struct smx_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int on = 1;
    if (fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return fd; /* a unix socket has no such delay */
    return fd;
}
