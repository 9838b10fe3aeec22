/* Owns which options there are and what they may be; knows nothing of the messages they come in. */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "metadata.h"
#include "term.h"

enum kind {
    NUMBER,  /* int64_t: an integer from 1 on, or the atom of the option */
    COUNT,   /* uint32_t: the same */
    BOOL,    /* bool: the index of an atom among the option's names */
    CHOICE,  /* an enum: the same */
    NAME,    /* struct smx_span: text */
    HEADERS, /* struct smx_pairs: metadata */
    COMMANDS /* the three fields for commands of a connection */
};

enum { MAX_NAMES = SMX_CODEC_AUTO + 1 };

struct option {
    const char *name;
    enum kind kind;
    size_t place; /* in the struct of options */
    const char *allowed;
    int64_t max;      /* 0: 2^31-1 */
    const char *atom; /* instead of a number */
    int64_t instead;  /* the number it stands for */
    const char *names[MAX_NAMES];
};

#define CALL(field) offsetof(struct smx_call_options, field)
#define CONNECT(field) offsetof(struct smx_connect_options, field)
#define INT_MAX_TEXT "1..2147483647"

static const struct option call_options[] = {
    {"timeout", NUMBER, CALL(timeout_ms), INT_MAX_TEXT " (ms) or infinity", .atom = "infinity", .instead = 0},
    {"credit", COUNT, CALL(credit), INT_MAX_TEXT " or infinity", .atom = "infinity", .instead = SMX_CREDIT_INFINITY},
    {"codec", CHOICE, CALL(codec), "raw, terms, json or msgpack", .names = {"raw", "terms", "json", "msgpack"}},
    {"null", CHOICE, CALL(style.null), "null or nil", .names = {"null", "nil"}},
    {"tensors", CHOICE, CALL(style.tensors), "tuple or struct", .names = {"tuple", "struct"}},
    {"metadata", HEADERS, CALL(metadata), "a map or a list of {Key, Value}, both binaries", .max = 0},
    {"wait_for_ready", BOOL, CALL(wait_for_ready), "true or false", .names = {"false", "true"}},
    {"on_session_lost", BOOL, CALL(move_lost_session), "error or move", .names = {"error", "move"}},
    {"request_id", NAME, CALL(request_id), "a binary of 1..1024 bytes, UTF-8 without NUL", .max = SMX_MAX_NAME},
    {"compression", BOOL, CALL(gzip), "none or gzip", .names = {"none", "gzip"}},
};

static const struct option connect_options[] = {
    {"max_concurrent", COUNT, CONNECT(max_concurrent), INT_MAX_TEXT, .max = 0},
    {"weight", COUNT, CONNECT(weight), "1..1000000", .max = 1000000},
    {"commands", COMMANDS, 0, "all or a list of binaries of 1..1024 bytes, UTF-8 without NUL", .max = SMX_MAX_NAME},
    {"codec", CHOICE, CONNECT(codec), "auto, json or msgpack",
     .names = {[SMX_CODEC_JSON] = "json", [SMX_CODEC_MSGPACK] = "msgpack", [SMX_CODEC_AUTO] = "auto"}},
    {"incarnation", NAME, CONNECT(incarnation), "a binary of 1..1024 bytes, UTF-8 without NUL", .max = SMX_MAX_NAME},
    {"ready_timeout", NUMBER, CONNECT(ready_timeout_ms), INT_MAX_TEXT " (ms)", .max = 0},
    {"keepalive", NUMBER, CONNECT(keepalive_ms), INT_MAX_TEXT " (ms) or off", .atom = "off", .instead = 0},
    {"health_interval", NUMBER, CONNECT(health_interval_ms), INT_MAX_TEXT " (ms) or off", .atom = "off", .instead = 0},
    {"unresponsive_after", NUMBER, CONNECT(unresponsive_after_ms), INT_MAX_TEXT " (ms)", .max = 0},
    {"bdp_probe", BOOL, CONNECT(bdp_probe), "true or false", .names = {"false", "true"}},
    {"stream_window", COUNT, CONNECT(stream_window), INT_MAX_TEXT " (bytes)", .max = 0},
    {"ca_file", NAME, CONNECT(ca_file), "a path, a binary of 1..4096 bytes", .max = 4096},
    {"authority", NAME, CONNECT(authority), "a binary of 1..1024 bytes, UTF-8 without NUL", .max = SMX_MAX_NAME},
};

static const struct option front_options[] = {
    {"batch", BOOL, offsetof(struct smx_front_options, batch), "true or false", .names = {"false", "true"}},
    {"meta", BOOL, offsetof(struct smx_front_options, meta), "true or false", .names = {"false", "true"}},
    {"pins", BOOL, offsetof(struct smx_front_options, pins), "true or false", .names = {"false", "true"}},
    {"fragment", NUMBER, offsetof(struct smx_front_options, fragment), INT_MAX_TEXT " (bytes) or off", .atom = "off",
     .instead = 0},
};

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

/* Where options are read from, and what they become. */
struct source {
    struct smx_span term;
    size_t *at;
    void **array;
    struct smx_error *why;
};

bool smx_options_get_name(struct smx_span term, size_t *at, size_t max, struct smx_span *name)
{
    size_t end = *at;
    struct smx_span found;
    if (!smx_term_get_binary(term, &end, &found) || found.len == 0 || found.len > max || !smx_utf8_valid(found, false))
        return false;
    *name = found;
    *at = end;
    return true;
}

bool smx_options_get_number(struct smx_span term, size_t *at, int64_t min, const char *atom, int64_t instead,
                            int64_t *value)
{
    char name[SMX_TERM_ATOM_SIZE];
    size_t end = *at;
    int64_t found = instead;
    if (smx_term_get_atom(term, &end, name)) {
        if (!atom || strcmp(name, atom) != 0)
            return false;
    } else if (!smx_term_get_int(term, &end, &found) || found < min || found > INT32_MAX) {
        return false;
    }
    *value = found;
    *at = end;
    return true;
}

static bool get_choice(const struct source *from, const struct option *option, int *choice)
{
    char name[SMX_TERM_ATOM_SIZE];
    size_t end = *from->at;
    if (!smx_term_get_atom(from->term, &end, name))
        return false;
    for (*choice = 0; *choice < MAX_NAMES; ++*choice) {
        if (option->names[*choice] && strcmp(name, option->names[*choice]) == 0) {
            *from->at = end;
            return true;
        }
    }
    return false;
}

static bool read_number(const struct source *from, const struct option *option, void *place)
{
    int64_t value;
    if (!smx_options_get_number(from->term, from->at, 1, option->atom, option->instead, &value) ||
        (option->max > 0 && value > option->max))
        return false;
    if (option->kind == NUMBER)
        *(int64_t *)place = value;
    else
        *(uint32_t *)place = (uint32_t)value;
    return true;
}

static bool read_choice(const struct source *from, const struct option *option, void *place)
{
    int choice;
    if (!get_choice(from, option, &choice))
        return false;
    if (option->kind == BOOL)
        *(bool *)place = choice == 1;
    else
        memcpy(place, &choice, sizeof(choice)); /* an enum is as large as an int */
    return true;
}

static bool read_commands(const struct source *from, const struct option *option, struct smx_connect_options *connect)
{
    char name[SMX_TERM_ATOM_SIZE];
    size_t count = 0;
    connect->any_command = smx_term_get_atom(from->term, from->at, name);
    if (connect->any_command)
        return strcmp(name, "all") == 0;
    connect->has_commands = true;
    if (!smx_term_get_list(from->term, from->at, &count))
        return smx_term_get_nil(from->term, from->at);
    struct smx_span *items = *from->array = smx_realloc(*from->array, count * sizeof(*items));
    for (size_t i = 0; i < count; i++)
        if (!smx_options_get_name(from->term, from->at, (size_t)option->max, &items[i]))
            return false;
    connect->commands = (struct smx_list){items, count};
    return smx_term_get_nil(from->term, from->at);
}

static bool read_option(const struct source *from, const struct option *option, void *options)
{
    void *place = (char *)options + option->place;
    switch (option->kind) {
    case NUMBER:
    case COUNT:
        return read_number(from, option, place);
    case BOOL:
    case CHOICE:
        return read_choice(from, option, place);
    case NAME:
        return smx_options_get_name(from->term, from->at, (size_t)option->max, place);
    case HEADERS:
        return smx_metadata_read(from->term, from->at, place, from->array, from->why);
    case COMMANDS:
        return read_commands(from, option, options);
    }
    return false;
}

#define WRONG(from, ...) smx_error_set((from)->why, SMX_INVALID_ARGUMENT, "bad_option", __VA_ARGS__)

static bool unknown(const struct source *from, const char *name, const struct option *table, size_t count)
{
    struct smx_buffer names = {0};
    for (size_t i = 0; i < count; i++)
        smx_buffer_printf(&names, "%s%s", i > 0 ? ", " : "", table[i].name);
    WRONG(from, "unknown option %s; there are: %s", name, (const char *)names.data);
    smx_buffer_fini(&names);
    return false;
}

static bool read_map(const struct source *from, const struct option *table, size_t count, void *options)
{
    char name[SMX_TERM_ATOM_SIZE];
    size_t pairs;
    if (!smx_term_get_map(from->term, from->at, &pairs))
        return WRONG(from, "the options are not a map");
    for (; pairs > 0; pairs--) {
        size_t start = *from->at;
        const struct option *option = table;
        if (!smx_term_get_atom(from->term, from->at, name))
            return WRONG(from, "the name of an option is not an atom");
        while (option < table + count && strcmp(name, option->name) != 0)
            option++;
        if (option == table + count) {
            *from->at = start;
            return unknown(from, name, table, count);
        }
        if (!read_option(from, option, options))
            return WRONG(from, "option %s takes %s", name, option->allowed);
    }
    return true;
}

static const struct smx_call_options call_defaults = {
    .timeout_ms = SMX_DEFAULT_TIMEOUT_MS,
    .credit = SMX_DEFAULT_CREDIT,
    .wait_for_ready = true,
};

bool smx_options_read_call(struct smx_span term, size_t *at, struct smx_call_options *options, void **array,
                           struct smx_error *why)
{
    *options = call_defaults;
    return read_map(&(struct source){term, at, array, why}, call_options, COUNT_OF(call_options), options);
}

bool smx_options_read_timeout(struct smx_span term, size_t *at, struct smx_call_options *options, struct smx_error *why)
{
    void *none = NULL;
    *options = call_defaults;
    return read_map(&(struct source){term, at, &none, why}, call_options, 1, options);
}

bool smx_options_read_connect(struct smx_span term, size_t *at, struct smx_connect_options *options, void **array,
                              struct smx_error *why)
{
    *options = (struct smx_connect_options){
        .weight = 1,
        .codec = SMX_CODEC_AUTO,
        .ready_timeout_ms = SMX_DEFAULT_READY_TIMEOUT_MS,
        .health_interval_ms = SMX_DEFAULT_HEALTH_INTERVAL_MS,
        .unresponsive_after_ms = SMX_DEFAULT_UNRESPONSIVE_AFTER_MS,
    };
    return read_map(&(struct source){term, at, array, why}, connect_options, COUNT_OF(connect_options), options);
}

bool smx_options_read_front(struct smx_span term, size_t *at, struct smx_front_options *options, struct smx_error *why)
{
    void *none = NULL;
    *options = (struct smx_front_options){.meta = true};
    return read_map(&(struct source){term, at, &none, why}, front_options, COUNT_OF(front_options), options);
}
