/* What the tests share; knows nothing of any one test. */
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "term.h"

void test_put_hex(struct smx_buffer *out, const char *hex)
{
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        smx_buffer_append(out, (const uint8_t[]){(uint8_t)byte}, 1);
}

const char *test_text(struct smx_buffer *buffer)
{
    *smx_buffer_reserve(buffer, 1) = 0;
    return (const char *)buffer->data;
}

/* The quoted string that ends at `end`, cut out of the entry; sets `end` to its start. */
static char *quoted_before(char *entry, char **end)
{
    char *close = *end;
    while (close > entry && *close != '"')
        close--;
    assert_true(close > entry);
    *close = 0;
    char *open = close;
    while (open > entry && (*open != '"' || open[-1] == '\\'))
        open--;
    *end = open > entry ? open - 1 : entry;
    char *to = open + 1;
    for (const char *from = to; (*to = *from); from++)
        if (*from == '\\')
            *to++ = *++from == 'n' ? '\n' : *from;
        else
            to++;
    return open + 1;
}

static void read_entry(char *entry, const char *direction, void (*each)(const struct vector *vector), int *count)
{
    struct vector vector = {0};
    if (sscanf(entry, "{%63[a-z0-9_], %15[a-z]", vector.name, vector.direction) != 2 ||
        strcmp(vector.direction, direction) != 0)
        return;
    char *end = entry + strlen(entry) - 1;
    test_put_hex(&vector.frame, quoted_before(entry, &end));
    if (strcmp(direction, "event") != 0)
        vector.text = quoted_before(entry, &end);
    each(&vector);
    smx_buffer_fini(&vector.frame);
    ++*count;
}

/* An entry ends with the line that ends with "}.". */
void test_vectors(const char *direction, void (*each)(const struct vector *vector))
{
    FILE *file = fopen(TEST_VECTORS "/protocol.terms", "r");
    struct smx_buffer entry = {0};
    char *line = NULL;
    size_t cap = 0;
    int count = 0;
    assert_non_null(file);
    for (ssize_t len; (len = getline(&line, &cap, file)) > 0;) {
        if (line[0] == '%')
            continue;
        smx_buffer_append(&entry, line, (size_t)len);
        if (len < 3 || strcmp(line + len - 3, "}.\n") != 0)
            continue;
        test_text(&entry);
        read_entry((char *)entry.data, direction, each, &count);
        entry.len = 0;
    }
    fclose(file);
    free(line);
    smx_buffer_fini(&entry);
    assert_true(count > 0);
}

/* What stands between quotes, with \xNN for any byte. Returns behind the closing quote. */
static const char *put_quoted(struct smx_buffer *out, const char *text)
{
    for (; *text != '"'; text++) {
        unsigned byte = (uint8_t)*text;
        if (*text == '\\') {
            assert_int_equal(sscanf(text, "\\x%2x", &byte), 1);
            text += 3;
        }
        smx_buffer_append(out, (const uint8_t[]){(uint8_t)byte}, 1);
    }
    return text + 1;
}

/* Elements up to `close`, whose count goes into the header at `place`. A map's key and value count as one. */
static const char *put_elements(struct smx_buffer *out, const char *text, char close, size_t place)
{
    size_t count = 0;
    while (*text != close && *text != '|') {
        text = test_put_term(out, *text == ',' ? text + 1 : text);
        if (strncmp(text, "=>", 2) == 0)
            text = test_put_term(out, text + 2);
        count++;
    }
    smx_term_set_count(out, place, count);
    return text;
}

static const char *put_list(struct smx_buffer *out, const char *text)
{
    size_t place = out->len;
    if (text[1] == ']') {
        smx_term_put_nil(out);
        return text + 2;
    }
    smx_term_put_list(out, 0);
    text = put_elements(out, text + 1, ']', place);
    if (*text == '|')
        return test_put_term(out, text + 1) + 1;
    smx_term_put_nil(out);
    return text + 1;
}

static const char *put_number(struct smx_buffer *out, const char *text)
{
    char *end;
    double fraction = strtod(text, &end);
    if (memchr(text, '.', (size_t)(end - text)))
        smx_term_put_double(out, fraction);
    else if (*text == '-')
        smx_term_put_int(out, strtoll(text, NULL, 10));
    else
        smx_term_put_uint(out, strtoull(text, NULL, 10));
    return end;
}

static const char *put_string(struct smx_buffer *out, const char *text, bool list)
{
    struct smx_buffer bytes = {0};
    text = put_quoted(&bytes, text);
    if (list)
        smx_buffer_append(out, (const uint8_t[]){'k', 0, (uint8_t)bytes.len}, 3);
    if (list)
        smx_buffer_append_span(out, smx_buffer_span(&bytes));
    else
        smx_term_put_binary(out, smx_buffer_span(&bytes));
    smx_buffer_fini(&bytes);
    return text;
}

const char *test_put_term(struct smx_buffer *out, const char *text)
{
    char name[SMX_TERM_ATOM_SIZE];
    size_t place = out->len;
    if (strncmp(text, "<<\"", 3) == 0)
        return put_string(out, text + 3, false) + 2;
    if (*text == '"')
        return put_string(out, text + 1, true);
    if (*text == '[')
        return put_list(out, text);
    if (*text == '{') {
        smx_buffer_append(out, "i\0\0\0\0", 5);
        return put_elements(out, text + 1, '}', place) + 1;
    }
    if (strncmp(text, "#{", 2) == 0) {
        smx_term_put_map(out, 0);
        return put_elements(out, text + 2, '}', place) + 1;
    }
    if (strchr("-0123456789", *text))
        return put_number(out, text);
    assert_int_equal(sscanf(text, "%255[a-zA-Z_.]", name), 1);
    smx_term_put_atom(out, name);
    return text + strlen(name);
}

static void print_bytes(struct smx_buffer *out, struct smx_span value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.data[i];
        if (byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\')
            smx_buffer_append(out, &byte, 1);
        else
            smx_buffer_printf(out, "\\x%02x", byte);
    }
}

static void print_binary(struct smx_buffer *out, struct smx_span value)
{
    smx_buffer_append(out, "<<\"", 3);
    print_bytes(out, value);
    smx_buffer_append(out, "\">>", 3);
}

static void print_elements(struct smx_buffer *out, struct smx_span term, size_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            smx_buffer_append(out, ",", 1);
        test_print_term(out, term, at);
    }
}

static bool print_scalar(struct smx_buffer *out, struct smx_span term, size_t *at)
{
    char name[SMX_TERM_ATOM_SIZE];
    struct smx_span bytes;
    int64_t number;
    uint64_t large;
    double fraction;
    if (smx_term_get_int(term, at, &number))
        smx_buffer_printf(out, "%" PRId64, number);
    else if (smx_term_get_uint(term, at, &large))
        smx_buffer_printf(out, "%" PRIu64, large);
    else if (smx_term_get_double(term, at, &fraction))
        smx_buffer_printf(out, "%.17g%s", fraction, fraction == (double)(int64_t)fraction ? ".0" : "");
    else if (smx_term_get_atom(term, at, name))
        smx_buffer_printf(out, "%s", name);
    else if (smx_term_get_binary(term, at, &bytes))
        print_binary(out, bytes);
    else
        return false;
    return true;
}

void test_print_term(struct smx_buffer *out, struct smx_span term, size_t *at)
{
    size_t count = 0;
    if (print_scalar(out, term, at))
        return;
    if (smx_term_get_tuple(term, at, &count)) {
        smx_buffer_append(out, "{", 1);
        print_elements(out, term, at, count);
        smx_buffer_append(out, "}", 1);
    } else if (smx_term_get_map(term, at, &count)) {
        smx_buffer_append(out, "#{", 2);
        for (size_t i = 0; i < count; i++) {
            smx_buffer_append(out, ",", i > 0);
            test_print_term(out, term, at);
            smx_buffer_append(out, "=>", 2);
            test_print_term(out, term, at);
        }
        smx_buffer_append(out, "}", 1);
    } else if (smx_term_get_list(term, at, &count) || smx_term_get_nil(term, at)) {
        smx_buffer_append(out, "[", 1);
        print_elements(out, term, at, count);
        if (count > 0 && !smx_term_get_nil(term, at)) {
            smx_buffer_append(out, "|", 1);
            test_print_term(out, term, at);
        }
        smx_buffer_append(out, "]", 1);
    } else {
        smx_buffer_printf(out, "<%s>", smx_term_kind(term, *at));
        assert_true(smx_term_skip(term, at));
    }
}

const char *test_term_text(struct smx_span term)
{
    static struct smx_buffer text;
    size_t at = term.data[0] == 131;
    text.len = 0;
    test_print_term(&text, term, &at);
    assert_int_equal(at, term.len);
    return test_text(&text);
}

static void print_span(struct smx_buffer *out, const char *name, struct smx_span value)
{
    if (value.len == 0)
        return;
    smx_buffer_printf(out, " %s=", name);
    print_bytes(out, value);
}

static void print_int(struct smx_buffer *out, const char *name, int64_t value, int64_t otherwise)
{
    if (value != otherwise)
        smx_buffer_printf(out, " %s=%" PRId64, name, value);
}

static void print_call(struct smx_buffer *out, const struct smx_command *command)
{
    const struct smx_call_options *call = &command->call;
    print_int(out, "timeout", call->timeout_ms, SMX_DEFAULT_TIMEOUT_MS);
    if (command->op == SMX_OP_HEALTH || command->op == SMX_OP_INFO)
        return;
    print_int(out, "credit", call->credit, SMX_DEFAULT_CREDIT);
    print_int(out, "codec", (int64_t)call->codec, SMX_CODEC_RAW);
    print_int(out, "null", (int64_t)call->style.null, SMX_NULL_NULL);
    print_int(out, "tensors", (int64_t)call->style.tensors, SMX_TENSORS_TUPLE);
    print_int(out, "wait_for_ready", call->wait_for_ready, true);
    print_int(out, "move", call->move_lost_session, false);
    print_int(out, "gzip", call->gzip, false);
    print_span(out, "request_id", call->request_id);
    for (size_t i = 0; i < call->metadata.count; i++) {
        print_span(out, "header", call->metadata.items[i].key);
        smx_buffer_append(out, ":", 1);
        print_bytes(out, call->metadata.items[i].value);
    }
}

static void print_connect(struct smx_buffer *out, const struct smx_connect_options *connect)
{
    print_int(out, "max_concurrent", connect->max_concurrent, 0);
    print_int(out, "weight", connect->weight, 1);
    print_int(out, "any_command", connect->any_command, false);
    print_int(out, "has_commands", connect->has_commands, false);
    for (size_t i = 0; i < connect->commands.count; i++)
        print_span(out, "command", connect->commands.items[i]);
    print_int(out, "codec", (int64_t)connect->codec, SMX_CODEC_AUTO);
    print_span(out, "incarnation", connect->incarnation);
    print_int(out, "ready_timeout", connect->ready_timeout_ms, SMX_DEFAULT_READY_TIMEOUT_MS);
    print_int(out, "keepalive", connect->keepalive_ms, 0);
    print_int(out, "health_interval", connect->health_interval_ms, SMX_DEFAULT_HEALTH_INTERVAL_MS);
    print_int(out, "unresponsive_after", connect->unresponsive_after_ms, SMX_DEFAULT_UNRESPONSIVE_AFTER_MS);
    print_int(out, "bdp_probe", connect->bdp_probe, false);
    print_int(out, "stream_window", connect->stream_window, 0);
    print_span(out, "ca_file", connect->ca_file);
    print_span(out, "authority", connect->authority);
}

void test_print_command(struct smx_buffer *out, const struct smx_command *command)
{
    static const char *const names[] = {"connect", "disconnect", "execute", "execute_stream", "health", "info",
                                        "credit",  "cancel",     "pin",     "end_session",    "stats",  "calls",
                                        "ping"};
    static const char *const to[] = {"any", "worker", "session", "session_worker"};
    bool execute = command->op == SMX_OP_EXECUTE || command->op == SMX_OP_EXECUTE_STREAM;
    smx_buffer_printf(out, "%s", names[command->op]);
    if (command->tag.len > 0)
        smx_buffer_printf(out, " tag=%s", test_term_text(command->tag));
    if (execute)
        smx_buffer_printf(out, " to=%s", to[command->to]);
    print_span(out, "worker", command->worker);
    print_span(out, "session", command->session);
    print_span(out, "name", command->name);
    if (execute)
        smx_buffer_printf(out, " args=%s", test_term_text(command->args));
    print_span(out, "target", command->target);
    print_span(out, "incarnation", command->incarnation);
    print_int(out, "n", command->credit, 0);
    print_int(out, "limit", command->limit, 0);
    if (command->op == SMX_OP_DISCONNECT)
        print_int(out, "drain", command->drain_ms, -1);
    if (execute || command->op == SMX_OP_HEALTH || command->op == SMX_OP_INFO)
        print_call(out, command);
    if (command->op == SMX_OP_CONNECT)
        print_connect(out, &command->connect);
}

static void record(void *bridge, const struct smx_command *command)
{
    struct test_front *test = bridge;
    test_print_command(&test->commands, command);
    smx_buffer_append(&test->commands, "\n", 1);
}

static bool is_live(void *bridge, struct smx_span tag)
{
    const struct test_front *test = bridge;
    return test->live.len > 0 && smx_span_equal(tag, test->live);
}

void test_front_init(struct test_front *test)
{
    *test = (struct test_front){0};
    smx_front_ei_init(&test->front, (struct smx_handler){record, is_live, test}, &test->out);
}

void test_front_fini(struct test_front *test)
{
    smx_front_ei_fini(&test->front);
    smx_buffer_fini(&test->commands);
    smx_buffer_fini(&test->out);
}

static const char *text_once(struct smx_buffer *text, const struct smx_buffer *from)
{
    text->len = 0;
    smx_buffer_append_span(text, smx_buffer_span(from));
    return test_text(text);
}

const char *test_front_commands(struct test_front *test)
{
    static struct smx_buffer text;
    text_once(&text, &test->commands);
    test->commands.len = 0;
    return (const char *)text.data;
}

const char *test_front_events(struct test_front *test)
{
    static struct smx_buffer text;
    struct smx_frame_reader reader;
    struct smx_span frame;
    size_t space;
    text.len = 0;
    smx_front_ei_flush(&test->front);
    smx_frame_reader_init(&reader, SIZE_MAX / 2);
    for (size_t at = 0; at < test->out.len;) {
        uint8_t *to = smx_frame_reader_space(&reader, &space);
        size_t len = space < test->out.len - at ? space : test->out.len - at;
        memcpy(to, test->out.data + at, len);
        smx_frame_reader_fed(&reader, len);
        at += len;
        while (smx_frame_reader_next(&reader, &frame) == SMX_FRAME_WHOLE)
            smx_buffer_printf(&text, "%s\n", test_term_text(frame));
    }
    assert_int_equal(reader.at, reader.buffer.len);
    smx_frame_reader_fini(&reader);
    test->out.len = 0;
    return test_text(&text);
}
