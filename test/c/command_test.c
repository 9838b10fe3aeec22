/* command.c, options.c, metadata.c: every golden frame is read as it says, and nothing broken is taken for sound. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "term.h"

static void give(struct test_front *test, struct smx_span frame)
{
    smx_front_ei_frame(&test->front, frame, frame.len, 1024 * 1024);
}

static void check_text(const struct vector *vector, const char *commands, const char *events)
{
    struct smx_buffer found = {0};
    smx_buffer_printf(&found, "%s%s", commands, events);
    test_text(&found);
    if (found.len > 0)
        found.data[found.len - 1] = 0; /* the last line's end */
    if (strcmp((const char *)found.data, vector->text) != 0)
        fail_msg("%s:\n%s", vector->name, (const char *)found.data);
    smx_buffer_fini(&found);
}

static void check_command(const struct vector *vector)
{
    struct test_front test;
    test_front_init(&test);
    give(&test, smx_buffer_span(&vector->frame));
    const char *commands = test_front_commands(&test);
    check_text(vector, commands, test_front_events(&test));
    test_front_fini(&test);
}

static void every_golden_command_is_read(void **state)
{
    (void)state;
    test_vectors("command", check_command);
}

static void every_golden_fault_is_named(void **state)
{
    (void)state;
    test_vectors("refused", check_command);
}

/* The frame in memory of its very size: the address sanitizer and valgrind see a byte read behind it. */
static void give_exactly(struct test_front *test, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    give(test, (struct smx_span){copy, len});
    free(copy);
}

static void check_truncated(const struct vector *vector)
{
    struct test_front test;
    test_front_init(&test);
    for (size_t len = 0; len < vector->frame.len; len++) {
        give_exactly(&test, vector->frame.data, len);
        if (strlen(test_front_events(&test)) == 0)
            fail_msg("%s: nothing said of the first %zu bytes", vector->name, len);
    }
    test_front_fini(&test);
}

static void a_truncated_frame_is_answered(void **state)
{
    (void)state;
    test_vectors("command", check_truncated);
}

static void check_damaged(const struct vector *vector)
{
    static const uint8_t damage[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 'h', 'l', 'm', 't', 'w', 'X'};
    struct test_front test;
    struct smx_buffer copy = {0};
    test_front_init(&test);
    smx_buffer_append_span(&copy, smx_buffer_span(&vector->frame));
    for (size_t i = 0; i < copy.len; i++) {
        uint8_t byte = copy.data[i];
        for (size_t j = 0; j < sizeof(damage); j++) {
            copy.data[i] = damage[j];
            give_exactly(&test, copy.data, copy.len);
            const char *commands = test_front_commands(&test);
            const char *events = test_front_events(&test);
            if (i > 0 && strlen(commands) + strlen(events) == 0 && copy.len > 2 && copy.data[1] != 'j')
                fail_msg("%s: nothing came of it with %02x at %zu", vector->name, damage[j], i);
        }
        copy.data[i] = byte;
    }
    smx_buffer_fini(&copy);
    test_front_fini(&test);
}

static void a_damaged_frame_is_answered_or_read(void **state)
{
    (void)state;
    test_vectors("command", check_damaged);
}

/* {execute, 1, any, Command, #{}, #{metadata => #{<<"key">> => Value}}} */
static void put_execute(struct smx_buffer *out, struct smx_span command, struct smx_span value)
{
    smx_buffer_append(out, "\x83", 1);
    smx_term_put_tuple(out, 6);
    smx_term_put_atom(out, "execute");
    smx_term_put_int(out, 1);
    smx_term_put_atom(out, "any");
    smx_term_put_binary(out, command);
    smx_term_put_map(out, 0);
    smx_term_put_map(out, 1);
    smx_term_put_atom(out, "metadata");
    smx_term_put_map(out, 1);
    smx_term_put_text(out, "key");
    smx_term_put_binary(out, value);
}

static void limits_are_exact(void **state)
{
    (void)state;
    static char space[8 * 1024 + 2];
    memset(space, 'x', sizeof(space));
    static const struct {
        size_t name, value;
        const char *fault;
    } cases[] = {
        {SMX_MAX_NAME, 8 * 1024 - 3, NULL},
        {SMX_MAX_NAME + 1, 1, "bad_message"},
        {1, 8 * 1024 - 2, "bad_option"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_front test;
        struct smx_buffer frame = {0};
        test_front_init(&test);
        put_execute(&frame, (struct smx_span){(uint8_t *)space, cases[i].name},
                    (struct smx_span){(uint8_t *)space, cases[i].value});
        give(&test, smx_buffer_span(&frame));
        const char *events = test_front_events(&test);
        assert_true(cases[i].fault ? strstr(events, cases[i].fault) != NULL : events[0] == 0);
        smx_buffer_fini(&frame);
        test_front_fini(&test);
    }
}

static void a_tag_has_at_most_a_kibibyte(void **state)
{
    (void)state;
    static uint8_t space[SMX_MAX_TAG];
    for (size_t over = 0; over < 2; over++) {
        struct test_front test;
        struct smx_buffer frame = {0};
        test_front_init(&test);
        smx_buffer_append(&frame, "\x83", 1);
        smx_term_put_tuple(&frame, 2);
        smx_term_put_atom(&frame, "ping");
        smx_term_put_binary(&frame, (struct smx_span){space, SMX_MAX_TAG - 5 + over});
        give(&test, smx_buffer_span(&frame));
        assert_true((strlen(test_front_commands(&test)) > 0) == (over == 0));
        assert_true((strstr(test_front_events(&test), "tag_too_large") != NULL) == (over == 1));
        smx_buffer_fini(&frame);
        test_front_fini(&test);
    }
}

static void check_kept(const struct vector *vector)
{
    struct smx_command_reader reader = {0};
    struct smx_buffer before = {0};
    struct smx_buffer after = {0};
    struct smx_buffer frame = {0};
    if (strncmp(vector->name, "execute", 7) != 0)
        return;
    smx_buffer_append_span(&frame, smx_buffer_span(&vector->frame));
    assert_int_equal(smx_command_read(&reader, smx_buffer_span(&frame), 1), SMX_COMMAND_READ);
    test_print_command(&before, &reader.command);
    struct smx_command *kept = smx_command_keep(&reader.command);
    smx_command_reader_fini(&reader);
    smx_buffer_fini(&frame);
    test_print_command(&after, kept);
    assert_string_equal(test_text(&before), test_text(&after));
    free(kept);
    smx_buffer_fini(&before);
    smx_buffer_fini(&after);
}

static void a_kept_command_outlives_its_frame(void **state)
{
    (void)state;
    test_vectors("command", check_kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_command_is_read),
        cmocka_unit_test(every_golden_fault_is_named),
        cmocka_unit_test(a_truncated_frame_is_answered),
        cmocka_unit_test(a_damaged_frame_is_answered_or_read),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(a_tag_has_at_most_a_kibibyte),
        cmocka_unit_test(a_kept_command_outlives_its_frame),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
