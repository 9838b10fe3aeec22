/*
 * Every descendant of this process, also those that called setsid or whose parents have ended: the process must be
 * a child subreaper (PR_SET_CHILD_SUBREAPER), so that orphans become its own children, and SIGCHLD must be blocked.
 */
#ifndef SMX_DESCENDANTS_H
#define SMX_DESCENDANTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* All zero but `first`: the one child whose end matters. */
struct smx_descendants {
    pid_t first;
    bool ended; /* `first` has been reaped */
    int status; /* and this is its wait status */
};

/* Reaps what has ended. False when no child is left, which means no descendant is. */
bool smx_descendants_reap(struct smx_descendants *descendants);

/* Sends the signal to each descendant once, also to those that were born while it looked for them. */
void smx_descendants_signal(const struct smx_descendants *descendants, int signal);

/* SIGKILL for all, and reaps them, for at most `ms`. Returns how many children refused to go. */
int smx_descendants_kill(struct smx_descendants *descendants, int64_t ms);

#endif
