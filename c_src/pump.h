/* Moves bytes from one file descriptor to another through one buffer, without ever blocking on either. */
#ifndef SMX_PUMP_H
#define SMX_PUMP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smx_pump {
    int in; /* non-blocking; -1 after its end */
    int out;
    bool broken; /* nobody reads `out`: what comes is thrown away */
    size_t at;   /* bytes[at..len) wait for `out` */
    size_t len;
    uint8_t bytes[65536];
};

/* Borrows both. `in` becomes non-blocking; `out` is left as it is, for others may share it. */
void smx_pump_init(struct smx_pump *pump, int in, int out);
/* Closes `in`. */
void smx_pump_fini(struct smx_pump *pump);

/* What to wait for: fills fds[0] (in) and fds[1] (out). */
void smx_pump_prepare(const struct smx_pump *pump, struct pollfd fds[2]);
/* Reads and writes what the poll has found possible. */
void smx_pump_move(struct smx_pump *pump, const struct pollfd fds[2]);
/* Moves what is there already, until `in` has nothing more or `ms` have passed. */
void smx_pump_drain(struct smx_pump *pump, int64_t ms);

#endif
