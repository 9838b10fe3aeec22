/* Owns nothing; knows how a message is framed and compressed, and which method it is for. */
#include "request.h"

#include "info.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, INTERNAL = 13 };

void smx_request_check(struct smx_stream *stream)
{
    if (stream->method == SMX_STREAM_UNKNOWN)
        smx_stream_refuse(stream, UNIMPLEMENTED, "Method not found!");
    else if (stream->has_bad_metadata)
        smx_stream_refuse(stream, INTERNAL, "the metadata are too large, or one of them can't be read");
}

static void refuse_size(struct smx_stream *stream, const char *what, size_t len)
{
    char text[160];
    snprintf(text, sizeof(text), "Received message larger than max (%s%zu vs. %zu): raise max_message, or use a stream",
             what, len, stream->connection->transport->max_message);
    smx_buffer_fini(&stream->message);
    smx_stream_refuse(stream, RESOURCE_EXHAUSTED, text);
}

static bool take_prefix(struct smx_stream *stream, struct smx_span *data)
{
    while (stream->prefix_len < sizeof(stream->prefix) && data->len > 0) {
        stream->prefix[stream->prefix_len++] = *data->data++;
        data->len--;
    }
    if (stream->prefix_len < sizeof(stream->prefix))
        return false;
    const uint8_t *at = stream->prefix + 1;
    stream->message_len = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    return true;
}

void smx_request_take(struct smx_stream *stream, struct smx_span data)
{
    if (stream->prefix_len < sizeof(stream->prefix)) {
        if (!take_prefix(stream, &data))
            return;
        if (stream->prefix[0] > 1 || (stream->prefix[0] == 1 && !stream->is_gzip)) {
            smx_stream_refuse(stream, INTERNAL, "a message whose compression is not announced");
            return;
        }
        if (stream->message_len > stream->connection->transport->max_message) {
            refuse_size(stream, "", stream->message_len);
            return;
        }
        /* Exactly as much; pages that nothing is written to yet cost nothing. */
        stream->message.data = smx_realloc(NULL, stream->message_len);
        stream->message.cap = stream->message_len;
    }
    if (data.len > stream->message_len - stream->message.len)
        smx_stream_refuse(stream, INTERNAL, "a request has one message");
    else
        smx_buffer_append_span(&stream->message, data);
}

/* Bounded, as a few KiB can inflate to GiB. */
static bool inflate_message(struct smx_stream *stream)
{
    size_t max = stream->connection->transport->max_message;
    struct smx_buffer out = {0};
    z_stream zip = {.next_in = stream->message.data, .avail_in = (unsigned)stream->message.len};
    if (inflateInit2(&zip, 15 + 32) != Z_OK)
        smx_abort("zlib can't start");
    int state = Z_OK;
    while (state == Z_OK && out.len <= max) {
        zip.next_out = smx_buffer_reserve(&out, 65536);
        zip.avail_out = 65536;
        state = inflate(&zip, Z_NO_FLUSH);
        out.len += 65536 - zip.avail_out;
    }
    inflateEnd(&zip);
    smx_buffer_fini(&stream->message);
    stream->message = out;
    if (out.len > max)
        refuse_size(stream, "inflated, over ", out.len);
    else if (state != Z_STREAM_END)
        smx_stream_refuse(stream, INTERNAL, "a compressed message can't be inflated");
    return !stream->is_over;
}

static void expire(void *owner)
{
    struct smx_call *call = owner;
    if (call->stream)
        smx_exchange_end(call->stream->connection->transport->exchange, call, SMX_END_DEADLINE);
}

static void set_deadline(struct smx_stream *stream, struct smx_call *call)
{
    int64_t timeout_us = stream->timeout_us;
    int64_t told_us = (int64_t)call->request.timeout_ms * 1000;
    if (told_us > 0 && told_us < timeout_us)
        timeout_us = told_us;
    if (timeout_us == INT64_MAX)
        return;
    call->deadline_us = smx_now_us() + timeout_us;
    call->deadline = (struct smx_timer){.fire = expire, .owner = call};
    smx_timer_set(&stream->connection->transport->timers, &call->deadline, (call->deadline_us + 999) / 1000);
}

static void start_call(struct smx_stream *stream)
{
    bool in_session = stream->method == SMX_STREAM_IN_SESSION || stream->method == SMX_STREAM_IN_SESSION_STREAM;
    bool is_stream = stream->method == SMX_STREAM_EXECUTE_STREAM || stream->method == SMX_STREAM_IN_SESSION_STREAM;
    enum smx_request_kind kind = in_session ? SMX_REQUEST_SESSION : SMX_REQUEST_EXECUTE;
    struct smx_execute_request request;
    if (!smx_read_request(smx_buffer_span(&stream->message), kind, &request)) {
        smx_stream_refuse(stream, INTERNAL, "Exception deserializing request!");
        return;
    }
    stream->call = smx_call_new(kind, is_stream, &stream->message, &stream->metadata);
    stream->call->request = request; /* points into the same memory */
    stream->call->stream = stream;
    set_deadline(stream, stream->call);
    smx_exchange_arrive(stream->connection->transport->exchange, stream->call);
}

/* Health and GetInfo are answered at once. */
static void answer_here(struct smx_stream *stream, bool ok, struct smx_buffer *message)
{
    if (!ok) {
        smx_stream_refuse(stream, INTERNAL, "Exception deserializing request!");
        smx_buffer_fini(message);
        return;
    }
    struct smx_call *call = smx_call_new(SMX_REQUEST_EXECUTE, false, &stream->message, &stream->metadata);
    call->stream = stream;
    struct smx_answer *answer = smx_answer_new(call, SMX_ANSWER_LAST);
    answer->head = *message;
    smx_answer_finish(answer);
    smx_stream_answer(stream->connection->transport->exchange, answer);
    call->stream = NULL;
    smx_call_release(call);
}

void smx_request_finish(struct smx_stream *stream)
{
    struct smx_transport *transport = stream->connection->transport;
    struct smx_buffer answer = {0};
    if (stream->prefix_len < sizeof(stream->prefix) || stream->message.len < stream->message_len) {
        smx_stream_refuse(stream, INTERNAL, "a request without its message");
        return;
    }
    if (stream->prefix[0] == 1 && !inflate_message(stream))
        return;
    struct smx_span message = smx_buffer_span(&stream->message);
    switch (stream->method) {
    case SMX_STREAM_EXECUTE:
    case SMX_STREAM_EXECUTE_STREAM:
    case SMX_STREAM_IN_SESSION:
    case SMX_STREAM_IN_SESSION_STREAM:
        start_call(stream);
        break;
    case SMX_STREAM_HEALTH:
        answer_here(stream, smx_info_health(transport->info, transport->exchange, message, &answer), &answer);
        break;
    case SMX_STREAM_INFO:
        answer_here(stream, smx_info_tell(transport->info, transport->exchange, message, &answer), &answer);
        break;
    case SMX_STREAM_UNKNOWN: /* refused when its headers had come */
        break;
    }
}
