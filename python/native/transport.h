/*
 * The I/O thread with its connections. It never takes the GIL, and owns all that is below under one mutex, which it
 * holds whenever it does not sleep in epoll; while it sleeps, a thread of Python may send answers in its place.
 */
#ifndef SMX_TRANSPORT_H
#define SMX_TRANSPORT_H

#include "exchange.h"
#include "listener.h"

struct smx_connection;

struct smx_transport {
    struct smx_exchange *exchange;
    struct smx_info *info;
    size_t max_message;

    pthread_mutex_t lock;
    pthread_t thread;
    bool is_running;
    int epoll_fd;
    int io_fd;
    struct smx_listener listener;
    struct smx_timer accept_again;
    struct smx_timers timers;
    struct smx_connection *connections;
    struct smx_connection *dirty; /* have something to be sent */
    bool is_draining;
    bool is_ending;
    int64_t give_up_us; /* when it ends with output that nobody takes */
    int bad_luck;       /* of looks: how many turns go without one after each, and how many are left */
    int blind_turns;
    uint8_t *input;
};

/* Listens; the thread starts with smx_transport_start. False with a text in `why`. */
bool smx_transport_init(struct smx_transport *transport, struct smx_exchange *exchange, struct smx_info *info,
                        size_t max_message, const char *address, struct smx_buffer *why);
/* False with errno. */
bool smx_transport_start(struct smx_transport *transport);
/* Sends the answers there are, from a thread that does not hold the GIL; leaves it to the I/O thread if that is awake.
 */
void smx_transport_flush(struct smx_transport *transport);
/* No more connections, and GOAWAY on those there are: running calls go on. */
void smx_transport_drain(struct smx_transport *transport);
/* Ends all running calls. */
void smx_transport_cancel(struct smx_transport *transport);
/* Ends the thread, once it has sent what it has; waits for it. In a forked child there is nothing to wait for. */
void smx_transport_fini(struct smx_transport *transport, bool is_child);
/* In a forked child: closes all sockets, so that peers see the end of the parent. */
void smx_transport_abandon(struct smx_transport *transport);

/* For connections. */
void smx_transport_touch(struct smx_transport *transport, struct smx_connection *connection);

#endif
