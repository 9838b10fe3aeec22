/*
 * The legacy protocol on stdio: JSON or MessagePack in frames, a request with an id, one answer with the same id. The
 * commands go to any worker of the bridge. Values cross as the bytes they are.
 */
#ifndef SMX_FRONT_LEGACY_H
#define SMX_FRONT_LEGACY_H

#include "front.h"

enum {
    SMX_LEGACY_PING_MS = 2000, /* for the worker's own answer to a ping */
    SMX_LEGACY_TAIL = 256,     /* of a frame that is too large: its id stands near the end */
};

struct smx_legacy_call;

/* Zero but for timeout_ms, init_ms and json_only before start. */
struct smx_front_legacy {
    int64_t timeout_ms; /* of a call: just below the owner's patience */
    int64_t init_ms;    /* after which the first ping is answered, ready or not */
    bool json_only;     /* never selects MessagePack */
    struct smx_stage stage;
    struct smx_legacy_call *calls; /* those without an answer */
    uint64_t serial;
    uint64_t handled;
    int64_t started_ms;
    const char *worker_state;
    bool waiting;              /* an initialization ping waits for the worker */
    enum smx_codec tail_codec; /* of the frame whose tail comes next */
};

void smx_front_legacy_start(struct smx_front_legacy *front, const struct smx_stage *stage);
void smx_front_legacy_frame(struct smx_front_legacy *front, struct smx_span frame, enum smx_frame_kind kind, size_t len,
                            size_t max_frame);
/* A smx_sink's emit; `front` is a struct smx_front_legacy. */
bool smx_front_legacy_emit(void *front, const struct smx_event *event, struct smx_error *why);
/* Once a turn: lets the initialization pings go on when the worker is ready. */
void smx_front_legacy_flush(struct smx_front_legacy *front);
/* The owner has gone: forgets the pings that wait. The bridge ends the calls. */
void smx_front_legacy_stop(struct smx_front_legacy *front);

#endif
