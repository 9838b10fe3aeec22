/* Owns the requests of a legacy owner until they are answered; knows nothing of workers, nor of file descriptors. */
#include "front_legacy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "legacy_frame.h"
#include "splice.h"
#include "term.h"

enum kind {
    KIND_CALL,
    KIND_PING,    /* a health check: answered here when the worker's own answer does not come soon */
    KIND_INIT,    /* the first ping, which waits for the worker */
    KIND_STARTED, /* the same, once the worker has been asked */
};

struct smx_legacy_call {
    struct smx_legacy_call *next;
    struct smx_front_legacy *front;
    enum kind kind;
    enum smx_codec codec;
    struct smx_buffer tag;
    struct smx_buffer id;
    struct smx_buffer name;
    struct smx_buffer args; /* of a ping: to echo them */
    struct smx_timer timer; /* of KIND_INIT and KIND_STARTED */
};

static struct smx_legacy_frame_head head_of(const struct smx_legacy_call *call)
{
    return (struct smx_legacy_frame_head){call->codec, smx_buffer_span(&call->id)};
}

static struct smx_legacy_call **find(struct smx_front_legacy *front, struct smx_span tag)
{
    struct smx_legacy_call **place = &front->calls;
    while (*place && !smx_span_equal(smx_buffer_span(&(*place)->tag), tag))
        place = &(*place)->next;
    return place;
}

static void end(struct smx_legacy_call *call)
{
    struct smx_front_legacy *front = call->front;
    *find(front, smx_buffer_span(&call->tag)) = call->next;
    smx_timer_stop(front->stage.timers, &call->timer);
    smx_buffer_fini(&call->tag);
    smx_buffer_fini(&call->id);
    smx_buffer_fini(&call->name);
    smx_buffer_fini(&call->args);
    free(call);
    front->handled++;
}

static void fail(struct smx_legacy_call *call, struct smx_span text)
{
    struct smx_legacy_frame_head head = head_of(call);
    smx_legacy_frame_failure(call->front->stage.out, &head, text);
    end(call);
}

/* Whatever has become of the worker: the owner gives up a legacy worker whose pings fail. */
static void pong(struct smx_legacy_call *call)
{
    struct smx_front_legacy *front = call->front;
    struct smx_legacy_frame_head head = head_of(call);
    struct smx_values args;
    smx_splice_unwrap(call->codec, smx_buffer_span(&call->args), &args);
    struct smx_legacy_frame_pong about = {
        .uptime = (double)(smx_now_ms() - front->started_ms) / 1000,
        .handled = front->handled,
        .worker_state = front->worker_state,
        .worker_id = smx_splice_find(&args, "worker_id"),
        .echo = smx_buffer_span(&call->args),
    };
    smx_legacy_frame_pong(front->stage.out, &head, &about);
    smx_values_fini(&args);
    end(call);
}

static void on_init_overdue(void *owner)
{
    pong(owner);
}

/* ---- Requests ---- */

static void execute(struct smx_legacy_call *call, struct smx_span args)
{
    struct smx_front_legacy *front = call->front;
    struct smx_values values;
    smx_splice_unwrap(call->codec, args, &values);
    struct smx_command command = {
        .op = SMX_OP_EXECUTE,
        .tag = smx_buffer_span(&call->tag),
        .to = SMX_TO_ANY,
        .name = smx_buffer_span(&call->name),
        .has_values = true,
        .values = {values.items, values.count},
        .call =
            {
                .timeout_ms = call->kind == KIND_CALL ? front->timeout_ms : SMX_LEGACY_PING_MS,
                .codec = call->codec,
                .credit = SMX_DEFAULT_CREDIT,
                .wait_for_ready = call->kind == KIND_CALL,
            },
    };
    front->stage.handler.handle(front->stage.handler.bridge, &command);
    smx_values_fini(&values);
}

static enum kind kind_of(enum smx_codec codec, struct smx_span name, struct smx_span args)
{
    struct smx_values values;
    enum kind kind = KIND_CALL;
    if (!smx_span_is(name, "ping") || !smx_splice_map(codec, args, &values))
        return kind;
    if (smx_splice_is_true(codec, smx_splice_find(&values, "initialization")))
        kind = KIND_INIT;
    else if (smx_splice_is_true(codec, smx_splice_find(&values, "health_check")))
        kind = KIND_PING;
    smx_values_fini(&values);
    return kind;
}

static struct smx_legacy_call *new_call(struct smx_front_legacy *front, enum smx_codec codec, struct smx_span id)
{
    struct smx_legacy_call *call = smx_alloc(sizeof(*call));
    call->front = front;
    call->codec = codec;
    smx_term_put_uint(&call->tag, ++front->serial);
    smx_buffer_append_span(&call->id, id);
    call->timer = (struct smx_timer){.fire = on_init_overdue, .owner = call};
    call->next = front->calls;
    front->calls = call;
    return call;
}

static void take_request(struct smx_front_legacy *front, enum smx_codec codec, const struct smx_values *fields)
{
    struct smx_span args = smx_splice_find(fields, "args"), name = smx_splice_find(fields, "command");
    struct smx_buffer mended = {0}, none = {0};
    struct smx_legacy_call *call = new_call(front, codec, smx_splice_find(fields, "id"));
    if (name.len > 0)
        smx_splice_text(codec, name, &call->name);
    if (args.len == 0) {
        smx_splice_wrap(codec, (struct smx_pairs){0}, &none);
        args = smx_buffer_span(&none);
    }
    if (codec == SMX_CODEC_MSGPACK && smx_splice_mend(args, &mended))
        args = smx_buffer_span(&mended);
    name = smx_buffer_span(&call->name);
    call->kind = kind_of(codec, name, args);
    if (call->kind != KIND_CALL)
        smx_buffer_append_span(&call->args, args);
    if (name.len == 0 || name.len > SMX_MAX_NAME || !smx_utf8_valid(name, false)) {
        fail(call, smx_span_of("snakemux: a request has a command of 1 to 1024 bytes"));
    } else if (call->kind == KIND_INIT) {
        smx_timer_set(front->stage.timers, &call->timer, smx_now_ms() + front->init_ms);
        front->waiting = true;
    } else {
        execute(call, args);
    }
    smx_buffer_fini(&mended);
    smx_buffer_fini(&none);
}

/* Whether a list of texts, JSON, has this one. */
static bool lists(struct smx_span list, const char *quoted)
{
    return list.len > 0 && memmem(list.data, list.len, quoted, strlen(quoted)) != NULL;
}

static void negotiate(struct smx_front_legacy *front, const struct smx_values *fields)
{
    struct smx_span supported = smx_splice_find(fields, "supported");
    struct smx_span preferred = smx_splice_find(fields, "preferred");
    bool json = smx_span_is(preferred, "\"json\"") && lists(supported, "\"json\"");
    bool msgpack = !front->json_only && !json && lists(supported, "\"msgpack\"");
    smx_legacy_frame_selected(front->stage.out, msgpack ? "msgpack" : "json");
}

/*
 * The id near the end of a frame that can't be read as a whole. Both formats come with their keys in an order that
 * puts it behind `args` and `command`.
 */
static struct smx_span find_id(enum smx_codec codec, struct smx_span tail)
{
    const char *key = codec == SMX_CODEC_JSON ? "\"id\":" : "\xa2id";
    size_t len = strlen(key);
    for (size_t at = tail.len > len ? tail.len - len : 0; at > 0; at--) {
        struct smx_span id = {tail.data + at + len, 0};
        if (memcmp(tail.data + at, key, len) != 0)
            continue;
        struct smx_span rest = {id.data, tail.len - at - len};
        if (codec == SMX_CODEC_JSON)
            while (id.len < rest.len && rest.data[id.len] >= '0' && rest.data[id.len] <= '9')
                id.len++;
        else if (!smx_splice_skip(codec, rest, &id.len))
            id.len = 0;
        if (smx_splice_is_integer(codec, id))
            return id;
    }
    return (struct smx_span){0};
}

/* An answer to what can't be read, if its id can: without one the owner waits for ever. */
static void refuse(struct smx_front_legacy *front, enum smx_codec codec, struct smx_span tail, const char *text)
{
    struct smx_span id = find_id(codec, tail);
    smx_log("legacy: %s", text);
    if (id.len > 0)
        fail(new_call(front, codec, id), smx_span_of(text));
}

static void take_frame(struct smx_front_legacy *front, struct smx_span frame)
{
    enum smx_codec codec = smx_splice_codec(frame);
    struct smx_values fields;
    if (codec == SMX_CODEC_RAW) {
        smx_log("legacy: a frame is neither JSON nor MessagePack, and is dropped");
    } else if (!smx_splice_map(codec, frame, &fields)) {
        size_t tail = frame.len < SMX_LEGACY_TAIL ? frame.len : SMX_LEGACY_TAIL;
        refuse(front, codec, (struct smx_span){frame.data + frame.len - tail, tail},
               "snakemux: the request can't be read: it is no map in JSON or MessagePack");
    } else {
        if (smx_span_is(smx_splice_find(&fields, "type"), "\"protocol_negotiation\""))
            negotiate(front, &fields);
        else
            take_request(front, codec, &fields);
        smx_values_fini(&fields);
    }
}

void smx_front_legacy_frame(struct smx_front_legacy *front, struct smx_span frame, enum smx_frame_kind kind, size_t len,
                            size_t max_frame)
{
    char text[160];
    switch (kind) {
    case SMX_FRAME_NONE:
        break;
    case SMX_FRAME_WHOLE:
        take_frame(front, frame);
        break;
    case SMX_FRAME_HEAD:
        front->tail_codec = smx_splice_codec(frame);
        break;
    case SMX_FRAME_TAIL:
        snprintf(text, sizeof(text), "snakemux: the request has %zu bytes, and --max-message is %zu: raise it", len,
                 max_frame);
        if (front->tail_codec != SMX_CODEC_RAW)
            refuse(front, front->tail_codec, frame, text);
        break;
    }
}

/* ---- Events ---- */

/* What the worker wrote must be what the owner can read: an answer that it can't is an answer that never comes. */
static bool check(enum smx_codec codec, struct smx_pairs values, struct smx_error *why)
{
    const char *format = codec == SMX_CODEC_JSON ? "JSON" : "MessagePack";
    for (size_t i = 0; i < values.count; i++) {
        bool named = smx_utf8_valid(values.items[i].key, false);
        const char *name = named ? (const char *)values.items[i].key.data : "";
        if (!named || !smx_splice_is_value(codec, values.items[i].value))
            return smx_error_set(why, SMX_INTERNAL, "decode", "the worker's value \"%.100s\" is not valid %s", name,
                                 format);
        if (smx_splice_has_extension(codec, values.items[i].value))
            return smx_error_set(why, SMX_INTERNAL, "decode",
                                 "the worker's value \"%.100s\" holds an array, which only Snakemux itself can read: "
                                 "give a list (in Python its tolist())",
                                 name);
    }
    return true;
}

/* The owner takes a ping for answered when it reads a status; a worker may have a ping of its own that gives none. */
static bool has_status(struct smx_pairs values)
{
    for (size_t i = 0; i < values.count; i++)
        if (smx_span_is(values.items[i].key, "status"))
            return true;
    return false;
}

static bool on_result(struct smx_legacy_call *call, const struct smx_event *event, struct smx_error *why)
{
    struct smx_legacy_frame_head head = head_of(call);
    struct smx_values made = {0};
    struct smx_pairs values = event->values;
    bool good;
    if (event->codec == call->codec) {
        good = check(call->codec, values, why);
    } else {
        good = smx_codec_transcode(event->codec, event->values, call->codec, &made, why);
        values = (struct smx_pairs){made.items, made.count};
    }
    if (good && call->kind != KIND_CALL && !has_status(values)) {
        pong(call);
    } else if (good) {
        smx_legacy_frame_result(call->front->stage.out, &head, values);
        end(call);
    }
    smx_values_fini(&made);
    return good;
}

/* The list of commands in an error's details, by the codec of the call; empty when there is none. */
static struct smx_span commands_in(const struct smx_error *error, enum smx_codec codec, struct smx_values *details)
{
    struct smx_error ignored = {0};
    if (error->details.len > 0)
        smx_codec_encode_args(codec, smx_buffer_span(&error->details), details, &ignored);
    smx_error_fini(&ignored);
    return smx_splice_find(details, "commands");
}

static void on_error(struct smx_legacy_call *call, const struct smx_event *event)
{
    const struct smx_error *error = event->error;
    struct smx_legacy_frame_head head = head_of(call);
    struct smx_values details = {0};
    struct smx_buffer text = {0};
    struct smx_span commands = {0};
    if (call->kind != KIND_CALL) {
        pong(call);
        return;
    }
    if (error->code == SMX_UNIMPLEMENTED && error->origin == SMX_ORIGIN_MUX)
        commands = commands_in(error, call->codec, &details);
    if (commands.len > 0) {
        smx_legacy_frame_unknown(call->front->stage.out, &head, smx_buffer_span(&call->name), commands);
        end(call);
    } else {
        if (error->code == SMX_DEADLINE_EXCEEDED)
            smx_buffer_printf(&text,
                              "snakemux: no answer within --timeout (%lld ms): ", (long long)call->front->timeout_ms);
        else if (error->origin != SMX_ORIGIN_WORKER)
            smx_buffer_printf(&text, "snakemux: ");
        smx_buffer_append_span(&text, smx_buffer_span(&error->message));
        fail(call, smx_buffer_span(&text));
    }
    smx_buffer_fini(&text);
    smx_values_fini(&details);
}

bool smx_front_legacy_emit(void *self, const struct smx_event *event, struct smx_error *why)
{
    struct smx_front_legacy *front = self;
    struct smx_legacy_call *call = event->tag.len > 0 ? *find(front, event->tag) : NULL;
    switch (event->kind) {
    case SMX_EVENT_WORKER:
        front->worker_state = event->state;
        break;
    case SMX_EVENT_RESULT:
        return !call || on_result(call, event, why);
    case SMX_EVENT_ERROR:
        if (call)
            on_error(call, event);
        break;
    case SMX_EVENT_HELLO:
    case SMX_EVENT_OK: /* of connect and disconnect */
    case SMX_EVENT_CHUNK:
    case SMX_EVENT_DONE:
    case SMX_EVENT_PINNED:
    case SMX_EVENT_PROTOCOL_ERROR:
        break;
    }
    return true;
}

void smx_front_legacy_flush(struct smx_front_legacy *front)
{
    if (!front->waiting || strcmp(front->worker_state, "ready") != 0)
        return;
    front->waiting = false;
    for (struct smx_legacy_call *call = front->calls; call;) {
        struct smx_legacy_call *next = call->next; /* what is started may end at once, and nothing else does */
        if (call->kind == KIND_INIT) {
            call->kind = KIND_STARTED;
            execute(call, smx_buffer_span(&call->args));
        }
        call = next;
    }
}

void smx_front_legacy_start(struct smx_front_legacy *front, const struct smx_stage *stage)
{
    front->stage = *stage;
    front->started_ms = smx_now_ms();
    front->worker_state = "starting";
}

void smx_front_legacy_stop(struct smx_front_legacy *front)
{
    for (struct smx_legacy_call *call = front->calls, *next; call; call = next) {
        next = call->next;
        if (call->kind == KIND_INIT)
            end(call);
    }
}
