/* Terms on stdio: frames of the owner -> commands for the bridge; events of the bridge -> frames. */
#ifndef SMX_FRONT_EI_H
#define SMX_FRONT_EI_H

#include "assembly.h"
#include "front.h"
#include "parts.h"

struct smx_front_ei {
    struct smx_handler handler;
    struct smx_buffer *out;       /* frames, ready to be written; borrowed from the loop */
    bool batch;                   /* of {options, Tag, Map}: several events in one frame */
    bool meta;                    /* and whether the ok of a call has its Meta */
    bool pins;                    /* a session that gets a pin is told of */
    size_t fragment;              /* an event that carries more bytes goes in parts; 0: whole */
    struct smx_parts parts;       /* of events */
    struct smx_assembly assembly; /* of commands */
    size_t max_frame;             /* of the frame in hand */
    size_t batch_place;           /* of the open frame in out; meaningful while batch_count > 0 */
    size_t batch_count;
};

void smx_front_ei_init(struct smx_front_ei *front, struct smx_handler handler, struct smx_buffer *out);
void smx_front_ei_fini(struct smx_front_ei *front);
/*
 * One frame of `len` bytes (of one over `max_frame` its head): every command in it goes to the handler, every fault is
 * answered.
 */
void smx_front_ei_frame(struct smx_front_ei *front, struct smx_span frame, size_t len, size_t max_frame);
/* A smx_sink's emit; `front` is a struct smx_front_ei. */
bool smx_front_ei_emit(void *front, const struct smx_event *event, struct smx_error *why);
/* Appends a part of what waits to be written in parts: for when nothing else does. False when nothing waits. */
bool smx_front_ei_more(struct smx_front_ei *front);
/* Seals the open batch: call before out is written. */
void smx_front_ei_flush(struct smx_front_ei *front);
/* What the loop calls. Borrows `front`, which need not be initialised. */
struct smx_front smx_front_ei(struct smx_front_ei *front);

#endif
