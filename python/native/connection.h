/* One HTTP/2 connection: a socket, an nghttp2 session, and what waits to be written. */
#ifndef SMX_CONNECTION_H
#define SMX_CONNECTION_H

#include "transport.h"

#include <nghttp2/nghttp2.h>

enum { SMX_INPUT_BYTES = 256 * 1024 };

/* Bytes to be written: own ones, from `offset` of the buffer, or those of an answer. */
struct smx_segment {
    struct smx_answer *answer;
    const uint8_t *data;
    size_t offset;
    size_t len;
};

struct smx_connection {
    struct smx_transport *transport;
    struct smx_connection *next;
    struct smx_connection *previous;
    struct smx_connection *next_dirty;
    bool is_dirty;
    bool is_closed; /* waits to be freed */
    bool wants_write;
    int fd;
    nghttp2_session *session;
    struct smx_stream *streams;

    struct smx_buffer own;
    struct smx_segment *segments;
    size_t segment_count;
    size_t segment_cap;
    size_t segment; /* the next to be written */
    size_t pending; /* bytes */
};

/* Takes the descriptor. */
void smx_connection_open(struct smx_transport *transport, int fd);
/* epoll says so. */
void smx_connection_ready(struct smx_connection *connection, uint32_t events);
/* Writes all that it can. */
void smx_connection_send(struct smx_connection *connection);
bool smx_connection_has_output(const struct smx_connection *connection);
void smx_connection_drain(struct smx_connection *connection);
void smx_connection_cancel(struct smx_connection *connection);
void smx_connection_free(struct smx_connection *connection);
/* Frees those that have closed. */
void smx_connection_reap(struct smx_transport *transport);
void smx_connection_abandon(struct smx_connection *connection);

/* For streams: bytes behind those that wait. Small ones are copied, of large ones the answer is kept. */
void smx_connection_write(struct smx_connection *connection, const uint8_t *data, size_t len,
                          struct smx_answer *answer);

#endif
