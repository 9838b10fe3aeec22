/* Owns the channel and what is known of its worker; knows nothing of tags, sessions or which call goes where. */
#include "conn.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "announced.h"
#include "channel.h"

enum {
    LOST_GRACE_MS = 1000, /* a worker that comes back within it is not even reported as unreachable */
    RETRY_LOOK_MS = 1000, /* while it is unresponsive */
    LOOK_SLACK_MS = 500,  /* for gRPC to say that a look's deadline has passed */
    START_TOLERANCE_MS = 1000,
};

static const char *const state_names[] = {
    "connecting", "ready", "unresponsive", "unreachable", "draining", "gone",
};

const char *smx_conn_state_name(enum smx_conn_state state)
{
    return state_names[state];
}

static void set_state(struct smx_conn *conn, enum smx_conn_state state, const char *reason)
{
    bool leaving = conn->state == SMX_CONN_DRAINING && state != SMX_CONN_GONE;
    if (leaving || (conn->state == state && strcmp(conn->reason, reason) == 0))
        return;
    conn->state = state;
    conn->reason = reason;
    conn->since_ms = smx_now_ms();
    conn->events.changed(conn->events.owner, conn);
}

/* ---- One life of its worker ---- */

/* "s" and the worker's start on the monotonic clock, in ms: the same for every port program of this machine. */
static int64_t start_of(struct smx_span incarnation)
{
    char text[32];
    if (incarnation.len < 2 || incarnation.data[0] != 's' || incarnation.len >= sizeof(text))
        return -1;
    memcpy(text, incarnation.data, incarnation.len);
    text[incarnation.len] = 0;
    return strtoll(text + 1, NULL, 10);
}

bool smx_conn_is_incarnation(const struct smx_conn *conn, struct smx_span incarnation)
{
    struct smx_span current = smx_buffer_span(&conn->incarnation);
    if (smx_span_equal(current, incarnation))
        return true;
    int64_t here = start_of(current), there = start_of(incarnation);
    return here >= 0 && there >= 0 && llabs(here - there) <= START_TOLERANCE_MS;
}

static void take_start(struct smx_conn *conn, int64_t uptime_ms)
{
    static uint64_t unknown; /* lives that can't be told apart by their start */
    char text[64];
    bool fresh = conn->fresh;
    conn->fresh = false;
    if (!fresh || conn->given_incarnation)
        return;
    if (uptime_ms > 0)
        snprintf(text, sizeof(text), "s%" PRId64, smx_now_ms() - uptime_ms);
    else
        snprintf(text, sizeof(text), "u%" PRId64 "-%" PRIu64, smx_now_us(), ++unknown);
    if (conn->incarnation.len > 0 && smx_conn_is_incarnation(conn, smx_span_of(text)))
        return;
    conn->incarnation.len = 0;
    smx_buffer_append(&conn->incarnation, text, strlen(text));
}

/* ---- Looking at its health ---- */

static void start_look(struct smx_conn *conn, struct smx_call *call, enum smx_method method)
{
    size_t len;
    smx_call_fini(call);
    *call = (struct smx_call){.events = call->events, .owner = conn};
    conn->looking++;
    struct smx_message message = {0};
    struct smx_call_plan plan = {
        .channel = conn->channel,
        .method = method,
        .request = smx_message_pack(method, &message, &len),
        .timeout_ms = conn->options.unresponsive_after_ms,
    };
    smx_call_start(call, conn->gate, &plan);
}

static void look(void *owner)
{
    struct smx_conn *conn = owner;
    if (!conn->connected || conn->looking > 0)
        return;
    if (!conn->info_known)
        start_look(conn, &conn->info, SMX_METHOD_GET_INFO);
    start_look(conn, &conn->health, SMX_METHOD_HEALTH);
    smx_timer_set(conn->timers, &conn->patience, smx_now_ms() + conn->options.unresponsive_after_ms + LOOK_SLACK_MS);
}

/* The look could not even be written. It ends when the worker reads again, or is gone. */
static void on_look_overdue(void *owner)
{
    set_state(owner, SMX_CONN_UNRESPONSIVE, "silent");
}

static void look_in(struct smx_conn *conn, int64_t ms)
{
    if (ms > 0)
        smx_timer_set(conn->timers, &conn->probe, smx_now_ms() + ms);
}

/* A channel's arguments are fixed when it is made, so there are two. The old one's watch ends, the new one's starts. */
static void begin_to_ping(struct smx_conn *conn)
{
    grpc_channel_destroy(conn->channel);
    conn->channel = conn->pinging;
    conn->pinging = NULL;
    conn->connected = false;
    smx_timer_set(conn->timers, &conn->grace, smx_now_ms() + conn->options.ready_timeout_ms);
    set_state(conn, SMX_CONN_CONNECTING, "new");
}

/* Both answers are in: is it ready? */
static void judge(struct smx_conn *conn)
{
    if (conn->looking == 0)
        smx_timer_stop(conn->timers, &conn->patience);
    if (conn->looking > 0 || !conn->connected)
        return;
    if (conn->pinging && conn->allows_pings && conn->in_flight == 0) {
        begin_to_ping(conn);
        return;
    }
    int status = conn->health_status;
    bool doubtful = status == SMX_UNAVAILABLE || status == SMX_CANCELLED;
    if (doubtful && !conn->in_doubt) {
        /* Of a connection that was lost meanwhile, most likely; if not, the next look tells. */
        conn->in_doubt = true;
        look_in(conn, RETRY_LOOK_MS / 10);
        return;
    }
    conn->in_doubt = false;
    if (status == SMX_UNIMPLEMENTED)
        take_start(conn, 0);
    if (status == SMX_UNIMPLEMENTED || (status == SMX_OK && conn->healthy)) {
        conn->ever_ready = true;
        set_state(conn, SMX_CONN_READY, "healthy");
        look_in(conn, conn->options.health_interval_ms);
    } else {
        set_state(conn, SMX_CONN_UNRESPONSIVE, status == SMX_DEADLINE_EXCEEDED ? "silent" : "unhealthy");
        look_in(conn, RETRY_LOOK_MS);
    }
}

static void on_info(struct smx_call *call, struct smx_reply *reply)
{
    struct smx_conn *conn = call->owner;
    smx_reply_fini(&conn->about);
    conn->about = *reply;
    *reply = (struct smx_reply){0};
    smx_announced_take(conn);
    smx_call_expect_end(call);
}

static void on_info_end(struct smx_call *call, const struct smx_outcome *outcome)
{
    struct smx_conn *conn = call->owner;
    conn->looking--;
    conn->info_known = outcome->status == SMX_OK || outcome->status == SMX_UNIMPLEMENTED;
    judge(conn);
}

static void on_health(struct smx_call *call, struct smx_reply *reply)
{
    struct smx_conn *conn = call->owner;
    conn->healthy = reply->healthy;
    take_start(conn, reply->uptime_ms);
    smx_call_expect_end(call);
}

static void on_health_end(struct smx_call *call, const struct smx_outcome *outcome)
{
    struct smx_conn *conn = call->owner;
    conn->looking--;
    conn->health_status = outcome->status;
    if (call->fault.code != SMX_OK)
        conn->health_status = (int)call->fault.code; /* what it said can't be read, and so the call was cancelled */
    else if (call->messages == 0 && outcome->status == SMX_OK)
        conn->health_status = SMX_INTERNAL;
    judge(conn);
}

static const struct smx_call_events info_events = {on_info, on_info_end};
static const struct smx_call_events health_events = {on_health, on_health_end};

/* ---- The channel ---- */

static void watch(struct smx_conn *conn)
{
    conn->watching = true;
    grpc_channel_watch_connectivity_state(conn->channel, (grpc_connectivity_state)conn->channel_state,
                                          gpr_inf_future(GPR_CLOCK_MONOTONIC), conn->gate->queue, &conn->watch);
}

static void on_lost(struct smx_conn *conn)
{
    conn->connected = false;
    smx_timer_stop(conn->timers, &conn->probe);
    smx_timer_stop(conn->timers, &conn->patience);
    smx_timer_set(conn->timers, &conn->grace, smx_now_ms() + LOST_GRACE_MS);
    set_state(conn, SMX_CONN_CONNECTING, "lost");
}

static void on_channel_state(void *owner, bool ok)
{
    struct smx_conn *conn = owner;
    (void)ok;
    conn->watching = false;
    if (conn->state == SMX_CONN_GONE)
        return;
    /* Asking with 1 makes an idle channel connect again. */
    conn->channel_state = (int)grpc_channel_check_connectivity_state(conn->channel, 1);
    bool connected = conn->channel_state == GRPC_CHANNEL_READY;
    if (conn->connected && !connected) {
        on_lost(conn);
    } else if (!conn->connected && connected) {
        conn->connected = conn->fresh = true;
        smx_timer_stop(conn->timers, &conn->grace);
        look(conn);
    }
    watch(conn);
}

static void on_grace(void *owner)
{
    set_state(owner, SMX_CONN_UNREACHABLE, "connect_failed");
}

struct smx_conn *smx_conn_new(const struct smx_command *connect, struct smx_gate *gate, struct smx_timers *timers,
                              struct smx_conn_events events, struct smx_error *why)
{
    struct smx_buffer target = {0};
    smx_buffer_append_span(&target, connect->target);
    smx_buffer_append(&target, "", 1);
    struct smx_connect_options quiet = connect->connect;
    quiet.keepalive_ms = 0;
    struct grpc_channel *channel = smx_channel_new((const char *)target.data, &quiet, gate->max_message, why);
    struct grpc_channel *pinging = NULL;
    if (channel && connect->connect.keepalive_ms > 0)
        pinging = smx_channel_new((const char *)target.data, &connect->connect, gate->max_message, why);
    target.len--;
    if (!channel) {
        smx_buffer_fini(&target);
        return NULL;
    }
    struct smx_conn *conn = smx_alloc(sizeof(*conn));
    smx_buffer_append_span(&conn->id, connect->worker);
    conn->target = target;
    conn->channel = channel;
    conn->pinging = pinging;
    conn->options = connect->connect;
    conn->gate = gate;
    conn->timers = timers;
    conn->events = events;
    conn->reason = "new";
    conn->since_ms = smx_now_ms();
    conn->weight = connect->connect.weight;
    conn->max_concurrent = conn->options.max_concurrent ? conn->options.max_concurrent : SMX_DEFAULT_MAX_CONCURRENT;
    conn->given_incarnation = conn->options.incarnation.len > 0;
    smx_buffer_append_span(&conn->incarnation, conn->options.incarnation);
    smx_announced_nothing(conn);
    conn->watch = (struct smx_completion){on_channel_state, conn};
    conn->grace = (struct smx_timer){.fire = on_grace, .owner = conn};
    conn->probe = (struct smx_timer){.fire = look, .owner = conn};
    conn->patience = (struct smx_timer){.fire = on_look_overdue, .owner = conn};
    conn->health.events = &health_events;
    conn->info.events = &info_events;
    conn->channel_state = (int)grpc_channel_check_connectivity_state(conn->channel, 1);
    watch(conn);
    smx_timer_set(conn->timers, &conn->grace, smx_now_ms() + conn->options.ready_timeout_ms);
    return conn;
}

void smx_conn_drain(struct smx_conn *conn)
{
    set_state(conn, SMX_CONN_DRAINING, "disconnect");
}

void smx_conn_close(struct smx_conn *conn)
{
    set_state(conn, SMX_CONN_GONE, "disconnect");
    conn->connected = false;
    smx_timer_stop(conn->timers, &conn->grace);
    smx_timer_stop(conn->timers, &conn->probe);
    smx_timer_stop(conn->timers, &conn->patience);
    smx_call_cancel(&conn->info);
    smx_call_cancel(&conn->health);
    grpc_channel_destroy(conn->channel);
    if (conn->pinging)
        grpc_channel_destroy(conn->pinging);
    conn->channel = conn->pinging = NULL;
}

bool smx_conn_reap(struct smx_conn *conn)
{
    bool used = conn->watching || conn->looking > 0 || conn->telling > 0 || conn->requests > 0 || conn->queue_count > 0;
    if (conn->state != SMX_CONN_GONE || used)
        return false;
    smx_call_fini(&conn->info);
    smx_call_fini(&conn->health);
    smx_reply_fini(&conn->about);
    smx_buffer_fini(&conn->id);
    smx_buffer_fini(&conn->target);
    smx_buffer_fini(&conn->incarnation);
    smx_buffer_fini(&conn->command_names);
    free(conn);
    return true;
}

bool smx_conn_takes(const struct smx_conn *conn, struct smx_span command)
{
    if (conn->any_command)
        return true;
    struct smx_span names = smx_buffer_span(&conn->command_names);
    while (names.len > 0) {
        struct smx_span name = smx_span_of((const char *)names.data);
        if (smx_span_equal(name, command))
            return true;
        names.data += name.len + 1;
        names.len -= name.len + 1;
    }
    return false;
}

bool smx_conn_has_room(const struct smx_conn *conn)
{
    return conn->state == SMX_CONN_READY && conn->in_flight < conn->max_concurrent;
}

bool smx_conn_is_coming(const struct smx_conn *conn)
{
    return conn->state == SMX_CONN_CONNECTING || conn->state == SMX_CONN_UNRESPONSIVE;
}
