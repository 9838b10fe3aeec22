/* session.c: pins, their number and their expiry. */
#include "session.h"

#include <stdio.h>
#include <string.h>

#include "support.h"

static char expired[256]; /* the ids, one behind the other */

static void note_expired(void *owner, struct smx_session *session)
{
    (void)owner;
    size_t len = strlen(expired);
    snprintf(expired + len, sizeof(expired) - len, "%.*s ", (int)session->id.len, (const char *)session->id.data);
}

static struct smx_span text(const char *of)
{
    return smx_span_of(of);
}

struct setup {
    struct smx_timers timers;
    struct smx_sessions sessions;
};

static void start(struct setup *setup, size_t max, int64_t ttl_ms)
{
    struct smx_limits limits = {.max_sessions = max, .session_ttl_ms = ttl_ms};
    expired[0] = 0;
    smx_sessions_init(&setup->sessions, &limits, &setup->timers, note_expired, NULL);
}

static void stop(struct setup *setup)
{
    smx_sessions_fini(&setup->sessions);
    smx_timers_fini(&setup->timers);
}

static void a_pin_is_found_and_can_be_moved(void **state)
{
    (void)state;
    struct setup setup = {0};
    start(&setup, 10, 1000);
    assert_null(smx_session_find(&setup.sessions, text("s")));
    struct smx_session *session = smx_session_pin(&setup.sessions, text("s"), text("py-0"), text("life 1"));
    assert_ptr_equal(smx_session_find(&setup.sessions, text("s")), session);
    assert_ptr_equal(smx_session_pin(&setup.sessions, text("s"), text("py-1"), text("2")), session);
    assert_true(smx_span_is(smx_buffer_span(&session->worker), "py-1"));
    assert_true(smx_span_is(smx_buffer_span(&session->incarnation), "2"));
    assert_int_equal(setup.sessions.table.count, 1);
    smx_session_remove(&setup.sessions, session);
    assert_null(smx_session_find(&setup.sessions, text("s")));
    stop(&setup);
}

static void there_are_at_most_max_sessions(void **state)
{
    (void)state;
    struct setup setup = {0};
    start(&setup, 2, 1000);
    assert_non_null(smx_session_pin(&setup.sessions, text("a"), text("w"), text("1")));
    assert_non_null(smx_session_pin(&setup.sessions, text("b"), text("w"), text("1")));
    assert_null(smx_session_pin(&setup.sessions, text("c"), text("w"), text("1")));
    assert_non_null(smx_session_pin(&setup.sessions, text("a"), text("w"), text("2")));
    smx_session_remove(&setup.sessions, smx_session_find(&setup.sessions, text("b")));
    assert_non_null(smx_session_pin(&setup.sessions, text("c"), text("w"), text("1")));
    stop(&setup);
}

static void idle_sessions_expire_and_running_ones_do_not(void **state)
{
    (void)state;
    struct setup setup = {0};
    start(&setup, 10, 1000);
    struct smx_session *a = smx_session_pin(&setup.sessions, text("a"), text("w"), text("1"));
    struct smx_session *b = smx_session_pin(&setup.sessions, text("b"), text("w"), text("1"));
    struct smx_session *c = smx_session_pin(&setup.sessions, text("c"), text("w"), text("1"));
    a->used_ms -= 2000;
    b->used_ms -= 1500;
    b->running = 1;
    smx_timer_set(&setup.timers, &setup.sessions.expiry, smx_now_ms());
    smx_timers_run(&setup.timers, smx_now_ms());
    assert_string_equal(expired, "a ");
    assert_null(smx_session_find(&setup.sessions, text("a")));
    assert_ptr_equal(smx_session_find(&setup.sessions, text("b")), b);
    assert_ptr_equal(smx_session_find(&setup.sessions, text("c")), c);
    stop(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pin_is_found_and_can_be_moved),
        cmocka_unit_test(there_are_at_most_max_sessions),
        cmocka_unit_test(idle_sessions_expire_and_running_ones_do_not),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
