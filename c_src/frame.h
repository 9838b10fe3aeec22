/* {packet,4}: cuts frames out of a stream of bytes, and seals frames into one. No file descriptors. */
#ifndef SMX_FRAME_H
#define SMX_FRAME_H

#include "util.h"

enum smx_frame_kind {
    SMX_FRAME_NONE, /* feed more */
    SMX_FRAME_WHOLE,
    SMX_FRAME_HEAD, /* of a frame over max_frame: its first bytes, at least 4 KiB of them; the rest is discarded */
    SMX_FRAME_TAIL, /* and its last `tail_size` bytes, where a front wants to see them */
};

struct smx_frame_reader {
    struct smx_buffer buffer;
    size_t at;   /* the first byte not yet cut */
    size_t len;  /* of the frame that was cut last, with what is not shown of it */
    size_t skip; /* bytes of an oversized frame still to discard */
    size_t max_frame;
    size_t tail_size; /* 0: of an oversized frame only the head is shown */
    size_t tail;      /* bytes of the tail that follow once `skip` are gone */
};

void smx_frame_reader_init(struct smx_frame_reader *reader, size_t max_frame);
void smx_frame_reader_fini(struct smx_frame_reader *reader);
/* Room to read bytes into, `*len` of them (64 KiB or more, up to the rest of a large frame). Ends the life of cut
 * frames. */
uint8_t *smx_frame_reader_space(struct smx_frame_reader *reader, size_t *len);
void smx_frame_reader_fed(struct smx_frame_reader *reader, size_t len);
/* The next frame without its length; borrowed until smx_frame_reader_space. */
enum smx_frame_kind smx_frame_reader_next(struct smx_frame_reader *reader, struct smx_span *frame);

/* Starts a frame in `out`; returns its place, for smx_frame_seal once its payload has been appended. */
size_t smx_frame_open(struct smx_buffer *out);
void smx_frame_seal(struct smx_buffer *out, size_t place);

#endif
