/* The inner guardian: the parent of CMD. See guardian.h for the picture. */
#ifndef SMX_GUARDIAN_INNER_H
#define SMX_GUARDIAN_INNER_H

#include <stdint.h>

enum {
    SMX_ORPHAN_GRACE_MS = 1000, /* from SIGTERM to SIGKILL when the owner has gone */
    SMX_SIGNAL_GRACE_MS = 5000, /* the same after a SIGTERM to the guardian */
    SMX_KILL_LIMIT_MS = 3000,   /* for processes that SIGKILL doesn't end at once */
    SMX_EXIT_FAILED = 125,
    SMX_EXIT_NOT_EXECUTABLE = 126,
    SMX_EXIT_NOT_FOUND = 127,
    SMX_EXIT_BY_SIGNAL = 128,
};

/* Blocks the signals that both guardians read from the signalfd that this returns, or -1. */
int smx_guardian_signals(void);

/* What a wait status becomes as an exit code. */
int smx_guardian_exit_code(int status);

/* Milliseconds for poll until a time of smx_now_ms; -1 for INT64_MAX. */
int smx_guardian_timeout(int64_t deadline);

/*
 * Runs CMD with `outputs` as its stdout and stderr and ends with its exit code. `control` brings the grace of a stop,
 * in milliseconds as int64_t; its end means that outer is dead. Takes the file descriptors.
 */
_Noreturn void smx_guardian_inner_main(char **command, int control, const int outputs[2]);

#endif
