/* A SnakepitBridge server on the completion queue of its owner: takes RPCs, answers each once. */
#ifndef SMX_SERVER_H
#define SMX_SERVER_H

#include "answer.h"
#include "completion.h"

struct grpc_completion_queue;
struct smx_incoming;
struct smx_server;

struct smx_server_events {
    /* An Execute, in a session or not: to be answered or refused, now or later. */
    void (*execute)(void *owner, struct smx_incoming *incoming, const struct smx_message *message,
                    struct smx_span codec);
    /* Its caller has gone before the answer: the last that is heard of it, also where it was answered meanwhile. */
    void (*left)(void *owner, struct smx_incoming *incoming);
    /* Fills the reply of Health or GetInfo. */
    void (*describe)(void *owner, enum smx_method method, struct smx_reply *reply);
    void *owner;
};

/* Listens on `address`; NULL with `port` unset when it can't. `port`: 0 for a unix socket. */
struct smx_server *smx_server_new(struct grpc_completion_queue *queue, const char *address, size_t max_message,
                                  struct smx_server_events events, int *port);
/* No more RPCs. `done` comes out of the queue when those that there are have been answered. */
void smx_server_stop(struct smx_server *server, struct smx_completion *done);
/* The end of one; it must not be used after. */
void smx_incoming_answer(struct smx_incoming *incoming, const struct smx_reply *reply);
void smx_incoming_refuse(struct smx_incoming *incoming, enum smx_code code, const char *text);
/* What its owner keeps with it: the message lives until it ends. */
const struct smx_message *smx_incoming_message(const struct smx_incoming *incoming);

#endif
