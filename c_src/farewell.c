/* Owns one RPC for each session that ends; knows nothing of what sessions are. */
#include "farewell.h"

#include <stdlib.h>

#include "message.h"

enum { END_SESSION_TIMEOUT_MS = 5000 };

struct farewell {
    struct smx_call call;
    struct smx_conn *conn;
};

static void on_farewell(struct smx_call *call, struct smx_reply *reply)
{
    (void)reply;
    smx_call_expect_end(call);
}

static void on_farewell_end(struct smx_call *call, const struct smx_outcome *outcome)
{
    struct farewell *farewell = call->owner;
    (void)outcome;
    farewell->conn->telling--;
    smx_call_fini(call);
    free(farewell);
}

void smx_farewell_send(struct smx_conn *conn, struct smx_span session)
{
    static const struct smx_call_events farewell_events = {on_farewell, on_farewell_end};
    if (!conn->announces_sessions || !conn->connected)
        return;
    struct farewell *farewell = smx_alloc(sizeof(*farewell));
    farewell->conn = conn;
    farewell->call = (struct smx_call){.events = &farewell_events, .owner = farewell};
    conn->telling++;
    struct smx_message message = {
        .session = session,
        .command = smx_span_of("snakemux.end_session"),
        .timeout_ms = END_SESSION_TIMEOUT_MS,
    };
    size_t len;
    struct smx_call_plan plan = {
        .channel = conn->channel,
        .method = SMX_METHOD_EXECUTE_IN_SESSION,
        .request = smx_message_pack(SMX_METHOD_EXECUTE_IN_SESSION, &message, &len),
        .timeout_ms = END_SESSION_TIMEOUT_MS,
    };
    smx_call_start(&farewell->call, conn->gate, &plan);
}
