/* Owns the listening sockets; knows addresses, not what is spoken. */
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

enum { BACKLOG = 1024, TRIES = 16 };

static bool fail(struct smx_listener *listener, struct smx_buffer *why, const char *text)
{
    smx_buffer_append_span(why, smx_span_of(text));
    smx_listener_abandon(listener);
    return false;
}

/* False with errno. */
static bool open_socket(struct smx_listener *listener, const struct sockaddr *address, socklen_t len)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    /* For a port that is still in TIME_WAIT; two listeners can't share one by this. */
    if (fd < 0 || (address->sa_family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) ||
        bind(fd, address, len) != 0 || listen(fd, BACKLOG) != 0) {
        int reason = errno;
        if (fd >= 0)
            close(fd);
        errno = reason;
        return false;
    }
    listener->fds = smx_realloc(listener->fds, (listener->count + 1) * sizeof(*listener->fds));
    listener->fds[listener->count++] = fd;
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
    if (!open_socket(listener, (struct sockaddr *)&address, size))
        return fail(listener, why, strerror(errno));
    if (!is_abstract && stat(name, &listener->file) == 0) {
        listener->path = smx_alloc(len + 1);
        memcpy(listener->path, name, len);
    }
    return true;
}

static in_port_t *port_of(struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)address)->sin6_port
                                          : &((struct sockaddr_in *)address)->sin_port;
}

/* glibc names 127.0.0.1 twice where /etc/hosts has localhost for it and for ::1. */
static bool is_repeated(const struct addrinfo *found, const struct addrinfo *at)
{
    while (found != at &&
           (found->ai_addrlen != at->ai_addrlen || memcmp(found->ai_addr, at->ai_addr, at->ai_addrlen) != 0))
        found = found->ai_next;
    return found != at;
}

/* On all addresses that this machine has, with one port, which the first may choose. False with errno. */
static bool open_all(struct smx_listener *listener, const struct addrinfo *found, in_port_t port)
{
    for (const struct addrinfo *at = found; at; at = at->ai_next) {
        socklen_t len = at->ai_addrlen;
        *port_of(at->ai_addr) = port;
        if (is_repeated(found, at))
            continue;
        if (!open_socket(listener, at->ai_addr, len)) {
            if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
                return false;
        } else if (getsockname(listener->fds[listener->count - 1], at->ai_addr, &len) == 0)
            port = *port_of(at->ai_addr);
    }
    listener->port = ntohs(port);
    return listener->count > 0;
}

static bool open_port(struct smx_listener *listener, const char *address, struct smx_buffer *why)
{
    const char *colon = strrchr(address, ':');
    char host[256] = "";
    if (!colon || colon == address || (size_t)(colon - address) >= sizeof(host))
        return fail(listener, why, "it is neither host:port nor unix:/path");
    bool bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    memcpy(host, address + bracketed, (size_t)(colon - address) - 2 * (size_t)bracketed);
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int status = getaddrinfo(host, colon + 1, &hints, &found);
    if (status != 0)
        return fail(listener, why, gai_strerror(status));
    in_port_t port = *port_of(found->ai_addr);
    bool ok = open_all(listener, found, port);
    /* One that was free for the first address may be taken at another. */
    for (int i = 0; i < TRIES && !ok && port == 0 && errno == EADDRINUSE; i++) {
        smx_listener_abandon(listener);
        ok = open_all(listener, found, port);
    }
    int reason = errno;
    freeaddrinfo(found);
    return ok || fail(listener, why, strerror(reason));
}

bool smx_listener_open(struct smx_listener *listener, const char *address, struct smx_buffer *why)
{
    *listener = (struct smx_listener){0};
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
    for (size_t i = 0; i < listener->count; i++)
        close(listener->fds[i]);
    free(listener->fds);
    listener->fds = NULL;
    listener->count = 0;
}

int smx_listener_accept(struct smx_listener *listener)
{
    int fd = -1, on = 1;
    errno = EAGAIN;
    for (size_t i = 0; i < listener->count && fd < 0 && errno == EAGAIN; i++)
        fd = accept4(listener->fds[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return fd; /* a unix socket has no such delay */
    return fd;
}
