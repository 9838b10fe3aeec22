/* One RPC on one connection: from its first batch to its status, its messages moving only on credit. */
#ifndef SMX_CALL_H
#define SMX_CALL_H

#include "gate.h"
#include "message.h"
#include "protocol.h"

struct grpc_channel;
struct smx_call;
struct smx_call_wire;

/* How an RPC ended. Borrowed for the time of `ended`. */
struct smx_outcome {
    int status; /* gRPC's, or what a worker made up */
    struct smx_span message;
    bool overdue;  /* its deadline has passed */
    bool answered; /* a message had come */
    struct smx_pairs trailing;
};

struct smx_call_events {
    /* A message, within credit. The reply is borrowed; who wants to keep it takes its content and leaves it all zero.
     */
    void (*message)(struct smx_call *call, struct smx_reply *reply);
    /* The last word, exactly once. The call may be freed in it. */
    void (*ended)(struct smx_call *call, const struct smx_outcome *outcome);
};

/*
 *   IDLE ── start ──► RECEIVING, or without room at the gate OPENING, a stream PARKED
 *   OPENING ── the worker begins to answer ──► PARKED or RECEIVING
 *   PARKED ── the gate opens ──► RECEIVING
 *   RECEIVING ── message, credit left: delivered ──► PARKED or RECEIVING
 *   RECEIVING ── message, no credit left ──► HOLDING ── credit: delivered ──► PARKED or RECEIVING
 *   any of them ── cancel, a fault of the worker ──► DROPPING ── status ──► FINISHED
 *   RECEIVING ── status and no message left ──► FINISHED
 *   HOLDING ── a status that is not OK (a deadline, a lost connection): what is held is dropped ──► FINISHED
 */
enum smx_call_state {
    SMX_CALL_IDLE,      /* not started */
    SMX_CALL_OPENING,   /* unary: no receive is armed before the worker answers, or thousands might come at once */
    SMX_CALL_RECEIVING, /* one receive is armed, or an answer is here, or the worker has nothing more to say */
    SMX_CALL_HOLDING,   /* one message is held, no receive is armed: no credit */
    SMX_CALL_PARKED,    /* no receive is armed: it waits at the gate */
    SMX_CALL_DROPPING,  /* cancelled: messages are dropped until the status arrives */
    SMX_CALL_FINISHED,  /* `ended` has been called, or is being called */
};

/* Embedded in its owner. All zero but events and owner before start. */
struct smx_call {
    const struct smx_call_events *events;
    void *owner;
    enum smx_call_state state;
    enum smx_method method;
    uint32_t credit;
    int64_t messages;       /* chunks delivered, or 1 for an answer */
    struct smx_error fault; /* of the worker, found here: it wins over the status */
    struct smx_gate *gate;
    struct smx_call_wire *wire; /* gRPC's part; NULL before start and after the end */
    struct smx_gate_pass pass;
    size_t last_size; /* of the last message, in memory */
};

struct smx_call_plan {
    struct grpc_channel *channel;
    enum smx_method method;
    struct grpc_byte_buffer *request; /* taken */
    int64_t timeout_ms;               /* 0: none */
    struct smx_pairs metadata;
    const char *codec; /* of the arguments, for the worker; NULL: not said */
    bool gzip;
    uint32_t credit;
};

void smx_call_start(struct smx_call *call, struct smx_gate *gate, const struct smx_call_plan *plan);
/* Adds credit; the sum saturates at SMX_CREDIT_INFINITY. */
void smx_credit_add(uint32_t *credit, uint32_t count);
/* More messages may come. May deliver a held message, and end the call. */
void smx_call_credit(struct smx_call *call, uint32_t count);
/*
 * A unary call whose answer has come and whose status does not follow it, as it should: asks for the second message
 * that may hold the status back. Asking for it behind every answer would make a call dearer by a twentieth.
 */
void smx_call_expect_end(struct smx_call *call);
/* `ended` follows, with whatever status the race brings, perhaps before this returns. Nothing after the end. */
void smx_call_cancel(struct smx_call *call);
/*
 * gRPC says that a call has ended only when what it writes of it is written, and a worker that is stopped takes
 * nothing: the deadline has passed, or it was cancelled, and it still has not ended.
 */
bool smx_call_is_overdue(const struct smx_call *call, int64_t now_ms);
/* Of one that is overdue: `ended` before this returns; gRPC's part lives on until gRPC lets go of it. */
void smx_call_give_up(struct smx_call *call);
/* Frees what an ended call still owns. */
void smx_call_fini(struct smx_call *call);

#endif
