/* What comes from workers, looked at before gRPC parses it: a header block that does not end ends the connection. */
#ifndef SMX_INLET_H
#define SMX_INLET_H

#include "util.h"

enum {
    SMX_INLET_HEAD = 9,
    SMX_INLET_MAX_BLOCK = 512 * 1024, /* eight times what gRPC tells its peers to keep to */
    SMX_INLET_FRAME_COST = 1024, /* each frame counts as so much more, for an unfinished header is copied with each */
};

/* One connection, all zero at its start. */
struct smx_inlet {
    uint8_t head[SMX_INLET_HEAD];
    uint8_t head_len;
    bool opaque;    /* TLS */
    bool over;      /* it sent what it must not */
    uint32_t left;  /* bytes of the frame that are still to come */
    uint32_t block; /* what the present header block has cost so far */
};

/* False: the header block is too long. */
bool smx_inlet_take(struct smx_inlet *inlet, const uint8_t *data, size_t len);

#endif
