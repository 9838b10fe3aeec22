/* gRPC's connections on their way through the C library: what comes is looked at, what goes waits for more. */
#ifndef SMX_SOCKETS_H
#define SMX_SOCKETS_H

#include <stdbool.h>

/* Whether what gRPC writes from this thread may be kept until it is flushed. It may not at first. */
void smx_sockets_keep(bool keep);

/* Writes what is kept, as far as the sockets take it; by any thread. */
void smx_sockets_flush(void);

#endif
