/* Owns nothing; reads everybody's state, changes none. */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge.h"
#include "build.h"
#include "term.h"

static void put_text(struct smx_buffer *out, const char *key, struct smx_span value)
{
    smx_term_put_atom(out, key);
    smx_term_put_binary(out, value);
}

static void put_atom(struct smx_buffer *out, const char *key, const char *value)
{
    smx_term_put_atom(out, key);
    smx_term_put_atom(out, value);
}

static void put_number(struct smx_buffer *out, const char *key, uint64_t value)
{
    smx_term_put_atom(out, key);
    smx_term_put_uint(out, value);
}

static void put_signed(struct smx_buffer *out, const char *key, int64_t value)
{
    smx_term_put_atom(out, key);
    smx_term_put_int(out, value);
}

static void put_names(struct smx_buffer *out, struct smx_span names)
{
    size_t count = 0;
    for (size_t i = 0; i < names.len; i++)
        count += names.data[i] == 0;
    if (count > 0)
        smx_term_put_list(out, count);
    for (size_t at = 0; at < names.len;) {
        struct smx_span name = smx_span_of((const char *)names.data + at);
        smx_term_put_binary(out, name);
        at += name.len + 1;
    }
    smx_term_put_nil(out);
}

static void put_pairs(struct smx_buffer *out, const char *key, struct smx_pairs pairs)
{
    struct smx_build build = {.out = out};
    smx_term_put_atom(out, key);
    smx_build_map(&build);
    for (size_t i = 0; i < pairs.count; i++) {
        smx_build_key(&build);
        smx_build_binary(&build, pairs.items[i].key);
        smx_build_binary(&build, pairs.items[i].value);
    }
    smx_build_end(&build);
    smx_build_fini(&build);
}

void smx_report_hello(const struct smx_bridge *bridge, struct smx_buffer *out)
{
    const struct smx_limits *limits = &bridge->limits;
    smx_term_put_map(out, 4);
    put_text(out, "version", smx_span_of(SMX_VERSION));
    put_text(out, "grpc", smx_span_of(bridge->core_version));
    smx_term_put_atom(out, "features");
    smx_term_put_list(out, 6);
    smx_term_put_atom(out, "batch");
    smx_term_put_atom(out, "fragment");
    smx_term_put_atom(out, "meta");
    smx_term_put_atom(out, "json");
    smx_term_put_atom(out, "msgpack");
    smx_term_put_atom(out, "gzip");
    smx_term_put_nil(out);
    smx_term_put_atom(out, "limits");
    smx_term_put_map(out, 7);
    put_number(out, "max_frame", limits->max_frame);
    put_number(out, "max_parts", SMX_PARTS_FRAMES * limits->max_frame);
    put_number(out, "max_message", limits->max_message);
    put_number(out, "max_buffered", limits->max_buffered);
    put_number(out, "max_queue", limits->max_queue);
    put_number(out, "max_calls", limits->max_calls);
    put_number(out, "max_sessions", limits->max_sessions);
    put_signed(out, "session_ttl", limits->session_ttl_ms);
}

void smx_report_worker(const struct smx_conn *conn, struct smx_buffer *out)
{
    smx_term_put_map(out, conn->any_command ? 12 : 13);
    put_atom(out, "reason", conn->reason);
    put_signed(out, "since_ms", smx_now_ms() - conn->since_ms);
    put_text(out, "incarnation", smx_buffer_span(&conn->incarnation));
    put_text(out, "target", smx_buffer_span(&conn->target));
    put_number(out, "in_flight", conn->in_flight);
    put_number(out, "queued", conn->queue_count);
    put_number(out, "calls", conn->calls);
    put_number(out, "weight", conn->weight);
    put_number(out, "max_concurrent", conn->max_concurrent);
    put_atom(out, "codec", conn->codec == SMX_CODEC_MSGPACK ? "msgpack" : "json");
    put_text(out, "version", conn->about.version);
    put_pairs(out, "capabilities", conn->about.capabilities);
    if (conn->any_command)
        return;
    smx_term_put_atom(out, "commands");
    put_names(out, smx_buffer_span(&conn->command_names));
}

static size_t resident_bytes(void)
{
    char text[128] = "";
    FILE *in = fopen("/proc/self/statm", "re");
    size_t pages = 0;
    if (in && fgets(text, sizeof(text), in)) {
        char *second = strchr(text, ' ');
        pages = second ? strtoul(second, NULL, 10) : 0;
    }
    if (in)
        fclose(in);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

void smx_report_stats(const struct smx_bridge *bridge, struct smx_buffer *out)
{
    size_t workers = 0, queued = bridge->pool.queued;
    for (const struct smx_conn *conn = bridge->pool.conns; conn; conn = conn->next) {
        workers += !smx_pool_is_replaced(&bridge->pool, conn);
        queued += conn->queue_count;
    }
    smx_term_put_map(out, 14);
    put_text(out, "version", smx_span_of(SMX_VERSION));
    put_number(out, "os_pid", (uint64_t)getpid());
    put_signed(out, "uptime_ms", smx_now_ms() - bridge->started_ms);
    put_number(out, "calls", bridge->requests.count);
    put_number(out, "queued", queued);
    put_number(out, "sessions", bridge->sessions.table.count);
    put_number(out, "started", bridge->counters.started);
    put_number(out, "succeeded", bridge->counters.succeeded);
    put_number(out, "failed", bridge->counters.failed);
    put_number(out, "cancelled", bridge->counters.cancelled);
    put_number(out, "held_bytes", smx_gate_held(&bridge->gate));
    put_number(out, "memory_bytes", resident_bytes());
    smx_term_put_atom(out, "gate");
    smx_term_put_atom(out, bridge->gate.closed ? "closed" : "open");
    smx_term_put_atom(out, "workers");
    smx_term_put_map(out, workers);
    for (const struct smx_conn *conn = bridge->pool.conns; conn; conn = conn->next) {
        if (smx_pool_is_replaced(&bridge->pool, conn))
            continue;
        smx_term_put_binary(out, smx_buffer_span(&conn->id));
        smx_term_put_map(out, 4);
        put_atom(out, "state", smx_conn_state_name(conn->state));
        put_number(out, "in_flight", conn->in_flight);
        put_number(out, "queued", conn->queue_count);
        put_number(out, "calls", conn->calls);
    }
}

static void put_call(const struct smx_request *request, struct smx_buffer *out)
{
    static const char *const states[] = {
        [SMX_CALL_IDLE] = "queued",       [SMX_CALL_OPENING] = "waiting", [SMX_CALL_RECEIVING] = "receiving",
        [SMX_CALL_HOLDING] = "holding",   [SMX_CALL_PARKED] = "parked",   [SMX_CALL_DROPPING] = "cancelled",
        [SMX_CALL_FINISHED] = "finished",
    };
    smx_term_put_map(out, request->conn ? 8 : 7);
    smx_term_put_atom(out, "tag");
    smx_buffer_append_span(out, request->tag);
    put_text(out, "command", request->name);
    put_text(out, "request_id", request->request_id);
    put_atom(out, "state", states[request->call.state]);
    put_signed(out, "age_ms", smx_now_us() / 1000 - request->started_us / 1000);
    put_signed(out, "chunks", request->chunks);
    smx_term_put_atom(out, "credit");
    if (request->call.credit == SMX_CREDIT_INFINITY)
        smx_term_put_atom(out, "infinity");
    else
        smx_term_put_uint(out, request->call.credit);
    if (request->conn)
        put_text(out, "worker", smx_buffer_span(&request->conn->id));
}

void smx_report_calls(const struct smx_bridge *bridge, uint32_t limit, struct smx_buffer *out)
{
    size_t count = bridge->requests.count < limit ? bridge->requests.count : limit;
    if (count > 0)
        smx_term_put_list(out, count);
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        put_call(smx_table_next(&bridge->requests, &at), out);
    smx_term_put_nil(out);
}

void smx_report_commands(const struct smx_pool *pool, struct smx_buffer *out)
{
    struct smx_buffer names = {0};
    for (const struct smx_conn *conn = pool->conns; conn; conn = conn->next)
        for (size_t at = 0; at < conn->command_names.len;) {
            struct smx_span name = smx_span_of((const char *)conn->command_names.data + at);
            struct smx_span with_end = {name.data, name.len + 1};
            /* Names end with a NUL and contain none, so a hit at the start or behind a NUL is a whole name. */
            const uint8_t *hit = names.len > 0 ? memmem(names.data, names.len, name.data, name.len + 1) : NULL;
            if (!hit || (hit != names.data && hit[-1] != 0))
                smx_buffer_append_span(&names, with_end);
            at += name.len + 1;
        }
    smx_term_put_map(out, 1);
    smx_term_put_atom(out, "commands");
    put_names(out, smx_buffer_span(&names));
    smx_buffer_fini(&names);
}

void smx_report_health(const struct smx_reply *reply, struct smx_buffer *out)
{
    smx_term_put_map(out, 6);
    smx_term_put_atom(out, "healthy");
    smx_term_put_bool(out, reply->healthy);
    put_text(out, "worker_id", reply->worker_id);
    put_signed(out, "uptime_ms", reply->uptime_ms);
    put_signed(out, "total_requests", reply->total_requests);
    put_signed(out, "total_errors", reply->total_errors);
    put_text(out, "version", reply->version);
}

void smx_report_info(const struct smx_reply *reply, struct smx_buffer *out)
{
    smx_term_put_map(out, reply->has_stats ? 6 : 5);
    put_text(out, "worker_type", reply->worker_type);
    put_text(out, "version", reply->version);
    smx_term_put_atom(out, "supported_commands");
    if (reply->commands.count > 0)
        smx_term_put_list(out, reply->commands.count);
    for (size_t i = 0; i < reply->commands.count; i++)
        smx_term_put_binary(out, reply->commands.items[i]);
    smx_term_put_nil(out);
    put_pairs(out, "capabilities", reply->capabilities);
    put_pairs(out, "system_info", reply->system_info);
    if (!reply->has_stats)
        return;
    smx_term_put_atom(out, "stats");
    smx_term_put_map(out, 6);
    put_signed(out, "requests_handled", reply->requests_handled);
    put_signed(out, "requests_failed", reply->requests_failed);
    put_signed(out, "uptime_ms", reply->uptime_ms);
    put_signed(out, "memory_usage_bytes", reply->memory_usage_bytes);
    smx_term_put_atom(out, "cpu_usage_percent");
    smx_term_put_double(out, reply->cpu_usage_percent);
    put_signed(out, "active_sessions", reply->active_sessions);
}
