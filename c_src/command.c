/* Owns the grammar of what the owner says; knows nothing of what becomes of it. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

#include "term.h"

/* One message while it is read: `at` moves along. */
struct input {
    struct smx_command_reader *reader;
    struct smx_span frame;
    size_t at;
};

enum tag { OWN_TAG, TAG_OF_ANOTHER, NO_TAG };

struct grammar {
    const char *name;
    size_t arity;
    bool (*read)(struct input *in); /* what is behind the tag */
    enum smx_op op;
    enum tag tag;
    const char *text;
};

static bool wrong(struct input *in, const char *reason, const char *what)
{
    return smx_error_set(&in->reader->error, SMX_INVALID_ARGUMENT, reason, "%s", what);
}

static bool read_name(struct input *in, size_t max, struct smx_span *name, const char *what)
{
    if (smx_options_get_name(in->frame, &in->at, max, name))
        return true;
    return smx_error_set(&in->reader->error, SMX_INVALID_ARGUMENT, "bad_message",
                         "%s is a binary of 1..%zu bytes, UTF-8 without NUL", what, max);
}

static bool read_worker(struct input *in)
{
    return read_name(in, SMX_MAX_WORKER, &in->reader->command.worker, "a worker's id");
}

static bool read_session(struct input *in)
{
    return read_name(in, SMX_MAX_NAME, &in->reader->command.session, "a session");
}

/* gRPC takes an unknown scheme for a host name and asks DNS. */
static bool read_target(struct input *in)
{
    static const char *const schemes[] = {"ipv4:", "ipv6:", "dns:", "unix:", "unix-abstract:"};
    struct smx_span *target = &in->reader->command.target;
    size_t start = in->at;
    if (!read_name(in, SMX_MAX_NAME, target, "a target"))
        return false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);
        if (target->len > len && memcmp(target->data, schemes[i], len) == 0)
            return true;
    }
    in->at = start;
    return wrong(in, "bad_target", "a target starts with ipv4:, ipv6:, dns:, unix: or unix-abstract:");
}

static bool read_connect(struct input *in)
{
    struct smx_command_reader *reader = in->reader;
    return read_worker(in) && read_target(in) &&
           smx_options_read_connect(in->frame, &in->at, &reader->command.connect, &reader->array, &reader->error);
}

static bool read_disconnect(struct input *in)
{
    struct smx_command *command = &in->reader->command;
    size_t arity = 1;
    char name[SMX_TERM_ATOM_SIZE];
    if (!read_worker(in))
        return false;
    command->drain_ms = -1;
    bool tuple = smx_term_get_tuple(in->frame, &in->at, &arity);
    if (smx_term_get_atom(in->frame, &in->at, name)) {
        if (!tuple && strcmp(name, "now") == 0)
            return true;
        if (arity == 2 && strcmp(name, "drain") == 0 &&
            smx_options_get_number(in->frame, &in->at, 0, NULL, 0, &command->drain_ms))
            return true;
    }
    return wrong(in, "bad_message", "disconnect takes now or {drain, 0..2147483647}");
}

static bool read_to(struct input *in)
{
    struct smx_command *command = &in->reader->command;
    char name[SMX_TERM_ATOM_SIZE] = "";
    size_t arity = 1;
    bool tuple = smx_term_get_tuple(in->frame, &in->at, &arity);
    smx_term_get_atom(in->frame, &in->at, name);
    if (!tuple && strcmp(name, "any") == 0) {
        command->to = SMX_TO_ANY;
        return true;
    }
    if (arity == 2 && strcmp(name, "worker") == 0) {
        command->to = SMX_TO_WORKER;
        return read_worker(in);
    }
    if (arity == 2 && strcmp(name, "session") == 0) {
        command->to = SMX_TO_SESSION;
        return read_session(in);
    }
    if (arity == 3 && strcmp(name, "session") == 0) {
        command->to = SMX_TO_SESSION_WORKER;
        return read_session(in) && read_worker(in);
    }
    return wrong(in, "bad_message", "To is any, {worker, Id}, {session, Session} or {session, Session, WorkerId}");
}

static bool read_args(struct input *in)
{
    size_t start = in->at;
    size_t end = start;
    size_t count;
    if (!smx_term_get_map(in->frame, &end, &count))
        return wrong(in, "bad_message", "Args is a map");
    if (!smx_term_skip(in->frame, &in->at))
        smx_abort("a checked term has no end");
    in->reader->command.args = (struct smx_span){in->frame.data + start, in->at - start};
    return true;
}

static bool read_execute(struct input *in)
{
    struct smx_command_reader *reader = in->reader;
    return read_to(in) && read_name(in, SMX_MAX_NAME, &reader->command.name, "a command") && read_args(in) &&
           smx_options_read_call(in->frame, &in->at, &reader->command.call, &reader->array, &reader->error);
}

static bool read_worker_and_timeout(struct input *in)
{
    struct smx_command_reader *reader = in->reader;
    return read_worker(in) && smx_options_read_timeout(in->frame, &in->at, &reader->command.call, &reader->error);
}

static bool read_credit(struct input *in)
{
    int64_t credit;
    if (!smx_options_get_number(in->frame, &in->at, 1, "infinity", SMX_CREDIT_INFINITY, &credit))
        return wrong(in, "bad_message", "credit takes 1..2147483647 or infinity");
    in->reader->command.credit = (uint32_t)credit;
    return true;
}

static bool read_pin(struct input *in)
{
    return read_session(in) && read_worker(in) &&
           read_name(in, SMX_MAX_NAME, &in->reader->command.incarnation, "an incarnation");
}

static bool read_limit(struct input *in)
{
    int64_t limit;
    if (!smx_options_get_number(in->frame, &in->at, 1, NULL, 0, &limit))
        return wrong(in, "bad_message", "calls takes a limit of 1..2147483647");
    in->reader->command.limit = (uint32_t)limit;
    return true;
}

static bool read_front(struct input *in)
{
    return smx_options_read_front(in->frame, &in->at, &in->reader->options, &in->reader->error);
}

static bool read_bytes(struct input *in)
{
    return smx_term_get_binary(in->frame, &in->at, &in->reader->bytes) ||
           wrong(in, "bad_message", "a part is a binary");
}

static bool read_nothing(struct input *in)
{
    (void)in;
    return true;
}

static const struct grammar messages[] = {
    {"options", 3, read_front, SMX_OP_PING, OWN_TAG, "{options, Tag, Map}"},
    {"connect", 5, read_connect, SMX_OP_CONNECT, OWN_TAG, "{connect, Tag, WorkerId, Target, Opts}"},
    {"disconnect", 4, read_disconnect, SMX_OP_DISCONNECT, OWN_TAG, "{disconnect, Tag, WorkerId, now | {drain, Ms}}"},
    {"execute", 6, read_execute, SMX_OP_EXECUTE, OWN_TAG, "{execute, Tag, To, Command, Args, Opts}"},
    {"execute_stream", 6, read_execute, SMX_OP_EXECUTE_STREAM, OWN_TAG,
     "{execute_stream, Tag, To, Command, Args, Opts}"},
    {"health", 4, read_worker_and_timeout, SMX_OP_HEALTH, OWN_TAG, "{health, Tag, WorkerId, Opts}"},
    {"info", 4, read_worker_and_timeout, SMX_OP_INFO, OWN_TAG, "{info, Tag, WorkerId, Opts}"},
    {"credit", 3, read_credit, SMX_OP_CREDIT, TAG_OF_ANOTHER, "{credit, Tag, N}"},
    {"cancel", 2, read_nothing, SMX_OP_CANCEL, TAG_OF_ANOTHER, "{cancel, Tag}"},
    {"pin", 4, read_pin, SMX_OP_PIN, NO_TAG, "{pin, Session, WorkerId, Incarnation}"},
    {"end_session", 3, read_session, SMX_OP_END_SESSION, OWN_TAG, "{end_session, Tag, Session}"},
    {"stats", 2, read_nothing, SMX_OP_STATS, OWN_TAG, "{stats, Tag}"},
    {"calls", 3, read_limit, SMX_OP_CALLS, OWN_TAG, "{calls, Tag, Limit}"},
    {"ping", 2, read_nothing, SMX_OP_PING, OWN_TAG, "{ping, Tag}"},
    {"part", 3, read_bytes, SMX_OP_PING, OWN_TAG, "{part, Tag, Bin}"},
    {"last", 3, read_bytes, SMX_OP_PING, OWN_TAG, "{last, Tag, Bin}"},
};

static const struct grammar *grammar_of(const char *name)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        if (strcmp(name, messages[i].name) == 0)
            return &messages[i];
    return NULL;
}

static enum smx_part part_of(const struct grammar *grammar)
{
    if (grammar->read != read_bytes)
        return SMX_PART_NONE;
    return strcmp(grammar->name, "last") == 0 ? SMX_PART_LAST : SMX_PART_MORE;
}

static bool read_tag(struct input *in)
{
    size_t start = in->at;
    const char *why;
    if (!smx_term_check(in->frame, &in->at, &why))
        return wrong(in, "bad_term", why);
    if (in->at - start > SMX_MAX_TAG) {
        in->at = start;
        return wrong(in, "tag_too_large", "a tag has at most 1024 bytes, encoded");
    }
    in->reader->command.tag = (struct smx_span){in->frame.data + start, in->at - start};
    return true;
}

/* Name and tag, of a message that may be broken behind them. Sets `arity`, and `grammar` if the name is known. */
static bool read_head(struct input *in, const struct grammar **grammar, size_t *arity)
{
    char name[SMX_TERM_ATOM_SIZE];
    const char *why;
    if (!smx_term_get_tuple(in->frame, &in->at, arity))
        return wrong(in, "bad_message", "a message is a tuple");
    size_t end = in->at;
    if (!smx_term_check(in->frame, &end, &why) || !smx_term_get_atom(in->frame, &in->at, name))
        return wrong(in, "bad_message", "a message is a tuple that starts with an atom");
    *grammar = grammar_of(name);
    if (*grammar)
        in->reader->part = part_of(*grammar);
    if (*grammar && (*grammar)->tag == NO_TAG)
        return true;
    if (*arity < 2 || !read_tag(in))
        return wrong(in, "bad_message", "a message has a tag behind its name");
    if (!*grammar)
        smx_error_set(&in->reader->error, SMX_UNIMPLEMENTED, "unknown_message", "there is no message %s", name);
    return true;
}

static enum smx_command_kind refuse(struct input *in, const struct grammar *grammar)
{
    in->reader->offset = in->at;
    bool own = in->reader->command.tag.len > 0 && (!grammar || grammar->tag == OWN_TAG);
    return own ? SMX_COMMAND_WRONG : SMX_COMMAND_LOST;
}

enum smx_command_kind smx_command_read(struct smx_command_reader *reader, struct smx_span frame, size_t at)
{
    struct input in = {reader, frame, at};
    const struct grammar *grammar = NULL;
    size_t arity;
    if (!read_head(&in, &grammar, &arity) || !grammar)
        return refuse(&in, grammar);
    reader->command.op = grammar->op;
    if (arity != grammar->arity)
        smx_error_set(&reader->error, SMX_INVALID_ARGUMENT, "bad_message", "the message is %s", grammar->text);
    if (arity != grammar->arity || !grammar->read(&in))
        return refuse(&in, grammar);
    return grammar->read == read_front ? SMX_COMMAND_OPTIONS : SMX_COMMAND_READ;
}

enum smx_command_kind smx_command_read_head(struct smx_command_reader *reader, struct smx_span frame, size_t at)
{
    struct input in = {reader, frame, at};
    const struct grammar *grammar = NULL;
    size_t arity;
    read_head(&in, &grammar, &arity);
    return refuse(&in, grammar);
}

void smx_command_reader_fini(struct smx_command_reader *reader)
{
    smx_error_fini(&reader->error);
    free(reader->array);
    *reader = (struct smx_command_reader){0};
}
