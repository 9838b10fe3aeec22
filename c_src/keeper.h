/*
 * The worker's process behind a legacy front: started through a guardian, of this front alone or shared by all fronts
 * that give the same name.
 *
 * The guardian's stdin is a pipe whose other end only the fronts hold. So the worker ends when the last of them does,
 * however it does; and when the worker has ended, nobody reads that pipe any more, which is how the fronts know.
 *
 *     front ─┐
 *     front ─┼─► pipe ─► guardian ─► worker            of a shared one: DIR/life, a FIFO
 *     front ─┘
 *
 * Whoever finds that nobody reads the FIFO starts the guardian, under a lock: two that start at once start one.
 */
#ifndef SMX_KEEPER_H
#define SMX_KEEPER_H

#include "protocol.h"

/* Zero but for the first block before use. */
struct smx_keeper {
    const char *share; /* the name; NULL: a worker of our own */
    char **command;    /* {address}, {port} and {max_message} are filled in */
    size_t max_message;

    struct smx_buffer directory; /* private, mode 0700; all its paths end with a NUL */
    struct smx_buffer address;   /* what fills {address}: unix:/path or 127.0.0.1:port */
    int hold;                    /* the writing end of the pipe; meaningful while `held` */
    bool held;
};

/*
 * Starts the worker, or joins the one that is shared already. May wait for another front that does the same. False
 * with `why` set when that can't be done now; to be tried again.
 */
bool smx_keeper_start(struct smx_keeper *keeper, struct smx_error *why);
/* The target to connect to; known once smx_keeper_start has been called. Appended. */
void smx_keeper_target(const struct smx_keeper *keeper, struct smx_buffer *out);
/* Lets go: of what is over, or at the end. */
void smx_keeper_drop(struct smx_keeper *keeper);
void smx_keeper_fini(struct smx_keeper *keeper);

#endif
