/* One stream of a connection: gRPC over HTTP/2, from the headers of a request to the status of its answer. */
#ifndef SMX_STREAM_H
#define SMX_STREAM_H

#include "connection.h"

enum smx_stream_method {
    SMX_STREAM_UNKNOWN,
    SMX_STREAM_EXECUTE,
    SMX_STREAM_EXECUTE_STREAM,
    SMX_STREAM_IN_SESSION,
    SMX_STREAM_IN_SESSION_STREAM,
    SMX_STREAM_HEALTH,
    SMX_STREAM_INFO,
};

struct smx_stream {
    struct smx_connection *connection;
    struct smx_stream *next;
    struct smx_stream *previous;
    int32_t id;

    enum smx_stream_method method;
    bool is_gzip;
    bool has_bad_metadata;
    int64_t timeout_us; /* INT64_MAX: none */
    struct smx_metadata metadata;

    uint8_t prefix[5];
    size_t prefix_len;
    size_t message_len;
    struct smx_buffer message;
    bool is_complete; /* the one message has come */

    struct smx_call *call;

    struct smx_answer *first; /* to be sent */
    struct smx_answer **end;
    size_t left;        /* bytes of them */
    bool is_responding; /* headers are sent */
    bool is_over;       /* the status is on its way: nothing else goes out */
    bool is_deferred;   /* nghttp2 waits for smx_stream_answer */
};

void smx_stream_set_callbacks(nghttp2_session_callbacks *callbacks);
/* Takes an answer of Python's; that of a call whose stream has closed is dropped. */
void smx_stream_answer(struct smx_exchange *exchange, struct smx_answer *answer);
/* Ends a call that has outlasted the patience of a worker that is stopping. */
void smx_stream_cancel(struct smx_stream *stream);
/* The stream has ended, or its connection. Frees it. */
void smx_stream_close(struct smx_stream *stream);
/* One reference to an answer less. */
void smx_stream_release(struct smx_exchange *exchange, struct smx_answer *answer);

#endif
