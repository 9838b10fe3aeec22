/* smx_event -> an encoded term. */
#ifndef SMX_EVENT_H
#define SMX_EVENT_H

#include "protocol.h"

struct smx_lent;

/*
 * Appends the event's term, without the version byte. As smx_sink.emit: false leaves `out` unchanged. `lent`: as
 * smx_codec_decode_pairs.
 */
bool smx_event_write(const struct smx_event *event, bool meta, struct smx_buffer *out, struct smx_lent *lent,
                     struct smx_error *why);

#endif
