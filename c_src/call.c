/* Owns the gRPC call with its batches; knows nothing of tags, routing or who is asking. */
#include "call.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>

#include "completion.h"

struct smx_call_wire {
    grpc_call *call;
    struct smx_completion opened;   /* the initial metadata are here */
    struct smx_completion received; /* a message, the first one perhaps together with the initial metadata */
    struct smx_completion closed;   /* the request is sent, the status is here */
    size_t outstanding;             /* completions to come */
    bool has_status;
    bool drained;  /* the worker has no more messages */
    bool busy;     /* inside take_message or deliver: the end waits until they return */
    bool orphaned; /* its owner has had its end: only the memory waits for what is outstanding */
    grpc_byte_buffer *request;
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_byte_buffer *message;
    struct smx_reply held;
    size_t held_size;
    grpc_status_code status;
    grpc_slice details;
    int64_t deadline_ms; /* 0: none */
    int64_t due_ms;      /* the deadline, or when it was cancelled; 0: none */
    size_t sending_count;
    grpc_metadata sending[];
};

enum {
    DEADLINE_SLACK_MS = 50, /* a worker that keeps the deadline too may say so a little earlier than we */
    OVERDUE_MS = 500,       /* gRPC keeps deadlines, and says that a call is cancelled, long before */
};

static bool start_batch(struct smx_call *call, const grpc_op *ops, size_t count, struct smx_completion *completion)
{
    grpc_call_error error = grpc_call_start_batch(call->wire->call, ops, count, completion, NULL);
    if (error != GRPC_CALL_OK)
        return smx_error_set(&call->fault, SMX_INTERNAL, "transport", "gRPC refused a batch of the call: %s",
                             grpc_call_error_to_string(error));
    call->wire->outstanding++;
    return true;
}

static grpc_op message_op(struct smx_call *call)
{
    return (grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->wire->message};
}

static void arm(struct smx_call *call)
{
    call->state = SMX_CALL_RECEIVING;
    grpc_op op = message_op(call);
    if (!start_batch(call, &op, 1, &call->wire->received))
        smx_call_cancel(call);
}

static void on_gate_open(void *owner)
{
    arm(owner);
}

static bool is_stream(const struct smx_call *call)
{
    return smx_method_is_stream(call->method);
}

/* Looks at a worker's health pass the gate: memory in use here is no sign that it is unwell. */
static bool passes_gate(const struct smx_call *call)
{
    return call->method >= SMX_METHOD_HEALTH;
}

/* Is there memory for the next message? If not, the gate says when. */
static bool enter_gate(struct smx_call *call)
{
    enum smx_gate_lane lane = !is_stream(call) ? SMX_GATE_ANSWER : call->credit > 0 ? SMX_GATE_FLOW : SMX_GATE_STALL;
    return passes_gate(call) || smx_gate_enter(call->gate, &call->pass, lane, is_stream(call) ? call->last_size : 0);
}

static void receive(struct smx_call *call)
{
    if (enter_gate(call))
        arm(call);
    else
        call->state = SMX_CALL_PARKED;
}

static void hold(struct smx_call *call, size_t size)
{
    call->wire->held_size = size;
    smx_gate_hold(call->gate, is_stream(call) ? SMX_GATE_STALL : SMX_GATE_ANSWER, size);
}

static void drop_held(struct smx_call *call)
{
    smx_gate_release(call->gate, is_stream(call) ? SMX_GATE_STALL : SMX_GATE_ANSWER, call->wire->held_size);
    call->wire->held_size = 0;
    smx_reply_fini(&call->wire->held);
}

static void free_wire(struct smx_call *call)
{
    struct smx_call_wire *wire = call->wire;
    for (size_t i = 0; i < wire->sending_count; i++) {
        grpc_slice_unref(wire->sending[i].key);
        grpc_slice_unref(wire->sending[i].value);
    }
    grpc_byte_buffer_destroy(wire->request);
    if (wire->message)
        grpc_byte_buffer_destroy(wire->message);
    grpc_metadata_array_destroy(&wire->initial);
    grpc_metadata_array_destroy(&wire->trailing);
    grpc_slice_unref(wire->details);
    grpc_call_unref(wire->call);
    free(wire);
    call->wire = NULL;
}

static struct smx_span span_of(const grpc_slice *slice)
{
    return (struct smx_span){GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

/* For the last completions of a wire whose owner has gone. */
static void adopt(struct smx_call_wire *wire, struct smx_gate *gate)
{
    struct smx_call *call = smx_alloc(sizeof(*call));
    *call = (struct smx_call){.state = SMX_CALL_DROPPING, .gate = gate, .wire = wire};
    wire->opened.owner = wire->received.owner = wire->closed.owner = call;
    wire->orphaned = true;
    gate->orphans++;
}

static void end(struct smx_call *call, int status, struct smx_span message)
{
    enum { FEW = 8 };
    struct smx_call_wire *wire = call->wire;
    struct smx_outcome outcome = {.status = status, .message = message};
    outcome.overdue = wire->deadline_ms > 0 && smx_now_ms() >= wire->deadline_ms - DEADLINE_SLACK_MS;
    outcome.answered = call->messages > 0;
    struct smx_pair few[FEW],
        *many = wire->trailing.count > FEW ? smx_alloc(wire->trailing.count * sizeof(*many)) : NULL;
    struct smx_pair *pairs = many ? many : few;
    for (size_t i = 0; i < wire->trailing.count; i++) {
        grpc_metadata *entry = &wire->trailing.metadata[i];
        pairs[i] = (struct smx_pair){span_of(&entry->key), span_of(&entry->value)};
    }
    outcome.trailing = (struct smx_pairs){pairs, wire->trailing.count};
    call->state = SMX_CALL_FINISHED;
    /* The owner may free the call in `ended`, and the outcome borrows from the wire: the wire goes last. */
    struct smx_call rest = {.wire = wire};
    call->wire = NULL;
    if (wire->outstanding > 0)
        adopt(wire, call->gate);
    call->events->ended(call, &outcome);
    free(many);
    if (!wire->orphaned)
        free_wire(&rest);
}

static void bury(struct smx_call *orphan)
{
    if (orphan->wire->outstanding > 0)
        return;
    orphan->gate->orphans--;
    free_wire(orphan);
    free(orphan);
}

/* Ends the call when nothing is left to come; the call may be gone when this returns. */
static void settle(struct smx_call *call)
{
    struct smx_call_wire *wire = call->wire;
    if (wire->orphaned) {
        bury(call);
        return;
    }
    if (wire->outstanding > 0 || !wire->has_status || wire->busy)
        return;
    bool orderly = wire->status == GRPC_STATUS_OK && call->state != SMX_CALL_DROPPING;
    bool answered = !is_stream(call) && call->messages > 0; /* a second message would hold the status back */
    if (orderly && !wire->drained && !answered)
        return;
    smx_gate_leave(call->gate, &call->pass);
    drop_held(call);
    end(call, (int)wire->status, span_of(&wire->details));
}

/* Only chunks cost credit: the end and an error go out at once. */
static bool costs_credit(const struct smx_call *call, const struct smx_reply *reply)
{
    return is_stream(call) && (reply->values.count > 0 || (!reply->is_final && reply->success));
}

/* Takes the reply. Leaves the next receive of a stream armed unless the callback cancelled. */
static void deliver(struct smx_call *call, struct smx_reply *reply)
{
    if (costs_credit(call, reply)) {
        if (call->credit != SMX_CREDIT_INFINITY)
            call->credit--;
        call->messages++;
    }
    call->events->message(call, reply);
    smx_reply_fini(reply);
    if (call->state == SMX_CALL_RECEIVING && is_stream(call))
        receive(call);
}

/* Ends the call: its fault, just set, is the worker's. */
static void blame_worker(struct smx_call *call)
{
    call->fault.origin = SMX_ORIGIN_WORKER;
    call->fault.sent = true;
    smx_call_cancel(call);
}

static void take_message(struct smx_call *call)
{
    struct smx_call_wire *wire = call->wire;
    if (!is_stream(call) && call->messages++ > 0) {
        smx_error_set(&call->fault, SMX_INTERNAL, "decode", "the worker sent two messages to a call that takes one");
        blame_worker(call);
        return;
    }
    struct smx_reply reply;
    bool readable = smx_message_read(call->method, wire->message, call->gate->max_message, &reply, &call->fault);
    grpc_byte_buffer_destroy(wire->message);
    wire->message = NULL;
    if (!readable) {
        blame_worker(call);
        return;
    }
    call->last_size = reply.size;
    if (costs_credit(call, &reply) && call->credit == 0) {
        call->state = SMX_CALL_HOLDING;
        wire->held = reply;
        hold(call, reply.size);
        return;
    }
    if (!is_stream(call) && !passes_gate(call))
        hold(call, reply.size); /* the owner keeps it until the status is here */
    deliver(call, &reply);
}

static void on_opened(void *owner, bool ok)
{
    struct smx_call *call = owner;
    (void)ok; /* the status says why */
    call->wire->outstanding--;
    if (call->state == SMX_CALL_OPENING)
        receive(call);
    settle(call);
}

static void on_received(void *owner, bool ok)
{
    struct smx_call *call = owner;
    struct smx_call_wire *wire = call->wire;
    wire->outstanding--;
    smx_gate_leave(call->gate, &call->pass);
    if (!ok || !wire->message)
        wire->drained = true;
    wire->busy = true;
    if (wire->message && call->state == SMX_CALL_RECEIVING)
        take_message(call);
    wire->busy = false;
    settle(call);
}

static void on_closed(void *owner, bool ok)
{
    struct smx_call *call = owner;
    (void)ok;
    call->wire->outstanding--;
    call->wire->has_status = true;
    settle(call);
}

static void add_metadata(struct smx_call_wire *wire, struct smx_span key, struct smx_span value)
{
    grpc_metadata *entry = &wire->sending[wire->sending_count++];
    entry->key = grpc_slice_from_copied_buffer((const char *)key.data, key.len);
    entry->value = grpc_slice_from_copied_buffer((const char *)value.data, value.len);
}

static struct smx_call_wire *new_wire(struct smx_call *call, const struct smx_call_plan *plan)
{
    enum { OURS = 2 }; /* metadata beside those of the plan */
    size_t sending = plan->metadata.count + OURS;
    struct smx_call_wire *wire = smx_alloc(sizeof(*wire) + sending * sizeof(grpc_metadata));
    wire->opened = (struct smx_completion){on_opened, call};
    wire->received = (struct smx_completion){on_received, call};
    wire->closed = (struct smx_completion){on_closed, call};
    wire->request = plan->request;
    wire->details = grpc_empty_slice();
    grpc_metadata_array_init(&wire->initial);
    grpc_metadata_array_init(&wire->trailing);
    for (size_t i = 0; i < plan->metadata.count; i++)
        add_metadata(wire, plan->metadata.items[i].key, plan->metadata.items[i].value);
    if (plan->codec)
        add_metadata(wire, smx_span_of("snakemux-codec"), smx_span_of(plan->codec));
    if (plan->gzip)
        add_metadata(wire, smx_span_of("grpc-internal-encoding-request"), smx_span_of("gzip"));
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (plan->timeout_ms > 0) {
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(plan->timeout_ms, GPR_TIMESPAN));
        wire->due_ms = wire->deadline_ms = smx_now_ms() + plan->timeout_ms;
    }
    grpc_slice path = grpc_slice_from_static_string(smx_method_path(plan->method));
    wire->call = grpc_channel_create_call(plan->channel, NULL, GRPC_PROPAGATE_DEFAULTS, call->gate->queue, path, NULL,
                                          deadline, NULL);
    return wire;
}

/* The request goes out, and the status is waited for. */
static void send(struct smx_call *call)
{
    struct smx_call_wire *wire = call->wire;
    grpc_op ops[] = {
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &wire->trailing,
                                        .status = &wire->status,
                                        .status_details = &wire->details}},
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .data.send_initial_metadata = {.count = wire->sending_count, .metadata = wire->sending}},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = wire->request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
    };
    if (start_batch(call, ops, sizeof(ops) / sizeof(ops[0]), &wire->closed))
        return;
    smx_call_cancel(call);
    if (!start_batch(call, ops, 1, &wire->closed)) /* even so it ends by a status */
        smx_abort("gRPC took no batch for the status of a new call");
}

/*
 * The initial metadata are asked for at once: without them messages and even the status stay stuck. With the first
 * message in the same batch a call costs a tenth less than when it is asked for as the worker begins to answer.
 */
static void open(struct smx_call *call)
{
    struct smx_call_wire *wire = call->wire;
    grpc_op ops[] = {
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &wire->initial},
        message_op(call),
    };
    bool early = passes_gate(call) || (is_stream(call) ? enter_gate(call) : smx_gate_try(call->gate, &call->pass));
    call->state = early ? SMX_CALL_RECEIVING : is_stream(call) ? SMX_CALL_PARKED : SMX_CALL_OPENING;
    if (!start_batch(call, ops, early ? 2 : 1, early ? &wire->received : &wire->opened))
        smx_call_cancel(call);
}

void smx_call_start(struct smx_call *call, struct smx_gate *gate, const struct smx_call_plan *plan)
{
    call->gate = gate;
    call->pass = (struct smx_gate_pass){.open = on_gate_open, .owner = call};
    call->method = plan->method;
    call->credit = plan->credit;
    call->wire = new_wire(call, plan);
    send(call);
    if (call->state != SMX_CALL_DROPPING)
        open(call);
}

void smx_call_expect_end(struct smx_call *call)
{
    if (call->state == SMX_CALL_RECEIVING && !is_stream(call) && call->messages > 0 && !call->wire->has_status)
        arm(call);
}

void smx_credit_add(uint32_t *credit, uint32_t count)
{
    *credit = count >= SMX_CREDIT_INFINITY - *credit ? SMX_CREDIT_INFINITY : *credit + count;
}

void smx_call_credit(struct smx_call *call, uint32_t count)
{
    if (call->state == SMX_CALL_FINISHED)
        return;
    bool stalled = call->credit == 0;
    smx_credit_add(&call->credit, count);
    if (stalled)
        smx_gate_leave(call->gate, &call->pass);
    if (stalled && call->state == SMX_CALL_PARKED)
        receive(call);
    if (call->state != SMX_CALL_HOLDING)
        return;
    struct smx_reply reply = call->wire->held;
    call->wire->held = (struct smx_reply){0};
    drop_held(call);
    call->state = SMX_CALL_RECEIVING;
    call->wire->busy = true;
    deliver(call, &reply);
    call->wire->busy = false;
    settle(call);
}

static void drop(struct smx_call *call)
{
    if (call->state == SMX_CALL_HOLDING)
        drop_held(call);
    smx_gate_leave(call->gate, &call->pass);
    call->state = SMX_CALL_DROPPING;
    call->wire->due_ms = smx_now_ms();
    grpc_call_cancel(call->wire->call, NULL);
}

void smx_call_cancel(struct smx_call *call)
{
    if (call->state == SMX_CALL_FINISHED || call->state == SMX_CALL_DROPPING || !call->wire)
        return;
    drop(call);
    settle(call);
}

bool smx_call_is_overdue(const struct smx_call *call, int64_t now_ms)
{
    const struct smx_call_wire *wire = call->wire;
    return wire && !wire->has_status && wire->due_ms > 0 && now_ms >= wire->due_ms + OVERDUE_MS;
}

void smx_call_give_up(struct smx_call *call)
{
    bool cancelled = call->state == SMX_CALL_DROPPING;
    if (!cancelled)
        drop(call); /* gRPC may put its own status in the wire's place now, or later */
    end(call, cancelled ? GRPC_STATUS_CANCELLED : GRPC_STATUS_DEADLINE_EXCEEDED,
        smx_span_of("the worker does not take what is written to it"));
}

void smx_call_fini(struct smx_call *call)
{
    smx_error_fini(&call->fault);
}
