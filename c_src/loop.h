/* The one thread that owns all state: drains the completion queue, reads and writes stdio, runs the timers. */
#ifndef SMX_LOOP_H
#define SMX_LOOP_H

#include "front.h"

/*
 * Lets `front` serve the owner on `in` and `out` until the owner closes `in` (or SIGTERM comes); returns the exit code.
 * Both descriptors become non-blocking.
 */
int smx_loop_run(const struct smx_limits *limits, const struct smx_front *front, int in, int out);

#endif
