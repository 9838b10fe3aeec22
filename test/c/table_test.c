/* table.c: what is put in is found, until it is removed. */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

struct entry {
    char key[16];
    bool in;
};

static struct smx_span key_of(const struct entry *entry)
{
    return smx_span_of(entry->key);
}

static void an_empty_table_has_nothing(void **state)
{
    (void)state;
    struct smx_table table = {0};
    size_t at = 0;
    assert_null(smx_table_get(&table, smx_span_of("key")));
    assert_null(smx_table_remove(&table, smx_span_of("key")));
    assert_null(smx_table_next(&table, &at));
    smx_table_fini(&table);
}

/* Puts and removes at random, and compares with what a flag in each entry says. */
static void it_agrees_with_a_simple_model(void **state)
{
    (void)state;
    enum { COUNT = 500, STEPS = 200000 };
    static struct entry entries[COUNT];
    struct smx_table table = {0};
    size_t count = 0;
    srand(1);
    for (int i = 0; i < COUNT; i++)
        snprintf(entries[i].key, sizeof(entries[i].key), "%d", i);
    for (int i = 0; i < STEPS; i++) {
        struct entry *entry = &entries[rand() % (i < STEPS / 2 ? COUNT : 5)];
        assert_ptr_equal(smx_table_get(&table, key_of(entry)), entry->in ? entry : NULL);
        if (entry->in)
            assert_ptr_equal(smx_table_remove(&table, key_of(entry)), entry);
        else
            smx_table_put(&table, key_of(entry), entry);
        entry->in = !entry->in;
        count = entry->in ? count + 1 : count - 1;
        assert_int_equal(table.count, count);
    }
    assert_true(table.cap <= 2048);
    smx_table_fini(&table);
}

static void all_are_visited_and_may_be_removed_meanwhile(void **state)
{
    (void)state;
    static struct entry entries[100];
    struct smx_table table = {0};
    struct entry *entry;
    size_t visited = 0;
    for (size_t i = 0; i < 100; i++) {
        snprintf(entries[i].key, sizeof(entries[i].key), "key %zu", i);
        smx_table_put(&table, key_of(&entries[i]), &entries[i]);
    }
    for (size_t at = 0; (entry = smx_table_next(&table, &at)); visited++)
        assert_ptr_equal(smx_table_remove(&table, key_of(entry)), entry);
    assert_int_equal(visited, 100);
    assert_int_equal(table.count, 0);
    smx_table_fini(&table);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 0, 0};
    struct smx_table table = {0};
    int one, two, none;
    smx_table_put(&table, (struct smx_span){bytes, 1}, &one);
    smx_table_put(&table, (struct smx_span){bytes, 2}, &two);
    smx_table_put(&table, (struct smx_span){NULL, 0}, &none);
    assert_ptr_equal(smx_table_get(&table, (struct smx_span){bytes, 1}), &one);
    assert_ptr_equal(smx_table_get(&table, (struct smx_span){bytes, 2}), &two);
    assert_ptr_equal(smx_table_get(&table, (struct smx_span){bytes, 0}), &none);
    assert_null(smx_table_get(&table, (struct smx_span){bytes, 3}));
    smx_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_has_nothing),
        cmocka_unit_test(it_agrees_with_a_simple_model),
        cmocka_unit_test(all_are_visited_and_may_be_removed_meanwhile),
        cmocka_unit_test(keys_are_bytes),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
