/* Routes commands to connections and calls, and what comes of them to events: the centre of the port program. */
#ifndef SMX_BRIDGE_H
#define SMX_BRIDGE_H

#include "call.h"
#include "pool.h"
#include "protocol.h"
#include "session.h"
#include "table.h"
#include "timer.h"

/* How many requests ended in which way, since the start. */
struct smx_counters {
    uint64_t started;
    uint64_t succeeded;
    uint64_t failed;
    uint64_t cancelled;
    uint64_t chunks;
};

struct smx_bridge {
    struct smx_limits limits;
    struct smx_gate gate;
    struct smx_timers timers;
    struct smx_sink sink;
    struct smx_table requests; /* by tag: all that have no terminal event yet */
    struct smx_pool pool;
    struct smx_timer rerouting; /* of what waited for connections that left */
    struct smx_timer sweeping;  /* of calls that don't end by themselves, while there are calls */
    struct smx_sessions sessions;
    struct smx_counters counters;
    int64_t started_ms;
    const char *core_version; /* the version of gRPC; static */
};

void smx_bridge_init(struct smx_bridge *bridge, const struct smx_limits *limits, struct grpc_completion_queue *queue,
                     const char *core_version, struct smx_sink sink);
/* After the requests and connections are gone. */
void smx_bridge_fini(struct smx_bridge *bridge);
/* Says hello: the first event. */
void smx_bridge_hello(struct smx_bridge *bridge);
/* A smx_handler's handle; `bridge` is a struct smx_bridge. */
void smx_bridge_handle(void *bridge, const struct smx_command *command);
/* And its is_live. */
bool smx_bridge_is_live(void *bridge, struct smx_span tag);
/* Once a turn of the loop: opens and closes the gate, `buffered` bytes waiting for stdout; frees what is over. */
void smx_bridge_turn(struct smx_bridge *bridge, size_t buffered);
/* When a turn is due even if nothing happens, in ms of smx_now_ms; -1: never. */
int64_t smx_bridge_next(const struct smx_bridge *bridge);
/* Cancels everything and closes every connection; the completions that follow bring the last events. */
void smx_bridge_stop(struct smx_bridge *bridge);
/* Nothing is left of it: no request, no connection. */
bool smx_bridge_is_idle(const struct smx_bridge *bridge);

#endif
