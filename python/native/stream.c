/* Owns streams and the order of what they send; knows gRPC's framing, not what is in messages. */
#include "stream.h"

#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNAVAILABLE = 14 };

static const char path_prefix[] = "/snakepit.SnakepitBridge/";

static const struct {
    const char *name;
    enum smx_stream_method method;
} methods[] = {
    {"Execute", SMX_STREAM_EXECUTE},
    {"ExecuteStream", SMX_STREAM_EXECUTE_STREAM},
    {"ExecuteInSession", SMX_STREAM_IN_SESSION},
    {"ExecuteInSessionStream", SMX_STREAM_IN_SESSION_STREAM},
    {"Health", SMX_STREAM_HEALTH},
    {"GetInfo", SMX_STREAM_INFO},
};

static nghttp2_nv header(const char *name, struct smx_span value, bool is_static)
{
    return (nghttp2_nv){
        .name = (uint8_t *)name,
        .namelen = strlen(name),
        .value = (uint8_t *)value.data,
        .valuelen = value.len,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | (is_static ? NGHTTP2_NV_FLAG_NO_COPY_VALUE : NGHTTP2_NV_FLAG_NONE),
    };
}

static nghttp2_nv constant(const char *name, const char *value)
{
    return header(name, smx_span_of(value), true);
}

/* The status, behind the messages or alone. Texts are encoded already. */
static void send_status(struct smx_stream *stream, int status, struct smx_span text, struct smx_span story)
{
    char number[16];
    nghttp2_nv all[5];
    size_t count = 0;
    snprintf(number, sizeof(number), "%d", status);
    if (!stream->is_responding) {
        all[count++] = constant(":status", "200");
        all[count++] = constant("content-type", "application/grpc");
    }
    all[count++] = status == 0 ? constant("grpc-status", "0") : header("grpc-status", smx_span_of(number), false);
    if (text.len > 0)
        all[count++] = header("grpc-message", text, false);
    if (story.len > 0)
        all[count++] = header("snakemux-error-bin", story, false);
    stream->is_over = true;
    nghttp2_session *session = stream->connection->session;
    int failed = stream->is_responding ? nghttp2_submit_trailer(session, stream->id, all, count)
                                       : nghttp2_submit_response(session, stream->id, all, count, NULL);
    if (failed)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
    stream->is_responding = true;
    smx_transport_touch(stream->connection->transport, stream->connection);
}

void smx_stream_refuse(struct smx_stream *stream, int status, const char *text)
{
    if (!stream->is_over)
        send_status(stream, status, smx_span_of(text), (struct smx_span){0});
}

void smx_stream_release(struct smx_exchange *exchange, struct smx_answer *answer)
{
    if (--answer->references == 0)
        smx_exchange_dispose(exchange, answer);
}

static void pop(struct smx_stream *stream)
{
    struct smx_answer *answer = stream->first;
    stream->first = answer->next;
    answer->next = NULL;
    if (!stream->first)
        stream->end = &stream->first;
    stream->left -= answer->left;
    smx_stream_release(stream->connection->transport->exchange, answer);
}

static void drop_all(struct smx_stream *stream)
{
    while (stream->first)
        pop(stream);
}

/* nghttp2 asks how much it may send: all that is there, in one frame. */
static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct smx_stream *stream = source->ptr;
    (void)session;
    (void)id;
    (void)buffer;
    (void)user;
    if (stream->is_over || stream->left == 0) {
        stream->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t len = stream->left < max ? stream->left : max;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    struct smx_answer *last = stream->first;
    while (last->next)
        last = last->next;
    if (len == stream->left && last->kind == SMX_ANSWER_LAST) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        send_status(stream, 0, (struct smx_span){0}, smx_buffer_span(&last->story));
    }
    return (ssize_t)len;
}

/* So many bytes of the first answer, at most, behind the frame's head. */
static size_t send_some(struct smx_stream *stream, size_t len)
{
    struct smx_answer *answer = stream->first;
    struct smx_part *part = &answer->parts[answer->part];
    size_t some = part->len - answer->sent < len ? part->len - answer->sent : len;
    const uint8_t *data = part->data ? part->data : answer->head.data + part->offset;
    smx_connection_write(stream->connection, data + answer->sent, some, answer);
    answer->sent += some;
    answer->left -= some;
    stream->left -= some;
    if (answer->sent == part->len) {
        answer->part++;
        answer->sent = 0;
    }
    return some;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
                     nghttp2_data_source *source, void *user)
{
    struct smx_stream *stream = source->ptr;
    size_t bytes = 0, count = 0;
    (void)session;
    (void)frame;
    (void)user;
    smx_connection_write(stream->connection, head, 9, NULL);
    while (len > 0) {
        len -= send_some(stream, len);
        if (stream->first->left > 0)
            continue;
        bytes += stream->first->len;
        count++;
        pop(stream);
    }
    if (count > 0 && stream->call)
        smx_exchange_taken(stream->connection->transport->exchange, stream->call, bytes, count);
    return 0;
}

static void send_headers(struct smx_stream *stream)
{
    const nghttp2_nv headers[] = {
        constant(":status", "200"),
        constant("content-type", "application/grpc"),
        constant("grpc-accept-encoding", "identity, deflate, gzip"),
    };
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_data};
    stream->is_responding = true;
    if (nghttp2_submit_response(stream->connection->session, stream->id, headers, 3, &provider) != 0)
        nghttp2_submit_rst_stream(stream->connection->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
}

void smx_stream_answer(struct smx_exchange *exchange, struct smx_answer *answer)
{
    struct smx_stream *stream = answer->call->stream;
    if (!stream || stream->is_over) {
        smx_stream_release(exchange, answer);
        return;
    }
    bool cuts = answer->kind == SMX_ANSWER_CUT || (answer->kind == SMX_ANSWER_EXPIRE && stream->first);
    if (cuts) {
        drop_all(stream);
        send_status(stream, answer->status, smx_buffer_span(&answer->text), smx_buffer_span(&answer->story));
        smx_stream_release(exchange, answer);
        return;
    }
    if (answer->kind == SMX_ANSWER_EXPIRE)
        answer->kind = SMX_ANSWER_LAST;
    *stream->end = answer;
    stream->end = &answer->next;
    stream->left += answer->left;
    if (!stream->is_responding)
        send_headers(stream);
    else if (stream->is_deferred)
        nghttp2_session_resume_data(stream->connection->session, stream->id);
    stream->is_deferred = false;
    smx_transport_touch(stream->connection->transport, stream->connection);
}

void smx_stream_cancel(struct smx_stream *stream)
{
    struct smx_exchange *exchange = stream->connection->transport->exchange;
    if (stream->is_over)
        return;
    if (stream->call)
        smx_exchange_end(exchange, stream->call, SMX_END_GONE);
    drop_all(stream);
    smx_stream_refuse(stream, UNAVAILABLE, "the worker is stopping");
}

void smx_stream_close(struct smx_stream *stream)
{
    struct smx_connection *connection = stream->connection;
    struct smx_transport *transport = connection->transport;
    drop_all(stream);
    if (stream->call) {
        smx_timer_stop(&transport->timers, &stream->call->deadline);
        stream->call->stream = NULL;
        smx_exchange_leave(transport->exchange, stream->call);
        smx_call_release(stream->call);
    }
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        connection->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    smx_buffer_fini(&stream->metadata.entries);
    smx_buffer_fini(&stream->message);
    free(stream);
}

static int begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct smx_connection *connection = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct smx_stream *stream = smx_alloc(sizeof(*stream));
    stream->connection = connection;
    stream->id = frame->hd.stream_id;
    stream->timeout_us = INT64_MAX;
    stream->end = &stream->first;
    stream->next = connection->streams;
    if (stream->next)
        stream->next->previous = stream;
    connection->streams = stream;
    nghttp2_session_set_stream_user_data(session, stream->id, stream);
    return 0;
}

static enum smx_stream_method method_of(struct smx_span path)
{
    size_t len = sizeof(path_prefix) - 1;
    if (path.len > len && memcmp(path.data, path_prefix, len) == 0)
        for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
            if (smx_span_is((struct smx_span){path.data + len, path.len - len}, methods[i].name))
                return methods[i].method;
    return SMX_STREAM_UNKNOWN;
}

static int take_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                       const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct smx_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct smx_span key = {name, name_len}, text = {value, value_len};
    (void)flags;
    (void)user;
    if (!stream || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (smx_span_is(key, ":path"))
        stream->method = method_of(text);
    else if (smx_span_is(key, "grpc-timeout"))
        stream->has_bad_metadata |= !smx_timeout_parse(text, &stream->timeout_us);
    else if (smx_span_is(key, "grpc-encoding"))
        stream->is_gzip = smx_span_is(text, "gzip") || smx_span_is(text, "deflate");
    else if (!smx_header_is_reserved(key))
        stream->has_bad_metadata |= !smx_metadata_add(&stream->metadata, key, text);
    return 0;
}

static int take_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct smx_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;
    (void)user;
    if (stream && !stream->is_over)
        smx_request_take(stream, (struct smx_span){data, len});
    return 0;
}

static int take_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct smx_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)user;
    if (!stream || stream->is_over || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        smx_request_check(stream);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM && !stream->is_over)
        smx_request_finish(stream);
    return 0;
}

/* An answer that did not wait for the whole request: the peer need not send the rest. */
static int frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int close_stream(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct smx_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)error;
    (void)user;
    if (stream)
        smx_stream_close(stream);
    return 0;
}

void smx_stream_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, take_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, take_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, take_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, close_stream);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
}
