/* Owns the decision where a request goes, and its pin; knows nothing of the commands that brought it. */
#include "route.h"

#include "report.h"

/* Where it may go: to one worker, or to any (NULL). False: nowhere, `why` is set. */
static bool find_session_target(struct smx_bridge *bridge, const struct smx_command *command, struct smx_conn **target,
                                struct smx_error *why)
{
    struct smx_session *session = smx_session_find(&bridge->sessions, command->session);
    if (!session && command->to == SMX_TO_SESSION)
        return true;
    struct smx_span id = session ? smx_buffer_span(&session->worker) : command->worker;
    struct smx_conn *conn = smx_pool_find(&bridge->pool, id);
    if (session && command->to == SMX_TO_SESSION_WORKER && !smx_span_equal(id, command->worker))
        return smx_error_set(why, SMX_FAILED_PRECONDITION, "session_pinned",
                             "the session belongs to worker %.*s: end it first, or leave the worker out", (int)id.len,
                             (const char *)id.data);
    if (!session && !conn)
        return smx_error_set(why, SMX_NOT_FOUND, "no_worker", "there is no worker %.*s", (int)id.len,
                             (const char *)id.data);
    bool known = conn && conn->ever_ready && !conn->fresh && session && session->incarnation.len > 0;
    if (conn && (!known || smx_conn_is_incarnation(conn, smx_buffer_span(&session->incarnation)))) {
        *target = conn;
        return true;
    }
    /* The memory of the session is gone with the worker's process: said once, then the session starts anew. */
    if (!command->call.move_lost_session)
        smx_error_set(why, SMX_FAILED_PRECONDITION, "session_lost",
                      "worker %.*s, which kept the session, is gone or was started anew: what it knew is lost. "
                      "The next call starts the session anew; on_session_lost => move does so at once",
                      (int)id.len, (const char *)id.data);
    smx_session_remove(&bridge->sessions, session);
    return command->call.move_lost_session;
}

static bool find_target(struct smx_bridge *bridge, const struct smx_command *command, struct smx_conn **target,
                        struct smx_error *why)
{
    *target = NULL;
    switch (command->to) {
    case SMX_TO_ANY:
        return true;
    case SMX_TO_WORKER:
        *target = smx_pool_find(&bridge->pool, command->worker);
        if (*target)
            return true;
        return smx_error_set(why, SMX_NOT_FOUND, "no_worker", "there is no worker %.*s", (int)command->worker.len,
                             (const char *)command->worker.data);
    case SMX_TO_SESSION:
    case SMX_TO_SESSION_WORKER:
        return find_session_target(bridge, command, target, why);
    }
    return false;
}

/* So that the owner can tell the next port program, also when this one ends before the session's first answer. */
static void emit_pinned(struct smx_bridge *bridge, const struct smx_session *session)
{
    struct smx_error none = {0};
    struct smx_event event = {
        .kind = SMX_EVENT_PINNED,
        .session = smx_buffer_span(&session->id),
        .meta = {.worker = smx_buffer_span(&session->worker), .incarnation = smx_buffer_span(&session->incarnation)},
    };
    bridge->sink.emit(bridge->sink.front, &event, &none);
}

/* A session's call pins it, and its use keeps it alive. */
static bool use_session(struct smx_bridge *bridge, const struct smx_request *request, const struct smx_conn *conn,
                        struct smx_error *why)
{
    if (request->session.len == 0)
        return true;
    struct smx_session *session = smx_session_find(&bridge->sessions, request->session);
    bool pins = !session || session->incarnation.len == 0;
    if (pins)
        session = smx_session_pin(&bridge->sessions, request->session, smx_buffer_span(&conn->id),
                                  smx_buffer_span(&conn->incarnation));
    if (!session)
        return smx_error_set(why, SMX_RESOURCE_EXHAUSTED, "too_many_sessions",
                             "there are max_sessions (%zu) sessions already: end some, or raise --max-sessions",
                             bridge->limits.max_sessions);
    if (pins)
        emit_pinned(bridge, session);
    session->running++;
    smx_session_touch(&bridge->sessions, session);
    return true;
}

static void set_verdict_error(struct smx_bridge *bridge, enum smx_verdict verdict, const struct smx_command *command,
                              struct smx_error *why)
{
    int len = (int)command->name.len;
    const char *name = (const char *)command->name.data;
    switch (verdict) {
    case SMX_VERDICT_UNIMPLEMENTED:
        smx_error_set(why, SMX_UNIMPLEMENTED, "no_worker",
                      "no worker takes the command %.*s; details has those there are", len, name);
        smx_report_commands(&bridge->pool, &why->details);
        break;
    case SMX_VERDICT_NO_WORKER:
        smx_error_set(why, SMX_UNAVAILABLE, "no_worker", "there is no worker: connect one first");
        break;
    case SMX_VERDICT_START:
    case SMX_VERDICT_BUSY:
    case SMX_VERDICT_COMING: /* and wait_for_ready is off */
    case SMX_VERDICT_UNAVAILABLE:
        smx_error_set(why, SMX_UNAVAILABLE, "worker_down", "no worker that takes %.*s can be reached now", len, name);
        break;
    }
}

static void on_queue_deadline(void *owner)
{
    struct smx_request *request = owner;
    struct smx_error why = {0};
    smx_error_set(&why, SMX_DEADLINE_EXCEEDED, "deadline", "no worker had room for it within its timeout of %lld ms",
                  (long long)request->options.timeout_ms);
    smx_request_fail(request, &why);
}

static bool enqueue(struct smx_bridge *bridge, struct smx_request *request, struct smx_conn *target,
                    const struct smx_command *command, struct smx_error *why)
{
    if (!smx_pool_push(&bridge->pool, target, request))
        return smx_error_set(why, SMX_RESOURCE_EXHAUSTED, "queue_full",
                             "%zu calls wait already: slow down, add workers, or raise --max-queue",
                             bridge->pool.max_queue);
    if (request->kept)
        return true;
    request->kept = smx_command_keep(command);
    request->timer = (struct smx_timer){.fire = on_queue_deadline, .owner = request};
    if (request->deadline_ms > 0)
        smx_timer_set(&bridge->timers, &request->timer, request->deadline_ms);
    return true;
}

void smx_route(struct smx_bridge *bridge, struct smx_request *request, const struct smx_command *command)
{
    struct smx_error why = {0};
    struct smx_conn *target, *conn = NULL;
    enum smx_verdict verdict = SMX_VERDICT_UNAVAILABLE;
    bool going = find_target(bridge, command, &target, &why);
    if (going) {
        verdict = target ? smx_pool_ask(target, command->name) : smx_pool_choose(&bridge->pool, command->name, &conn);
        conn = target ? target : conn;
    }
    bool waits = verdict == SMX_VERDICT_BUSY || (verdict == SMX_VERDICT_COMING && command->call.wait_for_ready);
    if (going && verdict == SMX_VERDICT_START && use_session(bridge, request, conn, &why)) {
        smx_request_start(request, conn, command);
        return;
    }
    if (going && waits && enqueue(bridge, request, target, command, &why))
        return;
    set_verdict_error(bridge, verdict, command, &why);
    smx_request_fail(request, &why);
}

void smx_route_queue(struct smx_bridge *bridge, struct smx_conn *conn)
{
    struct smx_request *request = smx_pool_take_queue(&bridge->pool, conn);
    while (request) {
        struct smx_request *next = request->next;
        smx_route(bridge, request, request->kept);
        request = next;
    }
}

void smx_route_pump(struct smx_bridge *bridge, struct smx_conn *conn)
{
    if (conn->pumping)
        return;
    conn->pumping = true;
    struct smx_request *request;
    while (smx_conn_has_room(conn) && (request = smx_pool_oldest(&bridge->pool, conn))) {
        smx_pool_unqueue(&bridge->pool, request);
        if (request->session.len > 0)
            smx_route(bridge, request, request->kept); /* another call of the session may have pinned it elsewhere */
        else
            smx_request_start(request, conn, request->kept);
    }
    conn->pumping = false;
}
