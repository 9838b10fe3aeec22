/* Wakes the loop when stdio can be used or a signal says stop: in gRPC's own wait, or from the only other thread. */
#ifndef SMX_WAKER_H
#define SMX_WAKER_H

#include <signal.h>
#include <stdbool.h>

#include "completion.h"

struct grpc_completion_queue;
struct smx_waker;

/* What happened since the last smx_waker_take; bits. */
enum {
    SMX_WAKE_READABLE = 1,
    SMX_WAKE_WRITABLE = 2,
    SMX_WAKE_STOP = 4, /* SIGTERM or SIGINT */
    SMX_WAKE_HANGUP = 16,
};

/*
 * Blocks SIGTERM and SIGINT, the signals that say stop. Call it before grpc_init: its threads would take them else,
 * and end the process.
 */
sigset_t smx_waker_block_signals(void);
/* Starts the thread; `completion` comes out of the queue when something happened. */
struct smx_waker *smx_waker_new(struct grpc_completion_queue *queue, int in, int out,
                                struct smx_completion *completion);
/* Ends the thread. The queue may still hold one completion. */
void smx_waker_free(struct smx_waker *waker);
int smx_waker_take(struct smx_waker *waker);
/* Asks, once, to be woken when stdin can be read, when stdout can be written. */
void smx_waker_want_read(struct smx_waker *waker);
void smx_waker_want_write(struct smx_waker *waker);

/* Says, once, when nobody reads from the other end of this pipe any more. Closing it ends the watch. */
void smx_waker_watch_end(struct smx_waker *waker, int pipe);

#endif
