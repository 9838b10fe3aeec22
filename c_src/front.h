/* One way of speaking to the owner on stdio: what the loop calls, and what it is given to work with. */
#ifndef SMX_FRONT_H
#define SMX_FRONT_H

#include "frame.h"
#include "protocol.h"
#include "timer.h"

struct smx_waker;

/* Borrowed, for the life of the loop. */
struct smx_stage {
    struct smx_handler handler;
    struct smx_buffer *out; /* frames, ready to be written */
    struct smx_timers *timers;
    struct smx_waker *waker;
};

struct smx_front {
    void *self;
    size_t tail_size; /* of frames that are too large: smx_frame_reader */
    void (*start)(void *self, const struct smx_stage *stage);
    /* `len`: of the whole frame, with what is not shown of it. */
    void (*frame)(void *self, struct smx_span frame, enum smx_frame_kind kind, size_t len, size_t max_frame);
    bool (*emit)(void *self, const struct smx_event *event, struct smx_error *why); /* a smx_sink's */
    void (*flush)(void *self); /* before `out` is written, once a turn */
    bool (*more)(
        void *self); /* appends a little of what waits for its turn; false when nothing does. NULL: none does */
    size_t (*held)(void *self);   /* bytes of that */
    bool (*is_mixed)(void *self); /* others come beside it, and shall not wait behind much of it; NULL with `more` */
    void (*hangup)(void *self);   /* the descriptor given to smx_waker_watch_end; NULL for a front that gives none */
    void (*stop)(void *self);     /* the owner has gone; NULL */
};

#endif
