/* What the legacy protocol says, both ways: written into frames. Of answers the codec is that of their request. */
#ifndef SMX_LEGACY_FRAME_H
#define SMX_LEGACY_FRAME_H

#include "protocol.h"

struct smx_legacy_frame_head {
    enum smx_codec codec; /* JSON or MSGPACK */
    struct smx_span id;   /* as it came; empty: null */
};

/* Each appends one frame. `values` are by the same codec, ready to be spliced. */
void smx_legacy_frame_result(struct smx_buffer *out, const struct smx_legacy_frame_head *head, struct smx_pairs values);
void smx_legacy_frame_failure(struct smx_buffer *out, const struct smx_legacy_frame_head *head, struct smx_span text);
/* {"type":"protocol_selected", …}: JSON, whatever it selects. */
void smx_legacy_frame_selected(struct smx_buffer *out, const char *protocol);
/* A command that there is not, as the workers said it. `commands`: the list of those there are, by the same codec. */
void smx_legacy_frame_unknown(struct smx_buffer *out, const struct smx_legacy_frame_head *head, struct smx_span name,
                              struct smx_span commands);

/* What is known where the worker itself can't be asked. */
struct smx_legacy_frame_pong {
    double uptime;
    uint64_t handled;
    const char *worker_state;
    struct smx_span worker_id; /* by the codec, as it came; empty: unknown */
    struct smx_span echo;      /* likewise: the arguments of the ping */
};
void smx_legacy_frame_pong(struct smx_buffer *out, const struct smx_legacy_frame_head *head,
                           const struct smx_legacy_frame_pong *pong);

/* A request to a legacy worker, and the frame that opens the negotiation. `args` is a value by the codec. */
void smx_legacy_frame_request(struct smx_buffer *out, enum smx_codec codec, uint64_t id, struct smx_span command,
                              struct smx_pairs args);
void smx_legacy_frame_negotiation(struct smx_buffer *out);

#endif
