/* Frames over two non-blocking file descriptors: what the loop and `wrap` have in common. */
#ifndef SMX_DUPLEX_H
#define SMX_DUPLEX_H

#include "frame.h"

struct smx_waker;

struct smx_duplex {
    int in;
    int out;
    struct smx_waker *waker; /* the one that waits for both; set before the first read or write */
    struct smx_frame_reader reader;
    struct smx_buffer output;
    size_t written; /* bytes of output that are out already */
    bool unwatched; /* the waker has told that there is something to be read, which it does once */
    uint64_t taken; /* bytes read so far */
    bool blocked;   /* the waker tells when it can be written again */
    bool deaf;      /* nobody reads any more: what is to be written is thrown away */
    bool narrow;    /* the pipe of `out` */
};

/* Borrows both descriptors; they become non-blocking. */
void smx_duplex_init(struct smx_duplex *duplex, int in, int out, size_t max_frame);
void smx_duplex_fini(struct smx_duplex *duplex);
/* Reads what is there, if anything, a few MiB at most, and hands out its frames. False at the end of the input. */
bool smx_duplex_read(struct smx_duplex *duplex,
                     void (*take)(void *owner, struct smx_span frame, enum smx_frame_kind kind), void *owner);
/* Writes as much of `output` as goes. False, once, when nobody reads any more. */
bool smx_duplex_write(struct smx_duplex *duplex);
/* Lets the pipe of `out`, if it is one, hold little, so that what is written next is not far behind; or much again. */
void smx_duplex_narrow(struct smx_duplex *duplex, bool narrow);
/* Bytes that wait. */
size_t smx_duplex_waiting(const struct smx_duplex *duplex);

#endif
