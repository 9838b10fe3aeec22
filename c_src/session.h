/* Pins: which worker, in which of its lives, a session belongs to; and when an idle one expires. */
#ifndef SMX_SESSION_H
#define SMX_SESSION_H

#include "protocol.h"
#include "table.h"
#include "timer.h"

struct smx_session {
    struct smx_buffer id;
    struct smx_buffer worker;
    struct smx_buffer incarnation; /* empty: not known when it was pinned */
    int64_t used_ms;
    uint32_t running; /* calls */
    struct smx_session *older;
    struct smx_session *newer;
};

struct smx_sessions {
    struct smx_table table;
    struct smx_session *oldest; /* by their last use */
    struct smx_session *newest;
    size_t max;
    int64_t ttl_ms;
    struct smx_timers *timers;
    struct smx_timer expiry;
    /* A session expired; it is removed and freed after this returns. */
    void (*expired)(void *owner, struct smx_session *session);
    void *owner;
};

void smx_sessions_init(struct smx_sessions *sessions, const struct smx_limits *limits, struct smx_timers *timers,
                       void (*expired)(void *owner, struct smx_session *session), void *owner);
void smx_sessions_fini(struct smx_sessions *sessions);
/* NULL when it is not pinned. */
struct smx_session *smx_session_find(const struct smx_sessions *sessions, struct smx_span id);
/* Pins it, or moves its pin. NULL when there are max_sessions already. */
struct smx_session *smx_session_pin(struct smx_sessions *sessions, struct smx_span id, struct smx_span worker,
                                    struct smx_span incarnation);
/* It is used: its time to live starts anew. */
void smx_session_touch(struct smx_sessions *sessions, struct smx_session *session);
void smx_session_remove(struct smx_sessions *sessions, struct smx_session *session);

#endif
