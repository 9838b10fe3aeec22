/*
 * Where the I/O thread and the threads of Python meet: calls that wait for a handler, events for the event loop,
 * answers on their way out. The one lock that both sides take; never held while anything is waited for.
 */
#ifndef SMX_EXCHANGE_H
#define SMX_EXCHANGE_H

#include "call.h"
#include "table.h"

struct smx_calls {
    struct smx_call *first;
    struct smx_call *last;
    size_t count;
};

/* What the event loop is told. */
enum smx_event_kind {
    SMX_EVENT_START, /* run this call; it holds a slot already */
    SMX_EVENT_ROUTE, /* nobody knows this command: say which kind it is, or refuse it */
    SMX_EVENT_ROOM,  /* the stream that asked for it may send on */
    SMX_EVENT_END,   /* nobody waits for this call any more */
    SMX_EVENT_IDLE,  /* no call is left, after smx_exchange_drain */
};

struct smx_event {
    enum smx_event_kind kind;
    struct smx_call *call; /* a reference; NULL with IDLE */
    bool is_running;       /* with END: its handler runs */
    enum smx_call_end end;
};

struct smx_exchange_options {
    size_t threads;
    size_t max_concurrent;
    int64_t stuck_grace_us;
    int64_t stall_after_us;
};

/* On the stack of the thread that waits. */
struct smx_idle_thread {
    struct smx_idle_thread *next;
    pthread_cond_t wake;
    bool is_awake;
};

struct smx_counts {
    int64_t requests;
    int64_t errors;
    int64_t sessions;
};

struct smx_exchange {
    struct smx_exchange_options options;
    pthread_mutex_t lock;
    struct smx_table *commands; /* name -> of its own struct smx_command; the I/O thread's */

    struct smx_calls for_threads;
    struct smx_calls for_loop; /* beyond max_concurrent */
    struct smx_calls running;
    size_t async_running;
    size_t live; /* calls whose stream is open */
    bool is_draining;
    bool is_closed;

    struct smx_idle_thread *idle_threads; /* the one that came last is woken first: its memory is still warm */
    bool has_standby;                     /* a thread was woken and does not hold the GIL yet */

    struct smx_event *events;
    size_t event_count;
    size_t event_cap;
    int loop_fd;      /* an eventfd that the event loop reads */
    int64_t poked_us; /* when the loop was woken, 0: it has come since */

    struct smx_answer *answers; /* in their order */
    struct smx_answer **answers_end;
    bool io_sleeps;
    int io_fd; /* an eventfd that the I/O thread polls */

    struct smx_answer *garbage; /* sent, but with views of Python */

    struct smx_counts counts;
};

struct smx_command {
    struct smx_span name;
    bool is_async;
};

/* The file descriptors stay the caller's. */
void smx_exchange_init(struct smx_exchange *exchange, const struct smx_exchange_options *options, int loop_fd,
                       int io_fd);
/* All threads have left it. */
void smx_exchange_fini(struct smx_exchange *exchange);

/* The side of the I/O thread. */

/* A call has come in; takes no reference: its queue or Python has its own. */
void smx_exchange_arrive(struct smx_exchange *exchange, struct smx_call *call);
/* Nobody waits for it any more; a second time changes nothing. */
void smx_exchange_end(struct smx_exchange *exchange, struct smx_call *call, enum smx_call_end end);
/* Its stream has closed. */
void smx_exchange_leave(struct smx_exchange *exchange, struct smx_call *call);
/* The transport has taken so much of what was pending. */
void smx_exchange_taken(struct smx_exchange *exchange, struct smx_call *call, size_t bytes, size_t count);
/* All answers there are, a list that is now the caller's. With none and `sleep`, smx_exchange_push will write to io_fd.
 */
struct smx_answer *smx_exchange_answers(struct smx_exchange *exchange, bool sleep);
void smx_exchange_awake(struct smx_exchange *exchange);
/* Takes an answer that is sent or dropped, and releases its memory, with the help of a thread of Python if need be. */
void smx_exchange_dispose(struct smx_exchange *exchange, struct smx_answer *answer);
/* The truth: not every slot is stuck, and the event loop gets on. Also wakes the loop, to see whether it does. */
bool smx_exchange_is_healthy(struct smx_exchange *exchange);

/* The side of Python. */

/* The next call for a thread, with a reference; NULL: none. Wakes a stand-by if there are more. */
struct smx_call *smx_exchange_next(struct smx_exchange *exchange);
/* Waits without the GIL until there may be a call; false: the end. `smx_exchange_stand_in` follows, with the GIL. */
bool smx_exchange_wait(struct smx_exchange *exchange);
void smx_exchange_stand_in(struct smx_exchange *exchange);
/* The answer of SMX_EVENT_ROUTE. */
void smx_exchange_route(struct smx_exchange *exchange, struct smx_call *call, bool is_async);
/* All events there are; the array and the references are the caller's. */
size_t smx_exchange_events(struct smx_exchange *exchange, struct smx_event **events);
/*
 * Takes an answer; one for a call that has ended or is answered is dropped (false), and must be disposed of.
 * `counts_as_error` is for the statistics.
 */
bool smx_exchange_push(struct smx_exchange *exchange, struct smx_answer *answer, bool counts_as_error);
/* Its handler has ended: the slot is free. True if the call had ended before it. */
bool smx_exchange_done(struct smx_exchange *exchange, struct smx_call *call);
/* True if more may be sent; else SMX_EVENT_ROOM will say so. */
bool smx_exchange_has_room(struct smx_exchange *exchange, struct smx_call *call);
/* Waits without the GIL until more may be sent; false: the call has ended. */
bool smx_exchange_wait_room(struct smx_exchange *exchange, struct smx_call *call);
bool smx_exchange_has_ended(struct smx_exchange *exchange, struct smx_call *call);
/* What must be released under the GIL; a list that is now the caller's. */
struct smx_answer *smx_exchange_garbage(struct smx_exchange *exchange);
struct smx_counts smx_exchange_counts(struct smx_exchange *exchange);
void smx_exchange_set_sessions(struct smx_exchange *exchange, int64_t sessions);
/* From now on smx_exchange_wait gives false. */
void smx_exchange_close(struct smx_exchange *exchange);
/* Asks for SMX_EVENT_IDLE. */
void smx_exchange_drain(struct smx_exchange *exchange);
/* Wakes the I/O thread if it sleeps. */
void smx_exchange_poke_io(struct smx_exchange *exchange);

#endif
