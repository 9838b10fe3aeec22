/* Tells a worker that a session has ended. */
#ifndef SMX_FAREWELL_H
#define SMX_FAREWELL_H

#include "conn.h"

/* So that it frees the session's memory, if it announces sessions. Its answer interests nobody. */
void smx_farewell_send(struct smx_conn *conn, struct smx_span session);

#endif
