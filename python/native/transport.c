/* Owns the thread, the listener and the list of connections; knows epoll, not HTTP/2. */
#include "transport.h"

#include "connection.h"
#include "signal_fd.h"
#include "stream.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    ACCEPT_AGAIN_MS = 100,
    GIVE_UP_US = 500000,
    STACK = 256 * 1024,
    LOOK_US = 150,  /* after a turn that had something to do: the next call is near */
    MAX_BLIND = 31, /* turns without a look, where looks see nothing */
};

static bool watch_listener(struct smx_transport *transport, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = transport};
    bool ok = true;
    for (size_t i = 0; i < transport->listener.count; i++)
        ok = epoll_ctl(transport->epoll_fd, operation, transport->listener.fds[i], &event) == 0 && ok;
    return ok;
}

static void accept_again(void *owner)
{
    watch_listener(owner, EPOLL_CTL_MOD, EPOLLIN);
}

static void accept_all(struct smx_transport *transport)
{
    int fd;
    while ((fd = smx_listener_accept(&transport->listener)) >= 0)
        smx_connection_open(transport, fd);
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        /* The connection stays in the queue and would wake us for ever. */
        watch_listener(transport, EPOLL_CTL_MOD, 0);
        smx_timer_set(&transport->timers, &transport->accept_again, smx_now_ms() + ACCEPT_AGAIN_MS);
    }
}

bool smx_transport_init(struct smx_transport *transport, struct smx_exchange *exchange, struct smx_info *info,
                        size_t max_message, const char *address, struct smx_buffer *why)
{
    *transport = (struct smx_transport){
        .exchange = exchange, .info = info, .max_message = max_message, .io_fd = exchange->io_fd, .epoll_fd = -1};
    transport->accept_again = (struct smx_timer){.fire = accept_again, .owner = transport};
    if (pthread_mutex_init(&transport->lock, NULL) != 0)
        smx_abort("no mutex");
    return smx_listener_open(&transport->listener, address, why);
}

static void take_answers(struct smx_transport *transport, struct smx_answer *answer)
{
    while (answer) {
        struct smx_answer *next = answer->next;
        answer->next = NULL;
        smx_stream_answer(transport->exchange, answer);
        answer = next;
    }
}

static void send_all(struct smx_transport *transport)
{
    while (transport->dirty) {
        struct smx_connection *connection = transport->dirty;
        transport->dirty = connection->next_dirty;
        connection->is_dirty = false;
        smx_connection_send(connection);
    }
}

void smx_transport_touch(struct smx_transport *transport, struct smx_connection *connection)
{
    if (connection->is_dirty)
        return;
    connection->is_dirty = true;
    connection->next_dirty = transport->dirty;
    transport->dirty = connection;
}

static bool has_output(const struct smx_transport *transport)
{
    for (const struct smx_connection *at = transport->connections; at; at = at->next)
        if (smx_connection_has_output(at))
            return true;
    return false;
}

/* Milliseconds that epoll may wait, or -1. */
static int patience(struct smx_transport *transport)
{
    if (transport->is_ending)
        return 10;
    int64_t next = smx_timers_next(&transport->timers);
    if (next < 0)
        return -1;
    int64_t left = next - smx_now_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/* Everything that can be done without waiting. False when the thread shall end. */
static bool work(struct smx_transport *transport, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == transport)
            accept_all(transport);
        else if (events[i].data.ptr)
            smx_connection_ready(events[i].data.ptr, events[i].events);
        else
            smx_signal_fd_lower(transport->io_fd);
    }
    smx_timers_run(&transport->timers, smx_now_ms());
    for (;;) {
        struct smx_answer *answers = smx_exchange_answers(transport->exchange, false);
        take_answers(transport, answers);
        send_all(transport);
        /* Connections that have closed are freed when no event can name them any more. */
        smx_connection_reap(transport);
        if (transport->is_ending && (!has_output(transport) || smx_now_us() > transport->give_up_us))
            return false;
        answers = smx_exchange_answers(transport->exchange, true);
        if (!answers)
            return true;
        take_answers(transport, answers);
        send_all(transport);
    }
}

/*
 * To be woken takes longer than many callers take for their next call. Who else wants the core has it. Where most looks
 * see nothing (slow callers, more workers than cores) there are soon few of them: the turns in between double with each
 * one that sees nothing, and halve with the others.
 */
static int look(struct smx_transport *transport, struct epoll_event *events)
{
    if (transport->blind_turns > 0) {
        transport->blind_turns--;
        return 0;
    }
    int64_t until = smx_now_us() + LOOK_US;
    int count;
    do {
        sched_yield();
        count = epoll_wait(transport->epoll_fd, events, EVENTS, 0);
    } while (count == 0 && smx_now_us() < until);
    int bad_luck = transport->bad_luck;
    transport->bad_luck = count != 0 ? bad_luck / 2 : bad_luck < MAX_BLIND ? 2 * bad_luck + 1 : MAX_BLIND;
    transport->blind_turns = transport->bad_luck;
    return count;
}

static void *run(void *data)
{
    struct smx_transport *transport = data;
    struct epoll_event events[EVENTS];
    int count = 0;
    pthread_mutex_lock(&transport->lock);
    while (work(transport, events, count)) {
        int wait_ms = patience(transport);
        pthread_mutex_unlock(&transport->lock);
        count = count > 0 ? look(transport, events) : 0;
        if (count == 0)
            count = epoll_wait(transport->epoll_fd, events, EVENTS, wait_ms);
        pthread_mutex_lock(&transport->lock);
        smx_exchange_awake(transport->exchange);
    }
    pthread_mutex_unlock(&transport->lock);
    return NULL;
}

bool smx_transport_start(struct smx_transport *transport)
{
    transport->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wake = {.events = EPOLLIN};
    if (transport->epoll_fd < 0 || epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, transport->io_fd, &wake) != 0 ||
        !watch_listener(transport, EPOLL_CTL_ADD, EPOLLIN))
        return false;
    transport->input = smx_alloc(SMX_INPUT_BYTES);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are Python's */
    errno = pthread_create(&transport->thread, &attributes, run, transport);
    transport->is_running = errno == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return transport->is_running;
}

void smx_transport_flush(struct smx_transport *transport)
{
    if (pthread_mutex_trylock(&transport->lock) != 0) {
        smx_exchange_poke_io(transport->exchange);
        return;
    }
    take_answers(transport, smx_exchange_answers(transport->exchange, false));
    send_all(transport);
    pthread_mutex_unlock(&transport->lock);
}

static void nudge(struct smx_transport *transport)
{
    smx_signal_fd_raise(transport->io_fd);
}

void smx_transport_drain(struct smx_transport *transport)
{
    pthread_mutex_lock(&transport->lock);
    transport->is_draining = true;
    smx_timer_stop(&transport->timers, &transport->accept_again);
    smx_listener_close(&transport->listener);
    for (struct smx_connection *at = transport->connections; at; at = at->next)
        smx_connection_drain(at);
    pthread_mutex_unlock(&transport->lock);
    smx_exchange_drain(transport->exchange);
    nudge(transport);
}

void smx_transport_cancel(struct smx_transport *transport)
{
    pthread_mutex_lock(&transport->lock);
    for (struct smx_connection *at = transport->connections; at; at = at->next)
        smx_connection_cancel(at);
    pthread_mutex_unlock(&transport->lock);
    nudge(transport);
}

void smx_transport_fini(struct smx_transport *transport, bool is_child)
{
    if (transport->is_running && !is_child) {
        pthread_mutex_lock(&transport->lock);
        transport->is_ending = true;
        transport->give_up_us = smx_now_us() + GIVE_UP_US;
        pthread_mutex_unlock(&transport->lock);
        nudge(transport);
        pthread_join(transport->thread, NULL);
    }
    transport->is_running = false;
    if (!is_child)
        smx_listener_close(&transport->listener);
    while (transport->connections)
        smx_connection_free(transport->connections);
    take_answers(transport, smx_exchange_answers(transport->exchange, false));
    smx_timers_fini(&transport->timers);
    if (transport->epoll_fd >= 0)
        close(transport->epoll_fd);
    transport->epoll_fd = -1;
    free(transport->input);
    transport->input = NULL;
    pthread_mutex_destroy(&transport->lock);
}

void smx_transport_abandon(struct smx_transport *transport)
{
    smx_listener_abandon(&transport->listener);
    for (struct smx_connection *at = transport->connections; at; at = at->next)
        smx_connection_abandon(at);
    if (transport->epoll_fd >= 0)
        close(transport->epoll_fd);
    transport->epoll_fd = -1;
}
