/* Which connection takes a call, and the queues of those that wait for one. */
#ifndef SMX_POOL_H
#define SMX_POOL_H

#include "conn.h"
#include "request.h"

struct smx_pool {
    struct smx_conn *conns;   /* all that are not gone */
    struct smx_conn *retired; /* gone; their memory waits for the last completions */
    struct smx_request *head; /* the queue of calls that any worker may take; the others are in their connections */
    struct smx_request *tail;
    size_t queued;
    size_t max_queue;
    uint64_t sequence;
};

/* What can be done with a call right now. */
enum smx_verdict {
    SMX_VERDICT_START,         /* on the connection that came with it */
    SMX_VERDICT_BUSY,          /* all that take it have as many calls as they may */
    SMX_VERDICT_COMING,        /* none that takes it is ready, but one may become so */
    SMX_VERDICT_UNAVAILABLE,   /* those that take it can't be reached */
    SMX_VERDICT_UNIMPLEMENTED, /* no worker takes this command */
    SMX_VERDICT_NO_WORKER,     /* there is no worker at all */
};

void smx_pool_add(struct smx_pool *pool, struct smx_conn *conn);
/* Moves a gone connection to the retired ones. */
void smx_pool_retire(struct smx_pool *pool, struct smx_conn *conn);
/* Frees the retired connections that can be freed. */
void smx_pool_reap(struct smx_pool *pool);
/* The newest of this id: older ones are being drained. NULL when there is none. */
struct smx_conn *smx_pool_find(const struct smx_pool *pool, struct smx_span id);
/* There is a newer one of its id. */
bool smx_pool_is_replaced(const struct smx_pool *pool, const struct smx_conn *conn);

/* Any worker: the one with room and the fewest calls in flight over its weight. */
enum smx_verdict smx_pool_choose(struct smx_pool *pool, struct smx_span command, struct smx_conn **conn);
/* This worker and no other. */
enum smx_verdict smx_pool_ask(const struct smx_conn *conn, struct smx_span command);

/* Appends to the queue of `conn`, or of all when it is NULL. False when max_queue calls wait there already. */
bool smx_pool_push(struct smx_pool *pool, struct smx_conn *conn, struct smx_request *request);
void smx_pool_unqueue(struct smx_pool *pool, struct smx_request *request);
/* The request that has waited longest among those that this connection may take; still queued. NULL: none. */
struct smx_request *smx_pool_oldest(const struct smx_pool *pool, const struct smx_conn *conn);
/* Empties the queue of `conn`, or of all: the requests in their order, linked by `next`, no longer queued. */
struct smx_request *smx_pool_take_queue(struct smx_pool *pool, struct smx_conn *conn);

#endif
