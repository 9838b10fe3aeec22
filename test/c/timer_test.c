/* timer.c: what is due is fired, in the order of time, and nothing else. */
#include "timer.h"

#include <stdlib.h>

#include "support.h"

struct owner {
    struct smx_timer timer;
    struct smx_timers *timers;
    int64_t *log;
    size_t *count;
};

static void note(void *self)
{
    struct owner *owner = self;
    owner->log[(*owner->count)++] = owner->timer.at_ms;
}

static void fired_in_the_order_of_time(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct owner owners[COUNT];
    int64_t log[COUNT];
    size_t count = 0;
    struct smx_timers timers = {0};
    srand(7);
    for (size_t i = 0; i < COUNT; i++) {
        owners[i] = (struct owner){.timer = {.fire = note, .owner = &owners[i]}, .log = log, .count = &count};
        smx_timer_set(&timers, &owners[i].timer, 1 + rand() % 500);
    }
    for (size_t i = 0; i < COUNT; i += 2)
        smx_timer_set(&timers, &owners[i].timer, 1 + rand() % 500); /* moved */
    for (size_t i = 0; i < COUNT; i += 5)
        smx_timer_stop(&timers, &owners[i].timer);
    smx_timers_run(&timers, 250);
    size_t early = count;
    smx_timers_run(&timers, 500);
    assert_int_equal(count, COUNT - COUNT / 5);
    for (size_t i = 1; i < count; i++)
        assert_true(log[i - 1] <= log[i]);
    assert_true(log[early - 1] <= 250 && log[early] > 250);
    assert_int_equal(smx_timers_next(&timers), -1);
    smx_timers_fini(&timers);
}

static void the_next_one_is_known(void **state)
{
    (void)state;
    struct smx_timers timers = {0};
    struct smx_timer a = {.fire = note}, b = {.fire = note};
    assert_int_equal(smx_timers_next(&timers), -1);
    smx_timer_set(&timers, &a, 20);
    smx_timer_set(&timers, &b, 10);
    assert_int_equal(smx_timers_next(&timers), 10);
    smx_timer_stop(&timers, &b);
    smx_timer_stop(&timers, &b); /* once more is nothing */
    assert_int_equal(smx_timers_next(&timers), 20);
    smx_timers_fini(&timers);
}

static void set_again(void *self)
{
    struct owner *owner = self;
    (*owner->count)++;
    if (*owner->count < 3)
        smx_timer_set(owner->timers, &owner->timer, owner->timer.at_ms);
}

static void a_timer_may_be_set_while_it_fires(void **state)
{
    (void)state;
    size_t count = 0;
    struct smx_timers timers = {0};
    struct owner owner = {.timers = &timers, .count = &count};
    owner.timer = (struct smx_timer){.fire = set_again, .owner = &owner};
    smx_timer_set(&timers, &owner.timer, 5);
    smx_timers_run(&timers, 5);
    assert_int_equal(count, 3);
    assert_int_equal(owner.timer.place, 0);
    smx_timers_fini(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fired_in_the_order_of_time),
        cmocka_unit_test(the_next_one_is_known),
        cmocka_unit_test(a_timer_may_be_set_while_it_fires),
    };
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
