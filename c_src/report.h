/* What the port program tells about itself and its workers, as terms. */
#ifndef SMX_REPORT_H
#define SMX_REPORT_H

#include "message.h"
#include "util.h"

struct smx_bridge;
struct smx_conn;
struct smx_pool;

/* Each appends one encoded map, or list of maps. */
void smx_report_hello(const struct smx_bridge *bridge, struct smx_buffer *out);
void smx_report_worker(const struct smx_conn *conn, struct smx_buffer *out);
void smx_report_stats(const struct smx_bridge *bridge, struct smx_buffer *out);
void smx_report_calls(const struct smx_bridge *bridge, uint32_t limit, struct smx_buffer *out);
/* #{commands => [...]}: all that any ready worker takes. */
void smx_report_commands(const struct smx_pool *pool, struct smx_buffer *out);
void smx_report_health(const struct smx_reply *reply, struct smx_buffer *out);
void smx_report_info(const struct smx_reply *reply, struct smx_buffer *out);

#endif
