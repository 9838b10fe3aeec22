/* Owns the sessions; knows nothing of connections and calls. */
#include "session.h"

#include <stdlib.h>

static void unlink_session(struct smx_sessions *sessions, struct smx_session *session)
{
    if (session->older)
        session->older->newer = session->newer;
    else
        sessions->oldest = session->newer;
    if (session->newer)
        session->newer->older = session->older;
    else
        sessions->newest = session->older;
    session->older = session->newer = NULL;
}

static void link_newest(struct smx_sessions *sessions, struct smx_session *session)
{
    session->older = sessions->newest;
    if (sessions->newest)
        sessions->newest->newer = session;
    else
        sessions->oldest = session;
    sessions->newest = session;
}

static void wait_for_oldest(struct smx_sessions *sessions)
{
    if (sessions->oldest && sessions->expiry.place == 0)
        smx_timer_set(sessions->timers, &sessions->expiry, sessions->oldest->used_ms + sessions->ttl_ms);
}

static void expire(void *owner)
{
    struct smx_sessions *sessions = owner;
    int64_t due = smx_now_ms() - sessions->ttl_ms;
    while (sessions->oldest && sessions->oldest->used_ms <= due) {
        struct smx_session *session = sessions->oldest;
        if (session->running > 0) {
            smx_session_touch(sessions, session);
            continue;
        }
        sessions->expired(sessions->owner, session);
        smx_session_remove(sessions, session);
    }
    wait_for_oldest(sessions);
}

void smx_sessions_init(struct smx_sessions *sessions, const struct smx_limits *limits, struct smx_timers *timers,
                       void (*expired)(void *owner, struct smx_session *session), void *owner)
{
    *sessions = (struct smx_sessions){
        .max = limits->max_sessions,
        .ttl_ms = limits->session_ttl_ms,
        .timers = timers,
        .expiry = {.fire = expire, .owner = sessions},
        .expired = expired,
        .owner = owner,
    };
}

void smx_sessions_fini(struct smx_sessions *sessions)
{
    while (sessions->oldest)
        smx_session_remove(sessions, sessions->oldest);
    smx_timer_stop(sessions->timers, &sessions->expiry);
    smx_table_fini(&sessions->table);
}

struct smx_session *smx_session_find(const struct smx_sessions *sessions, struct smx_span id)
{
    return smx_table_get(&sessions->table, id);
}

struct smx_session *smx_session_pin(struct smx_sessions *sessions, struct smx_span id, struct smx_span worker,
                                    struct smx_span incarnation)
{
    struct smx_session *session = smx_session_find(sessions, id);
    if (!session) {
        if (sessions->table.count >= sessions->max)
            return NULL;
        session = smx_alloc(sizeof(*session));
        smx_buffer_append_span(&session->id, id);
        smx_table_put(&sessions->table, smx_buffer_span(&session->id), session);
        link_newest(sessions, session);
    }
    session->worker.len = session->incarnation.len = 0;
    smx_buffer_append_span(&session->worker, worker);
    smx_buffer_append_span(&session->incarnation, incarnation);
    smx_session_touch(sessions, session);
    return session;
}

void smx_session_touch(struct smx_sessions *sessions, struct smx_session *session)
{
    session->used_ms = smx_now_ms();
    unlink_session(sessions, session);
    link_newest(sessions, session);
    wait_for_oldest(sessions);
}

void smx_session_remove(struct smx_sessions *sessions, struct smx_session *session)
{
    smx_table_remove(&sessions->table, smx_buffer_span(&session->id));
    unlink_session(sessions, session);
    smx_buffer_fini(&session->id);
    smx_buffer_fini(&session->worker);
    smx_buffer_fini(&session->incarnation);
    free(session);
}
