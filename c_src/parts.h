/* Events too large for one frame, until they have gone out in parts: one part of each tag in turn. */
#ifndef SMX_PARTS_H
#define SMX_PARTS_H

#include "build.h"

struct smx_lane;

/* An event with its version byte, perhaps with bytes that are elsewhere. */
struct smx_whole {
    struct smx_buffer term;
    struct smx_lent lent;
    void *memory; /* where those are: freed with it */
};

/* All zero is empty. */
struct smx_parts {
    struct smx_lane *lanes; /* the one whose turn it is first */
    size_t held;            /* bytes that have not gone out */
    size_t small;           /* so many of the next parts are small: other events come beside them */
};

void smx_parts_fini(struct smx_parts *parts);
/* Whether events of this tag wait: what comes after them waits behind them. */
bool smx_parts_has(const struct smx_parts *parts, struct smx_span tag);
/* Takes `whole`. */
void smx_parts_add(struct smx_parts *parts, struct smx_span tag, struct smx_whole whole);
/* Forgets what waits under a tag. The owner forgets its half by the tag's next event. */
void smx_parts_drop(struct smx_parts *parts, struct smx_span tag);
/* Another event goes out by itself: it shall not wait behind much of these, nor those that follow it soon. */
void smx_parts_mix(struct smx_parts *parts);
/* Appends a frame of the next event, or of a part of it with at most `size` bytes. False when nothing waits. */
bool smx_parts_next(struct smx_parts *parts, size_t size, struct smx_buffer *out);

#endif
