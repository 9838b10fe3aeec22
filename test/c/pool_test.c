/* pool.c: which connection takes a call, and who waits in which order. Connections here are not connected to anything.
 */
#include "pool.h"

#include "support.h"

/* pool.c asks connections; of conn.c, which brings gRPC along, these few lines are enough. */
bool smx_conn_takes(const struct smx_conn *conn, struct smx_span command)
{
    return conn->any_command || smx_span_equal(smx_buffer_span(&conn->command_names), command);
}

bool smx_conn_has_room(const struct smx_conn *conn)
{
    return conn->state == SMX_CONN_READY && conn->in_flight < conn->max_concurrent;
}

bool smx_conn_is_coming(const struct smx_conn *conn)
{
    return conn->state == SMX_CONN_CONNECTING || conn->state == SMX_CONN_UNRESPONSIVE;
}

bool smx_conn_reap(struct smx_conn *conn)
{
    return conn->requests == 0;
}

static struct smx_conn conn_of(const char *id, uint32_t weight)
{
    struct smx_conn conn = {.state = SMX_CONN_READY, .ever_ready = true, .any_command = true, .weight = weight};
    conn.max_concurrent = 4;
    smx_buffer_append_span(&conn.id, smx_span_of(id));
    return conn;
}

static void conn_end(struct smx_conn *conn)
{
    smx_buffer_fini(&conn->id);
    smx_buffer_fini(&conn->command_names);
}

static struct smx_span predict(void)
{
    return smx_span_of("predict");
}

static void least_in_flight_over_weight(void **state)
{
    (void)state;
    struct smx_pool pool = {.max_queue = 10};
    struct smx_conn light = conn_of("light", 1), heavy = conn_of("heavy", 3), *chosen;
    light.max_concurrent = heavy.max_concurrent = 1000;
    smx_pool_add(&pool, &light);
    smx_pool_add(&pool, &heavy);
    for (int i = 0; i < 400; i++) {
        assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_START);
        chosen->in_flight++;
        chosen->calls++;
    }
    assert_int_equal(light.in_flight, 100);
    assert_int_equal(heavy.in_flight, 300);
    conn_end(&light);
    conn_end(&heavy);
}

static void an_idle_pool_takes_turns(void **state)
{
    (void)state;
    struct smx_pool pool = {.max_queue = 10};
    struct smx_conn a = conn_of("a", 1), b = conn_of("b", 1), *chosen;
    smx_pool_add(&pool, &a);
    smx_pool_add(&pool, &b);
    for (int i = 0; i < 10; i++) {
        smx_pool_choose(&pool, predict(), &chosen);
        chosen->calls++; /* and it ends at once */
    }
    assert_int_equal(a.calls, 5);
    assert_int_equal(b.calls, 5);
    conn_end(&a);
    conn_end(&b);
}

static void every_verdict_has_its_reason(void **state)
{
    (void)state;
    struct smx_pool pool = {.max_queue = 10};
    struct smx_conn conn = conn_of("w", 1), *chosen;
    assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_NO_WORKER);
    smx_pool_add(&pool, &conn);
    conn.in_flight = conn.max_concurrent;
    assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_BUSY);
    assert_int_equal(smx_pool_ask(&conn, predict()), SMX_VERDICT_BUSY);
    conn.state = SMX_CONN_CONNECTING;
    assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_COMING);
    conn.state = SMX_CONN_UNREACHABLE;
    assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_UNAVAILABLE);
    assert_int_equal(smx_pool_ask(&conn, predict()), SMX_VERDICT_UNAVAILABLE);
    conn.state = SMX_CONN_READY;
    conn.any_command = false;
    assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_UNIMPLEMENTED);
    assert_int_equal(smx_pool_ask(&conn, predict()), SMX_VERDICT_UNIMPLEMENTED);
    conn.ever_ready = false; /* what it takes is not known yet */
    conn.state = SMX_CONN_CONNECTING;
    assert_int_equal(smx_pool_choose(&pool, predict(), &chosen), SMX_VERDICT_COMING);
    conn_end(&conn);
}

static void the_longest_waiting_goes_first(void **state)
{
    (void)state;
    struct smx_pool pool = {.max_queue = 3};
    struct smx_conn conn = conn_of("w", 1);
    struct smx_request any = {.name = predict()}, own = {.name = predict()}, other = {.name = smx_span_of("train")};
    struct smx_request late = {.name = predict()}, too_many = {.name = predict()};
    conn.any_command = false;
    smx_buffer_append_span(&conn.command_names, predict());
    assert_true(smx_pool_push(&pool, NULL, &other)); /* this worker does not take it */
    assert_true(smx_pool_push(&pool, &conn, &own));
    assert_true(smx_pool_push(&pool, NULL, &any));
    assert_true(smx_pool_push(&pool, NULL, &late));
    assert_false(smx_pool_push(&pool, NULL, &too_many));
    struct smx_request *const order[] = {&own, &any, &late};
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(smx_pool_oldest(&pool, &conn), order[i]);
        smx_pool_unqueue(&pool, order[i]);
    }
    assert_null(smx_pool_oldest(&pool, &conn));
    assert_ptr_equal(smx_pool_take_queue(&pool, NULL), &other);
    assert_int_equal(pool.queued, 0);
    conn_end(&conn);
}

static void the_place_in_the_queue_outlives_a_new_look(void **state)
{
    (void)state;
    struct smx_pool pool = {.max_queue = 10};
    struct smx_conn conn = conn_of("w", 1);
    struct smx_request first = {.name = predict()}, second = {.name = predict()};
    smx_pool_push(&pool, NULL, &first);
    smx_pool_push(&pool, &conn, &second);
    struct smx_request *all = smx_pool_take_queue(&pool, NULL);
    assert_ptr_equal(all, &first);
    smx_pool_push(&pool, NULL, &first);
    assert_ptr_equal(smx_pool_oldest(&pool, &conn), &first);
    conn_end(&conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_in_flight_over_weight),
        cmocka_unit_test(an_idle_pool_takes_turns),
        cmocka_unit_test(every_verdict_has_its_reason),
        cmocka_unit_test(the_longest_waiting_goes_first),
        cmocka_unit_test(the_place_in_the_queue_outlives_a_new_look),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
