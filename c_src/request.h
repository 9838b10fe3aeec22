/* One request of the owner: from its command to its one terminal event. */
#ifndef SMX_REQUEST_H
#define SMX_REQUEST_H

#include "call.h"
#include "conn.h"
#include "protocol.h"
#include "timer.h"

struct smx_request;

struct smx_request_events {
    /* The terminal event has been emitted; the request is freed after this returns. */
    void (*ended)(void *owner, struct smx_request *request);
    void *owner;
};

/* Waits while `conn` is NULL, then runs on it. */
struct smx_request {
    struct smx_span tag; /* tag, name, session and request_id live in one block */
    struct smx_span name;
    struct smx_span session;
    struct smx_span request_id;
    enum smx_op op;
    struct smx_call_options options; /* its metadata and request_id are the command's, not kept here */
    enum smx_codec reading;          /* how its answers are read */
    int64_t started_us;
    int64_t deadline_ms; /* 0: none */
    const struct smx_sink *sink;
    struct smx_request_events events;
    struct smx_timers *timers;
    struct smx_timer timer; /* queued: the deadline; running: how long a worker may take to close after its last word */
    struct smx_conn *conn;
    struct smx_buffer incarnation;
    struct smx_conn *leaving; /* of a disconnect: what it waits for */
    struct smx_call call;
    struct smx_reply answer; /* unary: held until the status and its metadata are here */
    int64_t chunks;          /* of a stream: emitted */
    bool said_last;          /* is_final, an in-band error or the answer of a unary call has come */
    bool left_open;          /* and nothing after it, for too long: cancelled here */
    struct smx_error fault;  /* why it ends badly, known before the status is */

    /* The pool's. */
    struct smx_command *kept; /* the command, while queued */
    struct smx_conn *queue;   /* the connection whose queue it is in; NULL: the one of all */
    bool queued;
    uint64_t sequence;
    struct smx_request *next;
    struct smx_request *previous;
};

/* The command is an execute, a stream, a health or an info, or a disconnect that drains. */
struct smx_request *smx_request_new(const struct smx_command *command, struct smx_timers *timers,
                                    const struct smx_sink *sink, struct smx_request_events events);
/*
 * Starts it on a connection that has room. The command is the one it was made of, or its kept copy, which is freed.
 * May end it at once: bad values, a message too large.
 */
void smx_request_start(struct smx_request *request, struct smx_conn *conn, const struct smx_command *command);
/* An execute or a stream: it counts against its worker's max_concurrent. */
bool smx_request_is_call(const struct smx_request *request);
/* Ends it as soon as possible, with `error` (taken) as its terminal event; where it has one already, that wins. */
void smx_request_fail(struct smx_request *request, struct smx_error *error);
/* {cancel, Tag}. */
void smx_request_cancel(struct smx_request *request);
/* Its terminal event for commands that end with {ok, Tag, Result, #{}}. */
void smx_request_done(struct smx_request *request, struct smx_span term);

#endif
