/* Owns a request's life and its events; knows nothing of where else it might have gone. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "fault.h"
#include "report.h"

enum {
    STATUS_MS = 20,      /* the status comes right behind the answer; if not, it is looked for behind what */
    LAST_WORD_MS = 1000, /* a worker that said its last word and does not close the call is cancelled after it */
};

static bool is_stream(const struct smx_request *request)
{
    return request->op == SMX_OP_EXECUTE_STREAM;
}

bool smx_request_is_call(const struct smx_request *request)
{
    return request->op == SMX_OP_EXECUTE || is_stream(request);
}

static struct smx_span copy_to(uint8_t **at, struct smx_span from)
{
    struct smx_span copy = {*at, from.len};
    if (from.len > 0)
        memcpy(*at, from.data, from.len);
    *at += from.len;
    return copy;
}

static uint8_t *put_hex(uint8_t *at, uint64_t value)
{
    int shift = 0;
    while (shift < 60 && value >> (shift + 4) > 0)
        shift += 4;
    for (; shift >= 0; shift -= 4)
        *at++ = (uint8_t) "0123456789abcdef"[value >> shift & 15];
    return at;
}

/* "smx-1f-1": told apart from those of other port programs by the clock. printf would be a fiftieth of a call. */
static struct smx_span generate_id(uint8_t id[40])
{
    static const uint8_t prefix[] = {'s', 'm', 'x', '-'};
    static uint64_t serial;
    memcpy(id, prefix, sizeof(prefix));
    uint8_t *at = put_hex(id + sizeof(prefix), (uint64_t)smx_now_us());
    *at++ = '-';
    return (struct smx_span){id, (size_t)(put_hex(at, ++serial) - id)};
}

struct smx_request *smx_request_new(const struct smx_command *command, struct smx_timers *timers,
                                    const struct smx_sink *sink, struct smx_request_events events)
{
    uint8_t generated[40];
    struct smx_span id = command->call.request_id.len > 0 ? command->call.request_id : generate_id(generated);
    struct smx_request *request =
        smx_alloc(sizeof(*request) + command->tag.len + command->name.len + command->session.len + id.len);
    uint8_t *at = (uint8_t *)(request + 1);
    request->tag = copy_to(&at, command->tag);
    request->name = copy_to(&at, command->name);
    request->session = copy_to(&at, command->session);
    request->request_id = copy_to(&at, id);
    request->op = command->op;
    request->options = command->call;
    request->options.metadata = (struct smx_pairs){0};
    request->options.request_id = request->request_id;
    request->started_us = smx_now_us();
    if (command->call.timeout_ms > 0)
        request->deadline_ms = request->started_us / 1000 + command->call.timeout_ms;
    request->timers = timers;
    request->sink = sink;
    request->events = events;
    return request;
}

static void emit(const struct smx_request *request, const struct smx_event *event)
{
    struct smx_error why = {0};
    if (!request->sink->emit(request->sink->front, event, &why))
        smx_abort("an event without values was refused: %.*s", (int)why.message.len, (const char *)why.message.data);
    smx_error_fini(&why);
}

static void end(struct smx_request *request)
{
    smx_timer_stop(request->timers, &request->timer);
    request->events.ended(request->events.owner, request);
    smx_call_fini(&request->call);
    smx_reply_fini(&request->answer);
    smx_error_fini(&request->fault);
    smx_buffer_fini(&request->incarnation);
    free(request->kept);
    free(request);
}

static struct smx_meta meta_of(const struct smx_request *request)
{
    struct smx_meta meta = {
        .request_id = request->request_id,
        .timestamp = request->answer.timestamp,
        .duration_us = smx_now_us() - request->started_us,
        .chunks = is_stream(request) ? request->chunks : -1,
    };
    if (request->conn) {
        meta.worker = smx_buffer_span(&request->conn->id);
        meta.incarnation = smx_buffer_span(&request->incarnation);
    }
    return meta;
}

static void end_badly(struct smx_request *request)
{
    struct smx_event event = {
        .kind = SMX_EVENT_ERROR,
        .tag = request->tag,
        .meta = meta_of(request),
        .error = &request->fault,
        .command = request->name,
        .delivered = is_stream(request) ? request->chunks : -1,
    };
    emit(request, &event);
    end(request);
}

void smx_request_fail(struct smx_request *request, struct smx_error *error)
{
    if (request->fault.code == SMX_OK)
        request->fault = *error;
    else
        smx_error_fini(error);
    *error = (struct smx_error){0};
    if (request->call.wire)
        smx_call_cancel(&request->call);
    else
        end_badly(request);
}

void smx_request_cancel(struct smx_request *request)
{
    struct smx_error error = {0};
    smx_error_set(&error, SMX_CANCELLED, "cancelled", "cancelled by the caller");
    error.sent = request->call.wire != NULL;
    smx_request_fail(request, &error);
}

void smx_request_done(struct smx_request *request, struct smx_span term)
{
    struct smx_event event = {.kind = SMX_EVENT_OK, .tag = request->tag, .term = term};
    emit(request, &event);
    end(request);
}

/* ---- What the worker says ---- */

static void on_last_word_overdue(void *owner)
{
    struct smx_request *request = owner;
    request->left_open = true;
    smx_call_cancel(&request->call);
}

static void expect_close(struct smx_request *request, void (*overdue)(void *owner), int64_t ms)
{
    request->said_last = true;
    request->timer = (struct smx_timer){.fire = overdue, .owner = request};
    smx_timer_set(request->timers, &request->timer, smx_now_ms() + ms);
}

static void on_status_overdue(void *owner)
{
    struct smx_request *request = owner;
    expect_close(request, on_last_word_overdue, LAST_WORD_MS);
    smx_call_expect_end(&request->call);
}

static void take_chunk(struct smx_request *request, struct smx_reply *reply)
{
    if (request->said_last || request->fault.code != SMX_OK)
        return;
    request->answer.timestamp = reply->timestamp;
    if (reply->values.count > 0 || (!reply->is_final && reply->success)) {
        struct smx_event event = {
            .kind = SMX_EVENT_CHUNK,
            .tag = request->tag,
            .codec = request->reading,
            .style = request->options.style,
            .values = reply->values,
            .memory = &reply->block,
            .memory_size = reply->size,
        };
        if (!request->sink->emit(request->sink->front, &event, &request->fault)) {
            smx_call_cancel(&request->call);
            return;
        }
        request->chunks++;
    }
    if (!reply->success)
        smx_fault_by_worker(&request->fault, reply->error);
    if (!reply->success || reply->is_final)
        expect_close(request, on_last_word_overdue, LAST_WORD_MS);
}

static void on_message(struct smx_call *call, struct smx_reply *reply)
{
    struct smx_request *request = call->owner;
    if (is_stream(request)) {
        take_chunk(request, reply);
        return;
    }
    expect_close(request, on_status_overdue, STATUS_MS);
    request->answer = *reply;
    *reply = (struct smx_reply){0};
    if (request->op == SMX_OP_EXECUTE && !request->answer.success)
        smx_fault_by_worker(&request->fault, request->answer.error);
}

/* ---- How it ends ---- */

static void end_with_answer(struct smx_request *request, const struct smx_outcome *outcome)
{
    struct smx_event event = {.tag = request->tag, .meta = meta_of(request)};
    event.meta.metadata = outcome->trailing;
    struct smx_buffer term = {0};
    bool taken;
    if (is_stream(request)) {
        event.kind = SMX_EVENT_DONE;
    } else if (request->op == SMX_OP_EXECUTE) {
        event.kind = SMX_EVENT_RESULT;
        event.codec = request->reading;
        event.style = request->options.style;
        event.values = request->answer.values;
        event.memory = &request->answer.block;
        event.memory_size = request->answer.size;
    } else {
        event.kind = SMX_EVENT_OK;
        if (request->op == SMX_OP_HEALTH)
            smx_report_health(&request->answer, &term);
        else
            smx_report_info(&request->answer, &term);
        event.term = smx_buffer_span(&term);
    }
    taken = request->sink->emit(request->sink->front, &event, &request->fault);
    smx_buffer_fini(&term);
    if (taken)
        end(request);
    else
        end_badly(request);
}

static void on_ended(struct smx_call *call, const struct smx_outcome *outcome)
{
    struct smx_request *request = call->owner;
    if (request->fault.code == SMX_OK && call->fault.code != SMX_OK) {
        request->fault = call->fault;
        call->fault = (struct smx_error){0};
    }
    /* A stream is complete with its last word, a unary call with its status; who leaves it open has said all, too. */
    bool complete = outcome->status == SMX_OK || request->left_open;
    bool good = is_stream(request) ? complete || request->said_last : complete && request->said_last;
    if (request->fault.code == SMX_OK && !good)
        smx_fault_by_status(&request->fault, outcome);
    if (request->fault.code == SMX_OK) {
        end_with_answer(request, outcome);
    } else {
        smx_fault_refine(&request->fault, outcome, request->options.style);
        end_badly(request);
    }
}

/* ---- How it starts ---- */

static const struct smx_call_events call_events = {on_message, on_ended};

static enum smx_method method_of(const struct smx_request *request)
{
    if (request->op == SMX_OP_HEALTH)
        return SMX_METHOD_HEALTH;
    if (request->op == SMX_OP_INFO)
        return SMX_METHOD_GET_INFO;
    if (request->session.len > 0)
        return is_stream(request) ? SMX_METHOD_EXECUTE_IN_SESSION_STREAM : SMX_METHOD_EXECUTE_IN_SESSION;
    return is_stream(request) ? SMX_METHOD_EXECUTE_STREAM : SMX_METHOD_EXECUTE;
}

/* Which codec carries the arguments to this worker, and how its answers are read. */
static bool choose_codec(struct smx_request *request, bool transcodes, enum smx_codec *writing)
{
    const struct smx_conn *conn = request->conn;
    enum smx_codec codec = request->options.codec;
    bool announced = codec == SMX_CODEC_MSGPACK ? conn->has_msgpack : conn->has_json || !conn->announces_codecs;
    if (transcodes && !announced)
        codec = SMX_CODEC_TERMS;
    else if ((codec == SMX_CODEC_JSON || codec == SMX_CODEC_MSGPACK) && !announced)
        return smx_error_set(&request->fault, SMX_INVALID_ARGUMENT, "encode",
                             "worker %.*s doesn't announce the codec %s: use codec => terms, or another worker",
                             (int)conn->id.len, (const char *)conn->id.data,
                             codec == SMX_CODEC_JSON ? "json" : "msgpack");
    *writing = codec == SMX_CODEC_TERMS ? conn->codec : codec;
    request->reading = *writing;
    if (*writing == SMX_CODEC_JSON && !conn->announces_codecs)
        request->reading = SMX_CODEC_LENIENT;
    return true;
}

/* The values of a command by the worker's codec; `values` owns what had to be made. */
static bool encode(struct smx_request *request, const struct smx_command *command, enum smx_codec writing,
                   struct smx_values *values, struct smx_pairs *pairs)
{
    bool good = true;
    if (command->has_values && writing == command->call.codec) {
        *pairs = command->values;
        return true;
    }
    if (command->has_values)
        good = smx_codec_transcode(command->call.codec, command->values, writing, values, &request->fault);
    else if (command->args.len > 0)
        good = smx_codec_encode_args(writing, command->args, values, &request->fault);
    *pairs = (struct smx_pairs){values->items, values->count};
    return good;
}

static struct grpc_byte_buffer *pack(struct smx_request *request, const struct smx_command *command,
                                     enum smx_codec writing, int64_t timeout_ms)
{
    enum smx_method method = method_of(request);
    struct smx_values values = {.memory = command->memory};
    struct grpc_byte_buffer *buffer = NULL;
    size_t len = 0;
    struct smx_pairs args;
    if (encode(request, command, writing, &values, &args)) {
        struct smx_message message = {
            .session = request->session,
            .command = request->name,
            .args = args,
            .timeout_ms = (int32_t)timeout_ms,
            .request_id = request->request_id,
            .memory = values.bytes.len > 0 && !values.in_place ? &values.bytes : command->memory,
        };
        buffer = smx_message_pack(method, &message, &len);
    }
    smx_values_fini(&values);
    if (len > request->conn->gate->max_message)
        smx_error_set(
            &request->fault, SMX_RESOURCE_EXHAUSTED, "too_large",
            "the arguments make a message of %zu bytes, and max_message is %zu: raise it (--max-message), or send less "
            "at once (results may come as a stream)",
            len, request->conn->gate->max_message);
    return buffer;
}

static void start_call(struct smx_request *request, const struct smx_command *command, enum smx_codec writing,
                       struct grpc_byte_buffer *buffer, int64_t timeout_ms)
{
    struct smx_call_plan plan = {
        .channel = request->conn->channel,
        .method = method_of(request),
        .request = buffer,
        .timeout_ms = timeout_ms,
        .metadata = command->call.metadata,
        .codec = writing == SMX_CODEC_RAW    ? NULL
                 : writing == SMX_CODEC_JSON ? "json"
                                             : "msgpack",
        .gzip = request->options.gzip,
        .credit = request->options.credit,
    };
    request->call.events = &call_events;
    request->call.owner = request;
    smx_call_start(&request->call, request->conn->gate, &plan);
}

void smx_request_start(struct smx_request *request, struct smx_conn *conn, const struct smx_command *command)
{
    smx_timer_stop(request->timers, &request->timer);
    request->conn = conn;
    conn->requests++;
    if (smx_request_is_call(request)) {
        conn->in_flight++;
        conn->calls++;
    }
    smx_buffer_append_span(&request->incarnation, smx_buffer_span(&conn->incarnation));
    int64_t timeout_ms = 0;
    if (request->deadline_ms > 0) {
        timeout_ms = request->deadline_ms - smx_now_ms();
        timeout_ms = timeout_ms < 1 ? 1 : timeout_ms;
    }
    enum smx_codec writing = SMX_CODEC_RAW;
    struct grpc_byte_buffer *buffer = NULL;
    if (choose_codec(request, command->has_values, &writing))
        buffer = pack(request, command, writing, timeout_ms);
    if (request->fault.code == SMX_OK) {
        start_call(request, command, writing, buffer, timeout_ms);
        free(request->kept);
        request->kept = NULL;
    } else {
        if (buffer)
            smx_message_free(buffer);
        end_badly(request);
    }
}
