/* The way of a request: to a worker at once, into a queue, or to its end. */
#ifndef SMX_ROUTE_H
#define SMX_ROUTE_H

#include "bridge.h"

/* Starts it, queues it or ends it. The command is a fresh one, or request->kept. */
void smx_route(struct smx_bridge *bridge, struct smx_request *request, const struct smx_command *command);
/* Looks anew where each call in the queue of `conn` (NULL: of all) may go: something has changed. */
void smx_route_queue(struct smx_bridge *bridge, struct smx_conn *conn);
/* A connection has room again: the calls that waited longest get it. */
void smx_route_pump(struct smx_bridge *bridge, struct smx_conn *conn);

#endif
