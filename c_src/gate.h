/* How much may be on its way from workers at once: the gate before every receive, so that memory stays bounded. */
#ifndef SMX_GATE_H
#define SMX_GATE_H

#include "util.h"

struct grpc_completion_queue;

/* What a receive may bring, and so what it has to wait for. */
enum smx_gate_lane {
    SMX_GATE_FLOW,   /* a chunk within credit: it goes out at once */
    SMX_GATE_STALL,  /* a chunk without credit: it will be held */
    SMX_GATE_ANSWER, /* the answer of a unary call: held until its status is here */
    SMX_GATE_EARLY,  /* the same, asked for before its worker begins to answer: nobody waits in this lane */
    SMX_GATE_LANES,
};

/* One receive at the gate. Embedded in its owner, all zero but `open` and `owner` before use. */
struct smx_gate_pass {
    void (*open)(void *owner); /* it waited; now it may be armed, and counts as admitted */
    void *owner;
    enum smx_gate_lane lane;
    bool waiting;
    size_t wanted;   /* bytes it will bring; 0: not known */
    size_t promised; /* bytes set aside for what it brings */
    int64_t since_ms;
    struct smx_gate_pass *next;
    struct smx_gate_pass *previous;
};

struct smx_gate_list {
    struct smx_gate_pass *first;
    struct smx_gate_pass *last;
};

/* Each lane has its own share of the memory: stalled streams never stop the answers of others. */
struct smx_gate_share {
    size_t limit;
    size_t promised;
    size_t held;
    size_t expected; /* bytes that the next message will have, judged by the last ones */
    struct smx_gate_list waiting;
    struct smx_gate_list admitted; /* with a promise, the oldest first */
};

struct smx_gate {
    struct grpc_completion_queue *queue; /* what drives all calls */
    size_t max_message;
    size_t orphans; /* calls that have ended for their owners, but not for gRPC */
    bool closed;    /* too much waits for stdout: nothing is admitted */
    size_t limit;   /* of what waits for stdout */
    struct smx_gate_share shares[SMX_GATE_LANES];
};

void smx_gate_init(struct smx_gate *gate, struct grpc_completion_queue *queue, size_t max_message, size_t max_buffered);
/* True: arm the receive. False: it waits, and `open` will say when. `wanted` bytes; 0: as many as the last ones had. */
bool smx_gate_enter(struct smx_gate *gate, struct smx_gate_pass *pass, enum smx_gate_lane lane, size_t wanted);
/* The early lane: true when there is room now, for however long the answer takes. */
bool smx_gate_try(struct smx_gate *gate, struct smx_gate_pass *pass);
/* The receive is over, or is wanted no more. */
void smx_gate_leave(struct smx_gate *gate, struct smx_gate_pass *pass);
/* A message of so many bytes is kept, until it is released. */
void smx_gate_hold(struct smx_gate *gate, enum smx_gate_lane lane, size_t len);
void smx_gate_release(struct smx_gate *gate, enum smx_gate_lane lane, size_t len);
/* Once a turn: `output` bytes wait for stdout. Admits who may go. */
void smx_gate_turn(struct smx_gate *gate, size_t output);
/* When a turn is due even if nothing happens, in ms of smx_now_ms; -1: never. */
int64_t smx_gate_next(const struct smx_gate *gate);
/* Bytes of messages that are held. */
size_t smx_gate_held(const struct smx_gate *gate);

#endif
