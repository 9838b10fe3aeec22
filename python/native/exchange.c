/* Owns the lock and all that waits under it; knows neither sockets nor Python. */
#include "exchange.h"

#include "signal_fd.h"

#include <stdlib.h>

/* What a stream may have pending; below half of it, whoever waits may go on. */
enum { MAX_PENDING_BYTES = 64 * 1024, MAX_PENDING_COUNT = 64 };

static void append(struct smx_calls *calls, struct smx_call *call)
{
    call->previous = calls->last;
    call->next = NULL;
    *(calls->last ? &calls->last->next : &calls->first) = call;
    calls->last = call;
    calls->count++;
}

static void take_out(struct smx_calls *calls, struct smx_call *call)
{
    *(call->previous ? &call->previous->next : &calls->first) = call->next;
    *(call->next ? &call->next->previous : &calls->last) = call->previous;
    call->next = call->previous = NULL;
    calls->count--;
}

static void lock(struct smx_exchange *exchange)
{
    pthread_mutex_lock(&exchange->lock);
}

static void unlock(struct smx_exchange *exchange)
{
    pthread_mutex_unlock(&exchange->lock);
}

void smx_exchange_init(struct smx_exchange *exchange, const struct smx_exchange_options *options, int loop_fd,
                       int io_fd)
{
    *exchange = (struct smx_exchange){.options = *options, .loop_fd = loop_fd, .io_fd = io_fd};
    exchange->answers_end = &exchange->answers;
    if (pthread_mutex_init(&exchange->lock, NULL) != 0)
        smx_abort("no mutex");
}

void smx_exchange_fini(struct smx_exchange *exchange)
{
    for (size_t i = 0; i < exchange->event_count; i++)
        if (exchange->events[i].call)
            smx_call_release(exchange->events[i].call);
    free(exchange->events);
    struct smx_calls *queues[] = {&exchange->for_threads, &exchange->for_loop};
    for (size_t i = 0; i < 2; i++)
        while (queues[i]->first) {
            struct smx_call *call = queues[i]->first;
            take_out(queues[i], call);
            smx_call_release(call);
        }
    pthread_mutex_destroy(&exchange->lock);
}

/* Under the lock. */
static void poke_loop(struct smx_exchange *exchange)
{
    if (exchange->poked_us != 0)
        return;
    exchange->poked_us = smx_now_us();
    smx_signal_fd_raise(exchange->loop_fd);
}

static void poke_io(struct smx_exchange *exchange)
{
    if (exchange->io_sleeps) {
        exchange->io_sleeps = false;
        smx_signal_fd_raise(exchange->io_fd);
    }
}

static void tell(struct smx_exchange *exchange, enum smx_event_kind kind, struct smx_call *call)
{
    if (exchange->event_count == exchange->event_cap) {
        exchange->event_cap = exchange->event_cap ? 2 * exchange->event_cap : 64;
        exchange->events = smx_realloc(exchange->events, exchange->event_cap * sizeof(*exchange->events));
    }
    struct smx_event event = {.kind = kind};
    if (call) {
        event.call = smx_call_keep(call);
        event.is_running = call->state == SMX_CALL_RUNNING;
        event.end = call->end;
    }
    exchange->events[exchange->event_count++] = event;
    poke_loop(exchange);
}

static void begin(struct smx_exchange *exchange, struct smx_call *call)
{
    call->state = SMX_CALL_RUNNING;
    call->began_us = smx_now_us();
    append(&exchange->running, call);
}

static void wake_idle(struct smx_exchange *exchange)
{
    struct smx_idle_thread *thread = exchange->idle_threads;
    exchange->idle_threads = thread->next;
    thread->is_awake = true;
    pthread_cond_signal(&thread->wake);
}

/* One more thread waits for the GIL while there is work: a handler that lets go of it holds nobody up. */
static void wake_standby(struct smx_exchange *exchange)
{
    if (exchange->for_threads.first && !exchange->has_standby && exchange->idle_threads) {
        exchange->has_standby = true;
        wake_idle(exchange);
    }
}

static void route(struct smx_exchange *exchange, struct smx_call *call, bool is_async)
{
    call->is_async = is_async;
    if (!is_async) {
        append(&exchange->for_threads, smx_call_keep(call));
        wake_standby(exchange);
    } else if (exchange->async_running < exchange->options.max_concurrent) {
        exchange->async_running++;
        begin(exchange, call);
        tell(exchange, SMX_EVENT_START, call);
    } else {
        append(&exchange->for_loop, smx_call_keep(call));
    }
}

void smx_exchange_arrive(struct smx_exchange *exchange, struct smx_call *call)
{
    const struct smx_command *command = smx_table_get(exchange->commands, call->request.command);
    lock(exchange);
    exchange->counts.requests++;
    exchange->live++;
    if (command)
        route(exchange, call, command->is_async);
    else
        tell(exchange, SMX_EVENT_ROUTE, call);
    unlock(exchange);
}

static bool is_queued(const struct smx_calls *calls, const struct smx_call *call)
{
    return call->previous || call->next || calls->first == call;
}

void smx_exchange_end(struct smx_exchange *exchange, struct smx_call *call, enum smx_call_end end)
{
    lock(exchange);
    if (call->end == SMX_END_NONE && !(call->is_answered && call->state == SMX_CALL_DONE)) {
        call->end = end;
        call->ended_us = smx_now_us();
        struct smx_calls *queue = call->is_async ? &exchange->for_loop : &exchange->for_threads;
        bool was_queued = call->state == SMX_CALL_WAITING && is_queued(queue, call);
        if (was_queued)
            take_out(queue, call);
        if (was_queued && end == SMX_END_GONE)
            call->state = SMX_CALL_DONE; /* it never ran, and nobody need know */
        else
            tell(exchange, SMX_EVENT_END, call);
        if (was_queued)
            smx_call_release(call);
        pthread_cond_broadcast(&call->room);
    }
    unlock(exchange);
}

void smx_exchange_leave(struct smx_exchange *exchange, struct smx_call *call)
{
    smx_exchange_end(exchange, call, SMX_END_GONE);
    lock(exchange);
    exchange->live--;
    if (exchange->is_draining && exchange->live == 0)
        tell(exchange, SMX_EVENT_IDLE, NULL);
    unlock(exchange);
}

static bool has_room(const struct smx_call *call, unsigned share)
{
    return call->pending_bytes < MAX_PENDING_BYTES / share && call->pending_count < MAX_PENDING_COUNT / share;
}

void smx_exchange_taken(struct smx_exchange *exchange, struct smx_call *call, size_t bytes, size_t count)
{
    lock(exchange);
    call->pending_bytes -= bytes;
    call->pending_count -= count;
    if (call->wants_room && has_room(call, 2)) {
        call->wants_room = false;
        if (call->is_async)
            tell(exchange, SMX_EVENT_ROOM, call);
        else
            pthread_cond_broadcast(&call->room);
    }
    unlock(exchange);
}

struct smx_answer *smx_exchange_answers(struct smx_exchange *exchange, bool sleep)
{
    lock(exchange);
    struct smx_answer *answers = exchange->answers;
    exchange->answers = NULL;
    exchange->answers_end = &exchange->answers;
    exchange->io_sleeps |= sleep && !answers;
    unlock(exchange);
    return answers;
}

void smx_exchange_awake(struct smx_exchange *exchange)
{
    lock(exchange);
    exchange->io_sleeps = false;
    unlock(exchange);
}

void smx_exchange_dispose(struct smx_exchange *exchange, struct smx_answer *answer)
{
    if (answer->view_count == 0) {
        smx_answer_free(answer);
        return;
    }
    lock(exchange);
    answer->next = exchange->garbage;
    exchange->garbage = answer;
    poke_loop(exchange);
    unlock(exchange);
}

/*
 * A handler within its deadline is never a stall: neither one in the loop, nor one that holds the GIL since then. Once
 * one is stuck it is the likely culprit, and as much patience as it got is enough.
 */
static bool is_stalled(const struct smx_exchange *exchange, int64_t now, bool is_any_stuck)
{
    int64_t patience_us = exchange->options.stall_after_us;
    if (is_any_stuck && exchange->options.stuck_grace_us < patience_us)
        patience_us = exchange->options.stuck_grace_us;
    if (exchange->poked_us == 0 || now - exchange->poked_us < patience_us)
        return false;
    /* One that began much later does not hold the GIL since then: others have had it in between. */
    int64_t latest_us = exchange->poked_us + patience_us / 2;
    for (const struct smx_call *call = exchange->running.first; call; call = call->next)
        if (call->end == SMX_END_NONE && (call->is_async || call->began_us <= latest_us))
            return false;
    return true;
}

bool smx_exchange_is_healthy(struct smx_exchange *exchange)
{
    const struct smx_exchange_options *options = &exchange->options;
    int64_t now = smx_now_us();
    size_t stuck[2] = {0};
    lock(exchange);
    for (const struct smx_call *call = exchange->running.first; call; call = call->next)
        stuck[call->is_async] += call->end != SMX_END_NONE && now - call->ended_us > options->stuck_grace_us;
    bool healthy = stuck[false] < options->threads && stuck[true] < options->max_concurrent &&
                   !is_stalled(exchange, now, stuck[false] + stuck[true] > 0);
    poke_loop(exchange);
    unlock(exchange);
    return healthy;
}

struct smx_call *smx_exchange_next(struct smx_exchange *exchange)
{
    lock(exchange);
    struct smx_call *call = exchange->for_threads.first;
    if (call) {
        take_out(&exchange->for_threads, call);
        begin(exchange, call);
        wake_standby(exchange);
        if (exchange->answers)
            poke_io(exchange); /* the last answer must not wait for the next handler */
    }
    unlock(exchange);
    return call;
}

static void wake_all(struct smx_exchange *exchange)
{
    while (exchange->idle_threads)
        wake_idle(exchange);
}

bool smx_exchange_wait(struct smx_exchange *exchange)
{
    struct smx_idle_thread self = {.wake = PTHREAD_COND_INITIALIZER};
    lock(exchange);
    self.next = exchange->idle_threads;
    exchange->idle_threads = &self;
    wake_standby(exchange);
    if (exchange->is_closed)
        wake_all(exchange);
    while (!self.is_awake)
        pthread_cond_wait(&self.wake, &exchange->lock);
    bool goes_on = !exchange->is_closed;
    unlock(exchange);
    return goes_on;
}

void smx_exchange_stand_in(struct smx_exchange *exchange)
{
    lock(exchange);
    exchange->has_standby = false;
    unlock(exchange);
}

void smx_exchange_route(struct smx_exchange *exchange, struct smx_call *call, bool is_async)
{
    lock(exchange);
    if (call->end == SMX_END_NONE)
        route(exchange, call, is_async);
    unlock(exchange);
}

size_t smx_exchange_events(struct smx_exchange *exchange, struct smx_event **events)
{
    lock(exchange);
    size_t count = exchange->event_count;
    *events = exchange->events;
    exchange->events = NULL;
    exchange->event_count = exchange->event_cap = 0;
    exchange->poked_us = 0;
    smx_signal_fd_lower(exchange->loop_fd);
    unlock(exchange);
    return count;
}

bool smx_exchange_push(struct smx_exchange *exchange, struct smx_answer *answer, bool counts_as_error)
{
    struct smx_call *call = answer->call;
    lock(exchange);
    /* A deadline is told by an answer of its own. */
    bool is_welcome = !call->is_answered && (call->end == SMX_END_NONE ||
                                             (call->end == SMX_END_DEADLINE && answer->kind == SMX_ANSWER_EXPIRE));
    if (is_welcome) {
        exchange->counts.errors += counts_as_error;
        call->is_answered = answer->kind != SMX_ANSWER_CHUNK;
        call->pending_bytes += answer->len;
        call->pending_count++;
        *exchange->answers_end = answer;
        exchange->answers_end = &answer->next;
        /* The thread of a plain call sends its answer itself, or comes back for the next one. */
        if (call->is_async || call->is_stream || call->state != SMX_CALL_RUNNING || answer->kind == SMX_ANSWER_EXPIRE)
            poke_io(exchange);
    }
    unlock(exchange);
    return is_welcome;
}

bool smx_exchange_done(struct smx_exchange *exchange, struct smx_call *call)
{
    lock(exchange);
    if (call->state == SMX_CALL_RUNNING) {
        take_out(&exchange->running, call);
        exchange->async_running -= call->is_async;
    }
    call->state = SMX_CALL_DONE;
    if (call->is_async && exchange->for_loop.first && exchange->async_running < exchange->options.max_concurrent) {
        struct smx_call *next = exchange->for_loop.first;
        take_out(&exchange->for_loop, next);
        exchange->async_running++;
        begin(exchange, next);
        tell(exchange, SMX_EVENT_START, next);
        smx_call_release(next);
    }
    bool had_ended = call->end != SMX_END_NONE;
    unlock(exchange);
    return had_ended;
}

bool smx_exchange_has_room(struct smx_exchange *exchange, struct smx_call *call)
{
    lock(exchange);
    bool room = call->end != SMX_END_NONE || has_room(call, 1);
    call->wants_room = !room;
    unlock(exchange);
    return room;
}

bool smx_exchange_wait_room(struct smx_exchange *exchange, struct smx_call *call)
{
    lock(exchange);
    while (call->end == SMX_END_NONE && !has_room(call, call->wants_room ? 2 : 1)) {
        call->wants_room = true;
        pthread_cond_wait(&call->room, &exchange->lock);
    }
    bool goes_on = call->end == SMX_END_NONE;
    unlock(exchange);
    return goes_on;
}

bool smx_exchange_has_ended(struct smx_exchange *exchange, struct smx_call *call)
{
    lock(exchange);
    bool ended = call->end != SMX_END_NONE;
    unlock(exchange);
    return ended;
}

struct smx_answer *smx_exchange_garbage(struct smx_exchange *exchange)
{
    lock(exchange);
    struct smx_answer *garbage = exchange->garbage;
    exchange->garbage = NULL;
    unlock(exchange);
    return garbage;
}

struct smx_counts smx_exchange_counts(struct smx_exchange *exchange)
{
    lock(exchange);
    struct smx_counts counts = exchange->counts;
    unlock(exchange);
    return counts;
}

void smx_exchange_set_sessions(struct smx_exchange *exchange, int64_t sessions)
{
    lock(exchange);
    exchange->counts.sessions = sessions;
    unlock(exchange);
}

void smx_exchange_close(struct smx_exchange *exchange)
{
    lock(exchange);
    exchange->is_closed = true;
    wake_all(exchange);
    unlock(exchange);
}

void smx_exchange_drain(struct smx_exchange *exchange)
{
    lock(exchange);
    exchange->is_draining = true;
    if (exchange->live == 0)
        tell(exchange, SMX_EVENT_IDLE, NULL);
    unlock(exchange);
}

void smx_exchange_poke_io(struct smx_exchange *exchange)
{
    lock(exchange);
    poke_io(exchange);
    unlock(exchange);
}
