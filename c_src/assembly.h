/* Commands too large for one frame, until all their parts have come. */
#ifndef SMX_ASSEMBLY_H
#define SMX_ASSEMBLY_H

#include "protocol.h"
#include "table.h"

/* All zero is empty. */
struct smx_assembly {
    struct smx_table open; /* a tag -> its parts so far */
    size_t held;           /* bytes of them, and SMX_PARTS_TAG for each tag */
};

void smx_assembly_fini(struct smx_assembly *assembly);
/* Whether parts of this tag have come, none of them was refused, and the last one is still to come. */
bool smx_assembly_has(const struct smx_assembly *assembly, struct smx_span tag);
/*
 * Adds a part, to the first one of its tag or as that. False when it is too much, and why; without an error when a part
 * of the tag was refused before. In both cases the caller refuses it.
 */
bool smx_assembly_add(struct smx_assembly *assembly, struct smx_span tag, struct smx_span bytes, size_t max_frame,
                      struct smx_error *why);
/* Forgets what has come of a tag, and whatever comes until its last part. True unless it did so before. */
bool smx_assembly_refuse(struct smx_assembly *assembly, struct smx_span tag, size_t max_frame);
/* The last part has come: gives away all of them. False when one was refused; then the tag is forgotten. */
bool smx_assembly_take(struct smx_assembly *assembly, struct smx_span tag, struct smx_buffer *whole);
/* Forgets a tag: the rest is not to come. True when smx_assembly_has. */
bool smx_assembly_drop(struct smx_assembly *assembly, struct smx_span tag);

#endif
