/* Points in time at which something is due: a heap of them, ordered by time. */
#ifndef SMX_TIMER_H
#define SMX_TIMER_H

#include "util.h"

/* Embedded in its owner. All zero but `fire` and `owner` is a timer that is not set. */
struct smx_timer {
    void (*fire)(void *owner);
    void *owner;
    int64_t at_ms;
    size_t place; /* in the heap, from 1; 0: not set */
};

struct smx_timers {
    struct smx_timer **heap;
    size_t count;
    size_t cap;
};

void smx_timers_fini(struct smx_timers *timers);
/* Sets it, or moves it when it is set already. `at_ms` is a time of smx_now_ms. */
void smx_timer_set(struct smx_timers *timers, struct smx_timer *timer, int64_t at_ms);
void smx_timer_stop(struct smx_timers *timers, struct smx_timer *timer);
/* Fires all that are due. */
void smx_timers_run(struct smx_timers *timers, int64_t now_ms);
/* When the next one is due, or -1. */
int64_t smx_timers_next(const struct smx_timers *timers);

#endif
