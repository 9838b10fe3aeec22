/* What a worker says of itself in GetInfo, as its connection keeps it: commands, codecs, limits. */
#ifndef SMX_ANNOUNCED_H
#define SMX_ANNOUNCED_H

#include "conn.h"

/* Of a worker that has said nothing yet: what the connect said. */
void smx_announced_nothing(struct smx_conn *conn);
/* Its answer, `conn->about`. What the connect said goes before it. */
void smx_announced_take(struct smx_conn *conn);

#endif
