/* Owns the connections and the queues; knows nothing of sessions, of gRPC or of how a call runs. */
#include "pool.h"

#include <stdlib.h>

void smx_pool_add(struct smx_pool *pool, struct smx_conn *conn)
{
    conn->next = pool->conns;
    pool->conns = conn;
}

void smx_pool_retire(struct smx_pool *pool, struct smx_conn *conn)
{
    struct smx_conn **at = &pool->conns;
    while (*at != conn)
        at = &(*at)->next;
    *at = conn->next;
    conn->next = pool->retired;
    pool->retired = conn;
}

void smx_pool_reap(struct smx_pool *pool)
{
    for (struct smx_conn **at = &pool->retired; *at;) {
        struct smx_conn *next = (*at)->next;
        if (smx_conn_reap(*at))
            *at = next;
        else
            at = &(*at)->next;
    }
}

struct smx_conn *smx_pool_find(const struct smx_pool *pool, struct smx_span id)
{
    for (struct smx_conn *conn = pool->conns; conn; conn = conn->next)
        if (smx_span_equal(smx_buffer_span(&conn->id), id))
            return conn;
    return NULL;
}

bool smx_pool_is_replaced(const struct smx_pool *pool, const struct smx_conn *conn)
{
    const struct smx_conn *named = smx_pool_find(pool, smx_buffer_span(&conn->id));
    return named && named != conn;
}

/* Fewer in flight over weight; at a tie, fewer calls ever over weight, so that an idle pool takes turns. */
static bool is_better(const struct smx_conn *a, const struct smx_conn *b)
{
    uint64_t load_a = (uint64_t)a->in_flight * b->weight, load_b = (uint64_t)b->in_flight * a->weight;
    return load_a != load_b ? load_a < load_b : a->calls * b->weight < b->calls * a->weight;
}

enum smx_verdict smx_pool_choose(struct smx_pool *pool, struct smx_span command, struct smx_conn **conn)
{
    bool takes = false, busy = false, coming = false;
    *conn = NULL;
    for (struct smx_conn *at = pool->conns; at; at = at->next) {
        /* What a worker that never was ready takes is not known yet. */
        bool unknown = !at->ever_ready && smx_conn_is_coming(at);
        if (!unknown && !smx_conn_takes(at, command))
            continue;
        takes = takes || !unknown;
        coming = coming || smx_conn_is_coming(at);
        busy = busy || at->state == SMX_CONN_READY;
        if (smx_conn_has_room(at) && (!*conn || is_better(at, *conn)))
            *conn = at;
    }
    if (*conn)
        return SMX_VERDICT_START;
    if (busy)
        return SMX_VERDICT_BUSY;
    if (coming)
        return SMX_VERDICT_COMING;
    if (!pool->conns)
        return SMX_VERDICT_NO_WORKER;
    return takes ? SMX_VERDICT_UNAVAILABLE : SMX_VERDICT_UNIMPLEMENTED;
}

enum smx_verdict smx_pool_ask(const struct smx_conn *conn, struct smx_span command)
{
    if (conn->ever_ready && !smx_conn_takes(conn, command))
        return SMX_VERDICT_UNIMPLEMENTED;
    if (smx_conn_has_room(conn))
        return SMX_VERDICT_START;
    if (conn->state == SMX_CONN_READY)
        return SMX_VERDICT_BUSY;
    return smx_conn_is_coming(conn) ? SMX_VERDICT_COMING : SMX_VERDICT_UNAVAILABLE;
}

struct queue {
    struct smx_request **head;
    struct smx_request **tail;
    size_t *count;
};

static struct queue queue_of(struct smx_pool *pool, struct smx_conn *conn)
{
    if (conn)
        return (struct queue){&conn->queue_head, &conn->queue_tail, &conn->queue_count};
    return (struct queue){&pool->head, &pool->tail, &pool->queued};
}

bool smx_pool_push(struct smx_pool *pool, struct smx_conn *conn, struct smx_request *request)
{
    struct queue queue = queue_of(pool, conn);
    if (*queue.count >= pool->max_queue)
        return false;
    if (request->sequence == 0)
        request->sequence = ++pool->sequence;
    request->queue = conn;
    request->queued = true;
    request->next = NULL;
    request->previous = *queue.tail;
    if (*queue.tail)
        (*queue.tail)->next = request;
    else
        *queue.head = request;
    *queue.tail = request;
    ++*queue.count;
    return true;
}

void smx_pool_unqueue(struct smx_pool *pool, struct smx_request *request)
{
    if (!request->queued)
        return;
    struct queue queue = queue_of(pool, request->queue);
    if (request->previous)
        request->previous->next = request->next;
    else
        *queue.head = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        *queue.tail = request->previous;
    --*queue.count;
    request->queued = false;
    request->queue = NULL;
    request->next = request->previous = NULL;
}

struct smx_request *smx_pool_oldest(const struct smx_pool *pool, const struct smx_conn *conn)
{
    struct smx_request *any = pool->head;
    while (any && !smx_conn_takes(conn, any->name))
        any = any->next;
    struct smx_request *own = conn->queue_head;
    if (!own || !any)
        return own ? own : any;
    return own->sequence < any->sequence ? own : any;
}

struct smx_request *smx_pool_take_queue(struct smx_pool *pool, struct smx_conn *conn)
{
    struct queue queue = queue_of(pool, conn);
    struct smx_request *all = *queue.head;
    for (struct smx_request *at = all; at; at = at->next) {
        at->queued = false;
        at->queue = NULL;
        at->previous = NULL;
    }
    *queue.head = *queue.tail = NULL;
    *queue.count = 0;
    return all;
}
