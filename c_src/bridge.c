/* Owns requests, connections, sessions and their meeting; knows neither the terms on stdio nor gRPC. */
#include "bridge.h"

#include <stdlib.h>
#include <string.h>

#include "farewell.h"
#include "report.h"
#include "route.h"
#include "term.h"

enum { SWEEP_MS = 250 };

/* ---- Events that belong to no request ---- */

static void emit(struct smx_bridge *bridge, const struct smx_event *event)
{
    struct smx_error why = {0};
    if (!bridge->sink.emit(bridge->sink.front, event, &why))
        smx_abort("an event without values was refused");
}

/* {ok, Tag, Result, #{}}; takes the result's buffer, empty for #{}. */
static void emit_ok(struct smx_bridge *bridge, struct smx_span tag, struct smx_buffer *result)
{
    if (result->len == 0)
        smx_term_put_map(result, 0);
    emit(bridge, &(struct smx_event){.kind = SMX_EVENT_OK, .tag = tag, .term = smx_buffer_span(result)});
    smx_buffer_fini(result);
}

/* {error, Tag, …} of a command that never became a request; takes the error. */
static void emit_error(struct smx_bridge *bridge, const struct smx_command *command, struct smx_error *error)
{
    emit(bridge, &(struct smx_event){
                     .kind = SMX_EVENT_ERROR,
                     .tag = command->tag,
                     .error = error,
                     .command = command->name,
                     .meta = {.worker = command->worker, .request_id = command->call.request_id, .chunks = -1},
                     .delivered = command->op == SMX_OP_EXECUTE_STREAM ? 0 : -1,
                 });
    smx_error_fini(error);
}

/* One that is drained or gone says nothing any more when the next one of its name is there. */
static void emit_worker(struct smx_bridge *bridge, const struct smx_conn *conn)
{
    if (smx_pool_is_replaced(&bridge->pool, conn))
        return;
    struct smx_buffer info = {0};
    smx_report_worker(conn, &info);
    emit(bridge, &(struct smx_event){
                     .kind = SMX_EVENT_WORKER,
                     .meta = {.worker = smx_buffer_span(&conn->id)},
                     .state = smx_conn_state_name(conn->state),
                     .term = smx_buffer_span(&info),
                 });
    smx_buffer_fini(&info);
}

void smx_bridge_hello(struct smx_bridge *bridge)
{
    struct smx_buffer info = {0};
    smx_report_hello(bridge, &info);
    emit(bridge, &(struct smx_event){.kind = SMX_EVENT_HELLO, .term = smx_buffer_span(&info)});
    smx_buffer_fini(&info);
}

/* ---- Connections ---- */

static void route_waiting(struct smx_bridge *bridge, struct smx_conn *conn)
{
    smx_route_queue(bridge, conn);
    smx_route_queue(bridge, NULL);
}

/* What waits for a connection that leaves is routed when the whole frame is done: it may bring the next one. */
static void route_soon(struct smx_bridge *bridge)
{
    smx_timer_set(&bridge->timers, &bridge->rerouting, smx_now_ms());
}

static void on_rerouting(void *owner)
{
    struct smx_bridge *bridge = owner;
    for (struct smx_conn *conn = bridge->pool.retired; conn; conn = conn->next)
        smx_route_queue(bridge, conn);
    for (struct smx_conn *conn = bridge->pool.conns; conn; conn = conn->next)
        if (conn->state == SMX_CONN_DRAINING)
            smx_route_queue(bridge, conn);
    smx_route_queue(bridge, NULL);
}

static void on_conn_changed(void *owner, struct smx_conn *conn)
{
    struct smx_bridge *bridge = owner;
    emit_worker(bridge, conn);
    if (conn->state == SMX_CONN_GONE || conn->state == SMX_CONN_DRAINING)
        route_soon(bridge);
    else
        route_waiting(bridge, conn);
}

static void close_conn(struct smx_bridge *bridge, struct smx_conn *conn)
{
    smx_pool_retire(&bridge->pool, conn);
    smx_conn_close(conn);
    struct smx_request *request;
    for (size_t at = 0; (request = smx_table_next(&bridge->requests, &at));) {
        if (request->conn != conn)
            continue;
        struct smx_error why = {0};
        smx_error_set(&why, SMX_UNAVAILABLE, "worker_down", "worker %.*s was disconnected during the call",
                      (int)conn->id.len, (const char *)conn->id.data);
        why.sent = true;
        smx_request_fail(request, &why);
    }
    if (conn->leaver)
        smx_request_done(conn->leaver, (struct smx_span){0});
}

static void on_request_ended(void *owner, struct smx_request *request)
{
    struct smx_bridge *bridge = owner;
    struct smx_conn *conn = request->conn;
    smx_table_remove(&bridge->requests, request->tag);
    smx_pool_unqueue(&bridge->pool, request);
    if (smx_request_is_call(request)) {
        bridge->counters.succeeded += request->fault.code == SMX_OK;
        bridge->counters.cancelled += request->fault.code == SMX_CANCELLED;
        bridge->counters.failed += request->fault.code != SMX_OK && request->fault.code != SMX_CANCELLED;
    }
    if (!conn)
        return;
    struct smx_session *session =
        request->session.len > 0 ? smx_session_find(&bridge->sessions, request->session) : NULL;
    if (session && session->running > 0) {
        session->running--;
        smx_session_touch(&bridge->sessions, session);
    }
    conn->requests--;
    if (!smx_request_is_call(request))
        return;
    conn->in_flight--;
    if (conn->state == SMX_CONN_DRAINING && conn->in_flight == 0)
        close_conn(bridge, conn);
    else
        smx_route_pump(bridge, conn);
}

static void on_session_expired(void *owner, struct smx_session *session)
{
    struct smx_bridge *bridge = owner;
    struct smx_conn *conn = smx_pool_find(&bridge->pool, smx_buffer_span(&session->worker));
    if (conn)
        smx_farewell_send(conn, smx_buffer_span(&session->id));
}

/* ---- Commands ---- */

static void sweep_soon(struct smx_bridge *bridge)
{
    if (bridge->requests.count > 0 && bridge->sweeping.place == 0)
        smx_timer_set(&bridge->timers, &bridge->sweeping, smx_now_ms() + SWEEP_MS);
}

static void on_sweeping(void *owner)
{
    struct smx_bridge *bridge = owner;
    int64_t now = smx_now_ms();
    struct smx_request *request;
    for (size_t at = 0; (request = smx_table_next(&bridge->requests, &at));)
        if (smx_call_is_overdue(&request->call, now))
            smx_call_give_up(&request->call);
    sweep_soon(bridge);
}

static struct smx_request *new_request(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_request *request =
        smx_request_new(command, &bridge->timers, &bridge->sink, (struct smx_request_events){on_request_ended, bridge});
    smx_table_put(&bridge->requests, request->tag, request);
    sweep_soon(bridge);
    return request;
}

static void handle_execute(struct smx_bridge *bridge, const struct smx_command *command)
{
    if (bridge->requests.count >= bridge->limits.max_calls) {
        struct smx_error why = {0};
        smx_error_set(&why, SMX_RESOURCE_EXHAUSTED, "too_many_calls",
                      "there are max_calls (%zu) calls already: slow down, or raise --max-calls",
                      bridge->limits.max_calls);
        emit_error(bridge, command, &why);
        return;
    }
    bridge->counters.started++;
    smx_route(bridge, new_request(bridge, command), command);
}

/* The connection that a command names; NULL when there is none, and that is answered. */
static struct smx_conn *named_conn(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_conn *conn = smx_pool_find(&bridge->pool, command->worker);
    if (!conn) {
        struct smx_error why = {0};
        smx_error_set(&why, SMX_NOT_FOUND, "no_worker", "there is no worker %.*s", (int)command->worker.len,
                      (const char *)command->worker.data);
        emit_error(bridge, command, &why);
    }
    return conn;
}

static void handle_ask(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_conn *conn = named_conn(bridge, command);
    if (conn)
        smx_request_start(new_request(bridge, command), conn, command);
}

static void handle_connect(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_error why = {0};
    struct smx_conn *conn = NULL;
    const struct smx_conn *there = smx_pool_find(&bridge->pool, command->worker);
    if (there && there->state != SMX_CONN_DRAINING)
        smx_error_set(&why, SMX_ALREADY_EXISTS, "already_exists", "there is a worker %.*s already",
                      (int)command->worker.len, (const char *)command->worker.data);
    else
        conn = smx_conn_new(command, &bridge->gate, &bridge->timers, (struct smx_conn_events){on_conn_changed, bridge},
                            &why);
    if (!conn) {
        emit_error(bridge, command, &why);
        return;
    }
    smx_pool_add(&bridge->pool, conn);
    emit_ok(bridge, command->tag, &(struct smx_buffer){0});
    emit_worker(bridge, conn);
}

static void on_drain_overdue(void *owner)
{
    struct smx_request *request = owner;
    close_conn(request->events.owner, request->leaving);
}

static void handle_disconnect(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_conn *conn = named_conn(bridge, command);
    if (!conn)
        return;
    if (command->drain_ms < 0 || conn->in_flight == 0) {
        close_conn(bridge, conn);
        emit_ok(bridge, command->tag, &(struct smx_buffer){0});
        return;
    }
    if (conn->leaver)
        smx_request_done(conn->leaver, (struct smx_span){0}); /* the newer disconnect takes its place */
    struct smx_request *request = new_request(bridge, command);
    request->leaving = conn;
    conn->leaver = request;
    request->timer = (struct smx_timer){.fire = on_drain_overdue, .owner = request};
    smx_timer_set(&bridge->timers, &request->timer, smx_now_ms() + command->drain_ms);
    smx_conn_drain(conn);
}

static void handle_credit(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_request *request = smx_table_get(&bridge->requests, command->tag);
    if (!request || request->op != SMX_OP_EXECUTE_STREAM)
        return; /* a normal race */
    if (request->call.wire)
        smx_call_credit(&request->call, command->credit);
    else
        smx_credit_add(&request->options.credit, command->credit);
}

static void handle_cancel(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_request *request = smx_table_get(&bridge->requests, command->tag);
    if (request && request->op != SMX_OP_DISCONNECT)
        smx_request_cancel(request);
}

static void handle_pin(struct smx_bridge *bridge, const struct smx_command *command)
{
    if (!smx_session_pin(&bridge->sessions, command->session, command->worker, command->incarnation))
        smx_log("a pin was dropped: there are max_sessions (%zu) already", bridge->limits.max_sessions);
}

static void handle_end_session(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_session *session = smx_session_find(&bridge->sessions, command->session);
    if (session) {
        on_session_expired(bridge, session);
        smx_session_remove(&bridge->sessions, session);
    }
    emit_ok(bridge, command->tag, &(struct smx_buffer){0});
}

static void handle_report(struct smx_bridge *bridge, const struct smx_command *command)
{
    struct smx_buffer term = {0};
    if (command->op == SMX_OP_STATS)
        smx_report_stats(bridge, &term);
    else if (command->op == SMX_OP_CALLS)
        smx_report_calls(bridge, command->limit, &term);
    else
        smx_term_put_atom(&term, "pong");
    emit_ok(bridge, command->tag, &term);
}

/* A tag is free for reuse after its terminal event, not before: the first call goes on undisturbed. */
static bool is_duplicate(struct smx_bridge *bridge, const struct smx_command *command)
{
    if (command->tag.len == 0 || command->op == SMX_OP_CREDIT || command->op == SMX_OP_CANCEL ||
        !smx_table_get(&bridge->requests, command->tag))
        return false;
    struct smx_error why = {0};
    smx_error_set(&why, SMX_ALREADY_EXISTS, "duplicate_tag", "the tag of a command is that of a running call");
    emit(bridge, &(struct smx_event){.kind = SMX_EVENT_PROTOCOL_ERROR, .error = &why, .tag = command->tag});
    smx_error_fini(&why);
    return true;
}

bool smx_bridge_is_live(void *bridge, struct smx_span tag)
{
    return smx_table_get(&((struct smx_bridge *)bridge)->requests, tag) != NULL;
}

void smx_bridge_handle(void *owner, const struct smx_command *command)
{
    struct smx_bridge *bridge = owner;
    if (is_duplicate(bridge, command))
        return;
    switch (command->op) {
    case SMX_OP_CONNECT:
        handle_connect(bridge, command);
        break;
    case SMX_OP_DISCONNECT:
        handle_disconnect(bridge, command);
        break;
    case SMX_OP_EXECUTE:
    case SMX_OP_EXECUTE_STREAM:
        handle_execute(bridge, command);
        break;
    case SMX_OP_HEALTH:
    case SMX_OP_INFO:
        handle_ask(bridge, command);
        break;
    case SMX_OP_CREDIT:
        handle_credit(bridge, command);
        break;
    case SMX_OP_CANCEL:
        handle_cancel(bridge, command);
        break;
    case SMX_OP_PIN:
        handle_pin(bridge, command);
        break;
    case SMX_OP_END_SESSION:
        handle_end_session(bridge, command);
        break;
    case SMX_OP_STATS:
    case SMX_OP_CALLS:
    case SMX_OP_PING:
        handle_report(bridge, command);
        break;
    }
}

/* ---- The life of the bridge ---- */

void smx_bridge_init(struct smx_bridge *bridge, const struct smx_limits *limits, struct grpc_completion_queue *queue,
                     const char *core_version, struct smx_sink sink)
{
    *bridge = (struct smx_bridge){
        .limits = *limits,
        .sink = sink,
        .pool = {.max_queue = limits->max_queue},
        .started_ms = smx_now_ms(),
        .core_version = core_version,
    };
    smx_gate_init(&bridge->gate, queue, limits->max_message, limits->max_buffered);
    bridge->sweeping = (struct smx_timer){.fire = on_sweeping, .owner = bridge};
    bridge->rerouting = (struct smx_timer){.fire = on_rerouting, .owner = bridge};
    smx_sessions_init(&bridge->sessions, limits, &bridge->timers, on_session_expired, bridge);
}

void smx_bridge_fini(struct smx_bridge *bridge)
{
    smx_sessions_fini(&bridge->sessions);
    smx_table_fini(&bridge->requests);
    smx_timers_fini(&bridge->timers);
}

void smx_bridge_turn(struct smx_bridge *bridge, size_t buffered)
{
    smx_gate_turn(&bridge->gate, buffered);
    smx_pool_reap(&bridge->pool);
}

int64_t smx_bridge_next(const struct smx_bridge *bridge)
{
    int64_t timer = smx_timers_next(&bridge->timers);
    int64_t gate = smx_gate_next(&bridge->gate);
    return timer < 0 || (gate >= 0 && gate < timer) ? gate : timer;
}

void smx_bridge_stop(struct smx_bridge *bridge)
{
    struct smx_request *request;
    for (size_t at = 0; (request = smx_table_next(&bridge->requests, &at));)
        if (request->op != SMX_OP_DISCONNECT)
            smx_request_cancel(request);
    while (bridge->pool.conns)
        close_conn(bridge, bridge->pool.conns);
}

bool smx_bridge_is_idle(const struct smx_bridge *bridge)
{
    return bridge->requests.count == 0 && !bridge->pool.conns && !bridge->pool.retired && bridge->gate.orphans == 0;
}
