/* Owns the socket and the session; knows HTTP/2 as far as nghttp2 doesn't, not gRPC. */
#include "connection.h"

#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    MAX_STREAMS = 10000,
    MAX_WINDOW = 16 * 1024 * 1024,
    MAX_FRAME = 1024 * 1024,
    OUTPUT_LIMIT = 256 * 1024, /* no more frames are made while so much waits */
    COPIED_BYTES = 8 * 1024,   /* less is copied rather than kept */
    VECTORS = 64,
};

void smx_connection_write(struct smx_connection *connection, const uint8_t *data, size_t len, struct smx_answer *answer)
{
    struct smx_segment *last =
        connection->segment_count > connection->segment ? &connection->segments[connection->segment_count - 1] : NULL;
    bool is_own = !answer || len < COPIED_BYTES;
    connection->pending += len;
    if (is_own && last && !last->answer) {
        last->len += len;
        smx_buffer_append(&connection->own, data, len);
        return;
    }
    if (connection->segment_count == connection->segment_cap) {
        connection->segment_cap = connection->segment_cap ? 2 * connection->segment_cap : 16;
        connection->segments =
            smx_realloc(connection->segments, connection->segment_cap * sizeof(*connection->segments));
    }
    struct smx_segment segment = {.len = len};
    if (is_own) {
        segment.offset = connection->own.len;
        smx_buffer_append(&connection->own, data, len);
    } else {
        segment.answer = answer;
        segment.data = data;
        answer->references++;
    }
    connection->segments[connection->segment_count++] = segment;
}

static void release_segments(struct smx_connection *connection, size_t end)
{
    for (; connection->segment < end; connection->segment++) {
        struct smx_segment *segment = &connection->segments[connection->segment];
        connection->pending -= segment->len;
        if (segment->answer)
            smx_stream_release(connection->transport->exchange, segment->answer);
    }
    if (connection->segment < connection->segment_count)
        return;
    connection->segment = connection->segment_count = connection->own.len = 0;
}

/* The peer can't be talked to any more. What names this connection may be on the stack: it is freed later. */
static void lose(struct smx_connection *connection)
{
    if (connection->is_closed)
        return;
    connection->is_closed = true;
    close(connection->fd);
    connection->fd = -1;
    while (connection->streams)
        smx_stream_close(connection->streams);
    release_segments(connection, connection->segment_count);
}

static void watch(struct smx_connection *connection, bool wants_write)
{
    if (connection->wants_write == wants_write)
        return;
    connection->wants_write = wants_write;
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(connection->transport->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static void advance(struct smx_connection *connection, size_t written)
{
    while (written > 0) {
        struct smx_segment *segment = &connection->segments[connection->segment];
        if (written < segment->len) {
            segment->len -= written;
            segment->data += segment->answer ? written : 0;
            segment->offset += segment->answer ? 0 : written;
            connection->pending -= written;
            return;
        }
        written -= segment->len;
        release_segments(connection, connection->segment + 1);
    }
}

/* False when the socket takes no more, or is lost. */
static bool write_out(struct smx_connection *connection)
{
    while (connection->pending > 0) {
        struct iovec vectors[VECTORS];
        size_t count = 0;
        for (size_t i = connection->segment; i < connection->segment_count && count < VECTORS; i++, count++) {
            struct smx_segment *segment = &connection->segments[i];
            const uint8_t *data = segment->answer ? segment->data : connection->own.data + segment->offset;
            vectors[count] = (struct iovec){(void *)data, segment->len};
        }
        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
        ssize_t written = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written > 0) {
            advance(connection, (size_t)written);
            continue;
        }
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && errno != EAGAIN)
            lose(connection);
        return false;
    }
    return true;
}

void smx_connection_send(struct smx_connection *connection)
{
    for (;;) {
        if (connection->is_closed)
            return;
        if (nghttp2_session_send(connection->session) != 0)
            lose(connection);
        else if (connection->pending > 0 && write_out(connection))
            continue;
        break;
    }
    if (connection->is_closed)
        return;
    watch(connection, connection->pending > 0);
    bool is_over = !nghttp2_session_want_read(connection->session) && !nghttp2_session_want_write(connection->session);
    if (connection->pending == 0 && (is_over || (connection->transport->is_draining && !connection->streams)))
        lose(connection);
}

bool smx_connection_has_output(const struct smx_connection *connection)
{
    return !connection->is_closed && connection->pending > 0;
}

void smx_connection_ready(struct smx_connection *connection, uint32_t events)
{
    if (connection->is_closed)
        return;
    smx_transport_touch(connection->transport, connection);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    /* One turn each, so that a fast sender does not keep the others waiting. */
    ssize_t len = recv(connection->fd, connection->transport->input, SMX_INPUT_BYTES, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0 || nghttp2_session_mem_recv(connection->session, connection->transport->input, (size_t)len) < 0) {
        if (len > 0) {
            nghttp2_session_send(connection->session); /* it says why, with GOAWAY */
            write_out(connection);
        }
        lose(connection);
    }
}

static ssize_t take_bytes(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *user)
{
    struct smx_connection *connection = user;
    (void)session;
    (void)flags;
    if (connection->pending >= OUTPUT_LIMIT)
        return NGHTTP2_ERR_WOULDBLOCK;
    smx_connection_write(connection, data, len, NULL);
    return (ssize_t)len;
}

static ssize_t frame_len(nghttp2_session *session, uint8_t type, int32_t id, int32_t session_window,
                         int32_t stream_window, uint32_t max_frame, void *user)
{
    (void)session;
    (void)type;
    (void)id;
    (void)user;
    ssize_t len = MAX_FRAME;
    len = session_window < len ? session_window : len;
    len = stream_window < len ? stream_window : len;
    return max_frame < len ? (ssize_t)max_frame : len;
}

static nghttp2_session *session_new(struct smx_connection *connection)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        smx_abort("out of memory");
    nghttp2_session_callbacks_set_send_callback(callbacks, take_bytes);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_len);
    smx_stream_set_callbacks(callbacks);
    if (nghttp2_session_server_new(&session, callbacks, connection) != 0)
        smx_abort("out of memory");
    nghttp2_session_callbacks_del(callbacks);
    size_t max_message = connection->transport->max_message;
    uint32_t window = max_message > MAX_WINDOW / 2 ? MAX_WINDOW
                      : max_message < 65535        ? 65535
                                                   : 2 * (uint32_t)max_message;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, MAX_FRAME},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, SMX_MAX_METADATA},
    };
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0])) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, (int32_t)MAX_WINDOW) != 0)
        smx_abort("out of memory");
    return session;
}

void smx_connection_open(struct smx_transport *transport, int fd)
{
    struct smx_connection *connection = smx_alloc(sizeof(*connection));
    connection->transport = transport;
    connection->fd = fd;
    connection->session = session_new(connection);
    connection->next = transport->connections;
    if (connection->next)
        connection->next->previous = connection;
    transport->connections = connection;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        lose(connection);
    smx_transport_touch(transport, connection);
}

void smx_connection_drain(struct smx_connection *connection)
{
    if (connection->is_closed)
        return;
    nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(connection->session), NGHTTP2_NO_ERROR, NULL, 0);
    smx_transport_touch(connection->transport, connection);
}

void smx_connection_cancel(struct smx_connection *connection)
{
    for (struct smx_stream *at = connection->streams, *next; at; at = next) {
        next = at->next;
        smx_stream_cancel(at);
    }
    smx_transport_touch(connection->transport, connection);
}

void smx_connection_free(struct smx_connection *connection)
{
    lose(connection);
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        connection->transport->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    nghttp2_session_del(connection->session);
    smx_buffer_fini(&connection->own);
    free(connection->segments);
    free(connection);
}

void smx_connection_reap(struct smx_transport *transport)
{
    for (struct smx_connection *at = transport->connections, *next; at; at = next) {
        next = at->next;
        if (at->is_closed && !at->is_dirty)
            smx_connection_free(at);
    }
}

void smx_connection_abandon(struct smx_connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
}
