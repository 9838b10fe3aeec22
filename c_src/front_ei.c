/* Owns frames of terms, both ways; knows nothing of what commands do, nor of file descriptors. */
#include "front_ei.h"

#include <ei.h>

#include "command.h"
#include "event.h"
#include "frame.h"
#include "term.h"

enum {
    VERSION = 131,
    COMPRESSED = 80,
    TERM_SPACE = 4096,        /* for what an event says beside its values */
    BATCH_SIZE = 1024 * 1024, /* a batch that is larger is closed: the BEAM copies frames whole */
};

void smx_front_ei_init(struct smx_front_ei *front, struct smx_handler handler, struct smx_buffer *out)
{
    ei_init();
    *front = (struct smx_front_ei){.handler = handler, .out = out, .meta = true};
}

void smx_front_ei_fini(struct smx_front_ei *front)
{
    smx_parts_fini(&front->parts);
    smx_assembly_fini(&front->assembly);
}

static size_t open_frame(struct smx_buffer *out)
{
    size_t place = smx_frame_open(out);
    smx_buffer_append(out, (const uint8_t[]){VERSION}, 1);
    return place;
}

static size_t weight_of(const struct smx_event *event)
{
    size_t len = 0;
    for (size_t i = 0; i < event->values.count; i++)
        len += event->values.items[i].value.len;
    return len;
}

/* Behind what its tag has waiting, or because it is large itself. */
static bool emit_in_parts(struct smx_front_ei *front, const struct smx_event *event, size_t weight,
                          struct smx_error *why)
{
    struct smx_whole whole = {0};
    bool lends = event->memory && weight > event->memory_size / 2;
    smx_buffer_reserve(&whole.term, lends ? TERM_SPACE : weight + TERM_SPACE);
    smx_buffer_append(&whole.term, (const uint8_t[]){VERSION}, 1);
    if (!smx_event_write(event, front->meta, &whole.term, lends ? &whole.lent : NULL, why)) {
        smx_buffer_fini(&whole.term);
        return false;
    }
    if (lends && whole.lent.span.len > 0) {
        whole.memory = *event->memory;
        *event->memory = NULL;
    }
    smx_parts_add(&front->parts, event->tag, whole);
    return true;
}

bool smx_front_ei_more(struct smx_front_ei *front)
{
    return smx_parts_next(&front->parts, front->fragment, front->out);
}

/* The owner has given it up: it waits for no chunks that are on their way. */
static bool is_given_up(const struct smx_event *event)
{
    return event->kind == SMX_EVENT_ERROR && event->error->code == SMX_CANCELLED &&
           event->error->origin == SMX_ORIGIN_MUX;
}

bool smx_front_ei_emit(void *self, const struct smx_event *event, struct smx_error *why)
{
    struct smx_front_ei *front = self;
    struct smx_buffer *out = front->out;
    if (event->kind == SMX_EVENT_PINNED && !front->pins)
        return true;
    if (front->parts.lanes && is_given_up(event))
        smx_parts_drop(&front->parts, event->tag);
    size_t weight = front->fragment > 0 ? weight_of(event) : 0;
    if (weight > front->fragment || (front->parts.lanes && smx_parts_has(&front->parts, event->tag)))
        return emit_in_parts(front, event, weight, why);
    smx_parts_mix(&front->parts);
    size_t start = out->len;
    if (front->batch_count == 0) {
        front->batch_place = open_frame(out);
        if (front->batch)
            smx_term_put_list(out, 0);
    }
    if (!smx_event_write(event, front->meta, out, NULL, why)) {
        out->len = start;
        return false;
    }
    front->batch_count++;
    if (!front->batch || out->len - front->batch_place > BATCH_SIZE)
        smx_front_ei_flush(front);
    return true;
}

void smx_front_ei_flush(struct smx_front_ei *front)
{
    if (front->batch_count == 0)
        return;
    if (front->batch) {
        smx_term_put_nil(front->out);
        smx_term_set_count(front->out, front->batch_place + 5, front->batch_count);
    }
    smx_frame_seal(front->out, front->batch_place);
    front->batch_count = 0;
}

static void emit(struct smx_front_ei *front, const struct smx_event *event)
{
    struct smx_error none = {0};
    smx_front_ei_emit(front, event, &none);
}

static void emit_protocol_error(struct smx_front_ei *front, struct smx_error *error, size_t offset)
{
    emit(front, &(struct smx_event){.kind = SMX_EVENT_PROTOCOL_ERROR, .error = error, .offset = offset});
    smx_error_fini(error);
}

/* A frame that is wrong where no message is. */
static void reject(struct smx_front_ei *front, size_t offset, const char *reason, const char *what)
{
    struct smx_error error = {0};
    smx_error_set(&error, SMX_INVALID_ARGUMENT, reason, "%s", what);
    emit_protocol_error(front, &error, offset);
}

static void emit_options(struct smx_front_ei *front, const struct smx_command_reader *reader)
{
    struct smx_buffer now = {0};
    smx_term_put_map(&now, 4);
    smx_term_put_atom(&now, "batch");
    smx_term_put_bool(&now, reader->options.batch);
    smx_term_put_atom(&now, "meta");
    smx_term_put_bool(&now, reader->options.meta);
    smx_term_put_atom(&now, "pins");
    smx_term_put_bool(&now, reader->options.pins);
    smx_term_put_atom(&now, "fragment");
    if (reader->options.fragment > 0)
        smx_term_put_int(&now, reader->options.fragment);
    else
        smx_term_put_atom(&now, "off");
    emit(front, &(struct smx_event){.kind = SMX_EVENT_OK, .tag = reader->command.tag, .term = smx_buffer_span(&now)});
    smx_buffer_fini(&now);
    smx_front_ei_flush(front); /* an open frame ends as it began */
    front->batch = reader->options.batch;
    front->meta = reader->options.meta;
    front->pins = reader->options.pins;
    front->fragment = (size_t)reader->options.fragment;
}

static bool is_for_another(const struct smx_command_reader *reader)
{
    const struct smx_command *command = &reader->command;
    return reader->part == SMX_PART_NONE && (command->op == SMX_OP_CANCEL || command->op == SMX_OP_CREDIT);
}

/* A call that has not begun, or is over, but for its parts: the rest of them is not to be. */
static bool cancel_parts(struct smx_front_ei *front, const struct smx_command *command)
{
    if (command->op != SMX_OP_CANCEL)
        return false;
    bool before = smx_assembly_drop(&front->assembly, command->tag);
    if (!before &&
        (!smx_parts_has(&front->parts, command->tag) || front->handler.is_live(front->handler.bridge, command->tag)))
        return false;
    struct smx_error error = {0};
    smx_error_set(&error, SMX_CANCELLED, "cancelled", "the call was cancelled");
    error.sent = !before;
    emit(front, &(struct smx_event){.kind = SMX_EVENT_ERROR, .tag = command->tag, .error = &error, .delivered = -1});
    smx_error_fini(&error);
    return true;
}

static void emit_wrong(struct smx_front_ei *front, const struct smx_command_reader *reader)
{
    const struct smx_command *command = &reader->command;
    emit(front, &(struct smx_event){.kind = SMX_EVENT_ERROR,
                                    .tag = command->tag,
                                    .error = &reader->error,
                                    .command = command->name,
                                    .meta = {.worker = command->worker, .request_id = command->call.request_id},
                                    .delivered = -1});
}

/* An answer would end the live call. */
static void set_duplicate(struct smx_command_reader *reader)
{
    smx_error_fini(&reader->error);
    smx_error_set(&reader->error, SMX_ALREADY_EXISTS, "duplicate_tag", "a call with this tag is live");
}

/* Whether a message of its own tag takes one that is in use; of commands the bridge knows, but for those in parts. */
static bool is_duplicate(struct smx_front_ei *front, const struct smx_command_reader *reader,
                         enum smx_command_kind kind)
{
    const struct smx_command *command = &reader->command;
    if (kind == SMX_COMMAND_LOST || is_for_another(reader))
        return false;
    if (kind != SMX_COMMAND_READ && front->handler.is_live(front->handler.bridge, command->tag))
        return true;
    if (smx_assembly_has(&front->assembly, command->tag))
        return true;
    smx_assembly_drop(&front->assembly, command->tag); /* the rest of what was refused is not to come */
    return false;
}

/* What became of one message; ends the reader. */
static void answer(struct smx_front_ei *front, struct smx_command_reader *reader, enum smx_command_kind kind)
{
    const struct smx_command *command = &reader->command;
    if (is_duplicate(front, reader, kind)) {
        set_duplicate(reader);
        kind = SMX_COMMAND_LOST;
    }
    switch (kind) {
    case SMX_COMMAND_READ:
        if (!cancel_parts(front, command))
            front->handler.handle(front->handler.bridge, command);
        break;
    case SMX_COMMAND_OPTIONS:
        emit_options(front, reader);
        break;
    case SMX_COMMAND_WRONG:
        emit_wrong(front, reader);
        break;
    case SMX_COMMAND_LOST:
        emit_protocol_error(front, &reader->error, reader->offset);
        break;
    }
    smx_command_reader_fini(reader);
}

/* What is wrong with the bytes in front of a term, or NULL; `what` says it in words. */
static const char *wrong_start(struct smx_span bytes, const char **what)
{
    if (bytes.len < 2 || bytes.data[0] != VERSION) {
        *what = "a frame starts with 131, then comes a term";
        return "bad_version";
    }
    *what = "compressed terms are not read: send them plain";
    return bytes.data[1] == COMPRESSED ? "compressed" : NULL;
}

/* The parts of a command, put together. Whatever they are, this ends with an answer under their tag. */
static void take_whole(struct smx_front_ei *front, struct smx_span tag, struct smx_buffer *memory)
{
    struct smx_span whole = smx_buffer_span(memory);
    struct smx_command_reader reader = {0};
    enum smx_command_kind kind = SMX_COMMAND_LOST;
    size_t at = 1;
    const char *what;
    const char *reason = wrong_start(whole, &what);
    if (!reason && !smx_term_check(whole, &at, &what))
        reason = "bad_term";
    if (reason)
        smx_error_set(&reader.error, SMX_INVALID_ARGUMENT, reason, "%s", what);
    else if (at < whole.len)
        smx_error_set(&reader.error, SMX_INVALID_ARGUMENT, "trailing_bytes", "there are bytes behind the command");
    else
        kind = smx_command_read(&reader, whole, 1);
    if (kind == SMX_COMMAND_LOST || reader.part || is_for_another(&reader) ||
        !smx_span_equal(reader.command.tag, tag)) {
        smx_error_set(&reader.error, SMX_INVALID_ARGUMENT, "bad_message", "parts make one command of the same tag");
        reader.command = (struct smx_command){.tag = tag};
        kind = SMX_COMMAND_WRONG;
    }
    reader.command.memory = memory;
    answer(front, &reader, kind);
}

/* One part of a command. Of those that are refused the owner hears once, and then no more until the last. */
static void take_part(struct smx_front_ei *front, struct smx_command_reader *reader, bool is_wrong)
{
    struct smx_assembly *assembly = &front->assembly;
    struct smx_span tag = reader->command.tag;
    bool live = front->handler.is_live(front->handler.bridge, tag);
    if (live)
        set_duplicate(reader);
    if (live || is_wrong || !smx_assembly_add(assembly, tag, reader->bytes, front->max_frame, &reader->error)) {
        if (!smx_assembly_refuse(assembly, tag, front->max_frame))
            smx_error_fini(&reader->error);
        else if (live)
            emit_protocol_error(front, &reader->error, reader->offset);
        else
            emit_wrong(front, reader);
    }
    struct smx_buffer whole = {0};
    if (reader->part == SMX_PART_LAST && smx_assembly_take(assembly, tag, &whole))
        take_whole(front, tag, &whole);
    smx_buffer_fini(&whole);
}

/* What is to be done about one message; ends the reader. */
static void take(struct smx_front_ei *front, struct smx_command_reader *reader, enum smx_command_kind kind)
{
    if (reader->part && kind != SMX_COMMAND_LOST) {
        take_part(front, reader, kind == SMX_COMMAND_WRONG);
        smx_command_reader_fini(reader);
    } else {
        answer(front, reader, kind);
    }
}

/* A message that can't be read as a whole. */
static void refuse(struct smx_front_ei *front, struct smx_span frame, size_t at, enum smx_code code, const char *reason,
                   const char *what)
{
    struct smx_command_reader reader = {0};
    smx_error_set(&reader.error, code, reason, "%s", what);
    take(front, &reader, smx_command_read_head(&reader, frame, at));
}

/* Moves `*at` behind the message. False when its end can't be found. */
static bool take_message(struct smx_front_ei *front, struct smx_span frame, size_t *at)
{
    const char *why;
    size_t start = *at;
    if (smx_term_check(frame, at, &why)) {
        struct smx_command_reader reader = {0};
        struct smx_span checked = {frame.data, *at};
        take(front, &reader, smx_command_read(&reader, checked, start));
        return true;
    }
    *at = start;
    refuse(front, frame, start, SMX_INVALID_ARGUMENT, "bad_term", why);
    return smx_term_skip(frame, at);
}

static void take_frame(struct smx_front_ei *front, struct smx_span frame, size_t at)
{
    size_t count = 1;
    bool list = frame.data[at] == ERL_LIST_EXT && smx_term_get_list(frame, &at, &count);
    if (!list && smx_term_get_nil(frame, &at))
        count = 0;
    for (; count > 0; count--)
        if (!take_message(front, frame, &at))
            return;
    if (list && !smx_term_get_nil(frame, &at))
        reject(front, at, "bad_message", "a list of messages is a proper list");
    else if (at < frame.len)
        reject(front, at, "trailing_bytes", "there are bytes behind the term");
}

/* Only the first message of an oversized frame is near: if there are more, their owner is told that they are lost. */
static void take_head(struct smx_front_ei *front, struct smx_span frame, size_t at, size_t len, size_t max_frame)
{
    char what[200];
    size_t count;
    bool list = smx_term_get_list(frame, &at, &count);
    snprintf(what, sizeof(what),
             "the command makes a frame of %zu bytes, and max_frame is %zu: raise it and max_message, or send less at "
             "once (results may come as a stream)",
             len, max_frame);
    refuse(front, frame, at, SMX_RESOURCE_EXHAUSTED, "too_large", what);
    if (list && count > 1)
        reject(front, at, "too_large", "the messages of an oversized frame are lost");
}

void smx_front_ei_frame(struct smx_front_ei *front, struct smx_span frame, size_t len, size_t max_frame)
{
    const char *what;
    const char *reason = wrong_start(frame, &what);
    front->max_frame = max_frame;
    if (reason)
        reject(front, frame.len > 1 && frame.data[0] == VERSION, reason, what);
    else if (len > max_frame)
        take_head(front, frame, 1, len, max_frame);
    else
        take_frame(front, frame, 1);
}

/* ---- As the loop sees it ---- */

static void on_start(void *self, const struct smx_stage *stage)
{
    smx_front_ei_init(self, stage->handler, stage->out);
}

static void on_frame(void *self, struct smx_span frame, enum smx_frame_kind kind, size_t len, size_t max_frame)
{
    (void)kind; /* of an oversized one only the head is shown */
    smx_front_ei_frame(self, frame, len, max_frame);
}

static void on_flush(void *self)
{
    smx_front_ei_flush(self);
}

static bool on_more(void *self)
{
    return smx_front_ei_more(self);
}

static size_t on_held(void *self)
{
    const struct smx_front_ei *front = self;
    return front->parts.held;
}

static bool on_is_mixed(void *self)
{
    const struct smx_front_ei *front = self;
    return front->parts.small > 0;
}

struct smx_front smx_front_ei(struct smx_front_ei *front)
{
    return (struct smx_front){.self = front,
                              .start = on_start,
                              .frame = on_frame,
                              .emit = smx_front_ei_emit,
                              .flush = on_flush,
                              .more = on_more,
                              .held = on_held,
                              .is_mixed = on_is_mixed};
}
