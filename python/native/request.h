/* What comes in on a stream: the one message of a request, until it is a call, or answered. */
#ifndef SMX_REQUEST_H
#define SMX_REQUEST_H

#include "stream.h"

/* The headers are complete. */
void smx_request_check(struct smx_stream *stream);
/* Bytes of the body. */
void smx_request_take(struct smx_stream *stream, struct smx_span data);
/* The request is complete. */
void smx_request_finish(struct smx_stream *stream);

/* Ends the call with a status; `text` is printable ASCII. */
void smx_stream_refuse(struct smx_stream *stream, int status, const char *text);

#endif
