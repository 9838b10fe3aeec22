/* What gRPC puts into HTTP/2 headers: names that are its own, the timeout, base64, percent encoding. */
#ifndef SMX_HEADERS_H
#define SMX_HEADERS_H

#include "util.h"

enum { SMX_MAX_METADATA = 64 * 1024 };

/* Metadata of a request, in one piece of memory: key and value, each behind its length. All zero is none. */
struct smx_metadata {
    struct smx_buffer entries;
};

/* False when they would exceed SMX_MAX_METADATA, or the value of a key that ends in -bin is not base64. */
bool smx_metadata_add(struct smx_metadata *metadata, struct smx_span key, struct smx_span value);
/* Visits all; `*at` starts at 0. */
bool smx_metadata_next(const struct smx_metadata *metadata, size_t *at, struct smx_span *key, struct smx_span *value);
/* The last value of a key; false when there is none. */
bool smx_metadata_find(const struct smx_metadata *metadata, const char *key, struct smx_span *value);

/* A header that is HTTP's or gRPC's own, not the caller's. */
bool smx_header_is_reserved(struct smx_span name);
bool smx_header_is_binary(struct smx_span name);
/* "20S" -> microseconds; false for what is not a grpc-timeout. */
bool smx_timeout_parse(struct smx_span text, int64_t *us);
/* As grpc-message says it: bytes beside printable ASCII as %XX. */
void smx_percent_encode(struct smx_buffer *out, struct smx_span text);
/* Without padding, as gRPC sends it. */
void smx_base64_encode(struct smx_buffer *out, struct smx_span bytes);
/* With or without padding. False for anything else. */
bool smx_base64_decode(struct smx_buffer *out, struct smx_span text);

#endif
