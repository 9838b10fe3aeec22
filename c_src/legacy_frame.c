/* Owns the maps that the legacy protocol is made of; knows nothing of who sends them when. */
#include "legacy_frame.h"

#include <stdio.h>
#include <time.h>

#include "frame.h"
#include "splice.h"

/* One frame that is being written: a map, whose pairs follow one by one. */
struct writing {
    const struct smx_codec_writer *writer;
    struct smx_buffer *out;
    size_t place;
    bool first;
};

static void open_map(struct writing *writing, size_t count)
{
    writing->writer->put(writing->out, &(struct smx_value){SMX_VALUE_MAP, .count = count});
    writing->first = true;
}

static void close_map(struct writing *writing)
{
    smx_buffer_append_span(writing->out, smx_span_of(writing->writer->end_map));
    writing->first = false;
}

static struct writing open_frame(struct smx_buffer *out, enum smx_codec codec, size_t count)
{
    struct writing writing = {.writer = smx_splice_writer(codec), .out = out, .place = smx_frame_open(out)};
    open_map(&writing, count);
    return writing;
}

static void put_string(struct writing *writing, struct smx_span text)
{
    writing->writer->put(writing->out, &(struct smx_value){SMX_VALUE_STRING, .span = text});
}

static void put_key(struct writing *writing, const char *key)
{
    if (!writing->first)
        smx_buffer_append_span(writing->out, smx_span_of(writing->writer->comma));
    writing->first = false;
    put_string(writing, smx_span_of(key));
    smx_buffer_append_span(writing->out, smx_span_of(writing->writer->colon));
}

static void put_text(struct writing *writing, const char *key, struct smx_span value)
{
    put_key(writing, key);
    put_string(writing, value);
}

/* Text from elsewhere. */
static void put_foreign_text(struct writing *writing, const char *key, struct smx_span value)
{
    struct smx_buffer text = {0};
    smx_buffer_append_text(&text, value);
    put_text(writing, key, smx_buffer_span(&text));
    smx_buffer_fini(&text);
}

static void put_ready(struct writing *writing, const char *key, struct smx_span value)
{
    put_key(writing, key);
    smx_buffer_append_span(writing->out, value);
}

static void put_double(struct writing *writing, const char *key, double value)
{
    put_key(writing, key);
    writing->writer->put(writing->out, &(struct smx_value){SMX_VALUE_DOUBLE, .fraction = value});
}

static void put_uint(struct writing *writing, const char *key, uint64_t value)
{
    put_key(writing, key);
    writing->writer->put(writing->out, &(struct smx_value){SMX_VALUE_UINT, .large = value});
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ISO 8601 in UTC, with microseconds. */
static void put_time(struct writing *writing)
{
    char text[64];
    struct timespec time;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &time);
    gmtime_r(&time.tv_sec, &parts);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + len, sizeof(text) - len, ".%06ldZ", time.tv_nsec / 1000);
    put_text(writing, "timestamp", smx_span_of(text));
}

static void close_frame(struct writing *writing)
{
    put_time(writing);
    close_map(writing);
    smx_frame_seal(writing->out, writing->place);
}

/* Four keys, always: the header of a MessagePack map of three is 0x83, which the old side takes for an Erlang term. */
static struct writing open_reply(struct smx_buffer *out, const struct smx_legacy_frame_head *head, bool success)
{
    struct writing writing = open_frame(out, head->codec, 4);
    put_key(&writing, "id");
    if (head->id.len > 0)
        smx_buffer_append_span(out, head->id);
    else
        writing.writer->put(out, &(struct smx_value){SMX_VALUE_NULL, .count = 0});
    put_key(&writing, "success");
    writing.writer->put(out, &(struct smx_value){SMX_VALUE_BOOL, .boolean = success});
    return writing;
}

void smx_legacy_frame_result(struct smx_buffer *out, const struct smx_legacy_frame_head *head, struct smx_pairs values)
{
    struct writing writing = open_reply(out, head, true);
    put_key(&writing, "result");
    smx_splice_wrap(head->codec, values, out);
    close_frame(&writing);
}

void smx_legacy_frame_failure(struct smx_buffer *out, const struct smx_legacy_frame_head *head, struct smx_span text)
{
    struct writing writing = open_reply(out, head, false);
    put_foreign_text(&writing, "error", text);
    close_frame(&writing);
}

void smx_legacy_frame_selected(struct smx_buffer *out, const char *protocol)
{
    struct writing writing = open_frame(out, SMX_CODEC_JSON, 3);
    put_text(&writing, "type", smx_span_of("protocol_selected"));
    put_text(&writing, "protocol", smx_span_of(protocol));
    close_frame(&writing);
}

void smx_legacy_frame_unknown(struct smx_buffer *out, const struct smx_legacy_frame_head *head, struct smx_span name,
                              struct smx_span commands)
{
    struct smx_buffer text = {0};
    struct writing writing = open_reply(out, head, true);
    smx_buffer_append(&text, "Unknown command: ", 17);
    smx_buffer_append_span(&text, name);
    put_key(&writing, "result");
    open_map(&writing, 4);
    put_text(&writing, "status", smx_span_of("error"));
    put_text(&writing, "error", smx_buffer_span(&text));
    put_ready(&writing, "supported_commands", commands);
    put_double(&writing, "timestamp", now());
    close_map(&writing);
    close_frame(&writing);
    smx_buffer_fini(&text);
}

void smx_legacy_frame_pong(struct smx_buffer *out, const struct smx_legacy_frame_head *head,
                           const struct smx_legacy_frame_pong *pong)
{
    struct writing writing = open_reply(out, head, true);
    put_key(&writing, "result");
    open_map(&writing, 8);
    put_text(&writing, "status", smx_span_of("ok"));
    put_text(&writing, "bridge_type", smx_span_of("snakemux"));
    put_double(&writing, "uptime", pong->uptime);
    put_uint(&writing, "requests_handled", pong->handled);
    put_double(&writing, "timestamp", now());
    put_text(&writing, "worker_state", smx_span_of(pong->worker_state));
    if (pong->worker_id.len > 0)
        put_ready(&writing, "worker_id", pong->worker_id);
    else
        put_text(&writing, "worker_id", smx_span_of("unknown"));
    put_ready(&writing, "echo", pong->echo);
    close_map(&writing);
    close_frame(&writing);
}

void smx_legacy_frame_request(struct smx_buffer *out, enum smx_codec codec, uint64_t id, struct smx_span command,
                              struct smx_pairs args)
{
    struct writing writing = open_frame(out, codec, 4);
    put_key(&writing, "args");
    smx_splice_wrap(codec, args, out);
    put_text(&writing, "command", command);
    put_uint(&writing, "id", id);
    close_frame(&writing);
}

void smx_legacy_frame_negotiation(struct smx_buffer *out)
{
    struct writing writing = open_frame(out, SMX_CODEC_JSON, 4);
    put_text(&writing, "preferred", smx_span_of("msgpack"));
    put_ready(&writing, "supported", smx_span_of("[\"msgpack\",\"json\"]"));
    put_text(&writing, "type", smx_span_of("protocol_negotiation"));
    close_frame(&writing);
}
