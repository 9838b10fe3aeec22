/* Owns the budget for what workers send; knows nothing of calls, messages or gRPC. */
#include "gate.h"

enum {
    SILENCE_MS = 250,          /* a promise that brought nothing for so long is given to others */
    FIRST_GUESS = 1024 * 1024, /* of the size of a message */
    /* Small ones are here as soon as they are asked for, so this many never wait for each other; and when large ones
       follow small ones, no more of them than this come at once. */
    LEAST_GUESS = 256 * 1024,
};

void smx_gate_init(struct smx_gate *gate, struct grpc_completion_queue *queue, size_t max_message, size_t max_buffered)
{
    *gate = (struct smx_gate){.queue = queue, .max_message = max_message, .limit = max_buffered / 2};
    for (int lane = 0; lane < SMX_GATE_LANES; lane++)
        gate->shares[lane] = (struct smx_gate_share){.limit = max_buffered / 4, .expected = FIRST_GUESS};
    /* Answers, early or not, have one share. */
    gate->shares[SMX_GATE_EARLY].limit /= 2;
    gate->shares[SMX_GATE_ANSWER].limit /= 2;
}

static void append(struct smx_gate_list *list, struct smx_gate_pass *pass)
{
    pass->next = NULL;
    pass->previous = list->last;
    if (list->last)
        list->last->next = pass;
    else
        list->first = pass;
    list->last = pass;
}

static void take_out(struct smx_gate_list *list, struct smx_gate_pass *pass)
{
    if (pass->previous)
        pass->previous->next = pass->next;
    else
        list->first = pass->next;
    if (pass->next)
        pass->next->previous = pass->previous;
    else
        list->last = pass->previous;
    pass->next = pass->previous = NULL;
}

/* The first one is always admitted, else a message larger than the share would never come. */
static bool has_room(const struct smx_gate *gate, const struct smx_gate_pass *pass)
{
    const struct smx_gate_share *share = &gate->shares[pass->lane];
    if (gate->closed)
        return false;
    size_t used = share->promised + share->held;
    size_t wanted = pass->wanted > 0 ? pass->wanted : share->expected;
    return pass->lane == SMX_GATE_FLOW || used == 0 || used + wanted <= share->limit;
}

static void admit(struct smx_gate *gate, struct smx_gate_pass *pass)
{
    struct smx_gate_share *share = &gate->shares[pass->lane];
    if (pass->lane == SMX_GATE_FLOW)
        return;
    pass->promised = pass->wanted > 0 ? pass->wanted : share->expected;
    pass->since_ms = smx_now_ms();
    share->promised += pass->promised;
    append(&share->admitted, pass);
}

bool smx_gate_enter(struct smx_gate *gate, struct smx_gate_pass *pass, enum smx_gate_lane lane, size_t wanted)
{
    struct smx_gate_share *share = &gate->shares[lane];
    pass->lane = lane;
    pass->wanted = wanted;
    pass->waiting = share->waiting.first || !has_room(gate, pass);
    if (pass->waiting)
        append(&share->waiting, pass);
    else
        admit(gate, pass);
    return !pass->waiting;
}

bool smx_gate_try(struct smx_gate *gate, struct smx_gate_pass *pass)
{
    const struct smx_gate_share *share = &gate->shares[SMX_GATE_EARLY], *answers = &gate->shares[SMX_GATE_ANSWER];
    pass->lane = SMX_GATE_EARLY;
    pass->wanted = answers->expected;
    bool room = !gate->closed && share->promised + answers->held + pass->wanted <= share->limit;
    if (room)
        admit(gate, pass);
    return room;
}

static void forget_promise(struct smx_gate_share *share, struct smx_gate_pass *pass)
{
    share->promised -= pass->promised;
    pass->promised = 0;
    take_out(&share->admitted, pass);
}

void smx_gate_leave(struct smx_gate *gate, struct smx_gate_pass *pass)
{
    struct smx_gate_share *share = &gate->shares[pass->lane];
    if (pass->waiting)
        take_out(&share->waiting, pass);
    else if (pass->promised > 0)
        forget_promise(share, pass);
    pass->waiting = false;
}

void smx_gate_hold(struct smx_gate *gate, enum smx_gate_lane lane, size_t len)
{
    struct smx_gate_share *share = &gate->shares[lane];
    share->held += len;
    size_t guess = share->expected - share->expected / 8; /* up at once, down slowly */
    guess = guess < len ? len : guess;
    share->expected = guess < LEAST_GUESS ? LEAST_GUESS : guess;
}

void smx_gate_release(struct smx_gate *gate, enum smx_gate_lane lane, size_t len)
{
    gate->shares[lane].held -= len;
}

void smx_gate_turn(struct smx_gate *gate, size_t output)
{
    if (output > gate->limit)
        gate->closed = true;
    else if (output <= gate->limit / 2)
        gate->closed = false;
    for (int lane = 0; lane < SMX_GATE_LANES; lane++) {
        struct smx_gate_share *share = &gate->shares[lane];
        if (!share->waiting.first)
            continue;
        int64_t old = smx_now_ms() - SILENCE_MS;
        while (share->admitted.first && share->admitted.first->since_ms <= old)
            forget_promise(share, share->admitted.first);
        struct smx_gate_pass *pass;
        while ((pass = share->waiting.first) && has_room(gate, pass)) {
            take_out(&share->waiting, pass);
            pass->waiting = false;
            admit(gate, pass);
            pass->open(pass->owner);
        }
    }
}

int64_t smx_gate_next(const struct smx_gate *gate)
{
    int64_t next = -1;
    for (int lane = 0; lane < SMX_GATE_LANES; lane++) {
        const struct smx_gate_share *share = &gate->shares[lane];
        if (!share->waiting.first || !share->admitted.first || gate->closed)
            continue;
        int64_t at = share->admitted.first->since_ms + SILENCE_MS;
        next = next < 0 || at < next ? at : next;
    }
    return next;
}

size_t smx_gate_held(const struct smx_gate *gate)
{
    size_t held = 0;
    for (int lane = 0; lane < SMX_GATE_LANES; lane++)
        held += gate->shares[lane].held;
    return held;
}
