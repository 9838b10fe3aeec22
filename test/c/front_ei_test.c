/* front_ei.c: frames both ways, batches, and what is wrong with a frame as a whole. */
#include "front_ei.h"

#include <string.h>

#include "frame.h"
#include "support.h"
#include "term.h"

static void give_hex(struct test_front *test, const char *hex)
{
    struct smx_buffer frame = {0};
    test_put_hex(&frame, hex);
    smx_front_ei_frame(&test->front, smx_buffer_span(&frame), frame.len, 1000);
    smx_buffer_fini(&frame);
}

static void expect(struct test_front *test, const char *hex, const char *commands, const char *events)
{
    give_hex(test, hex);
    assert_string_equal(test_front_commands(test), commands);
    assert_string_equal(test_front_events(test), events);
}

static int setup(void **state)
{
    static struct test_front test;
    test_front_init(&test);
    *state = &test;
    return 0;
}

static int teardown(void **state)
{
    test_front_fini(*state);
    return 0;
}

static void a_frame_that_is_no_term_is_a_protocol_error(void **state)
{
    expect(*state, "", "",
           "{protocol_error,#{reason=>bad_version,message=><<\"a frame starts with 131, then comes a "
           "term\">>,offset=>0}}\n");
    expect(*state, "6802", "",
           "{protocol_error,#{reason=>bad_version,message=><<\"a frame starts with 131, then comes a "
           "term\">>,offset=>0}}\n");
    expect(*state, "8350000000057801", "",
           "{protocol_error,#{reason=>compressed,message=><<\"compressed terms are not read: send them "
           "plain\">>,offset=>1}}\n");
    expect(*state, "8300", "",
           "{protocol_error,#{reason=>bad_term,message=><<\"a truncated or unknown term\">>,offset=>1}}\n");
}

static void a_message_is_taken_and_the_bytes_behind_it_are_not(void **state)
{
    expect(*state, "836802770470696e676101ff", "ping tag=1\n",
           "{protocol_error,#{reason=>trailing_bytes,message=><<\"there are bytes behind the term\">>,offset=>11}}\n");
}

static void a_wrong_message_does_not_disturb_its_neighbours(void **state)
{
    /* [{ping, 1}, 7, {ping, 2}] */
    expect(*state, "836c000000036802770470696e67610161076802770470696e6761026a", "ping tag=1\nping tag=2\n",
           "{protocol_error,#{reason=>bad_message,message=><<\"a message is a tuple\">>,offset=>16}}\n");
}

static void what_is_broken_behind_its_tag_is_answered_under_it(void **state)
{
    /* {ping, 1, <unknown tag>} */
    expect(*state, "836803770470696e67610100", "",
           "{error,1,#{code=>invalid_argument,message=><<\"a truncated or unknown "
           "term\">>,origin=>mux,reason=>bad_term,sent=>false,details=>#{}}}\n");
}

static void put_nested(struct smx_buffer *out, size_t levels)
{
    for (size_t i = 0; i < levels; i++)
        smx_term_put_list(out, 1);
    smx_term_put_nil(out);
    for (size_t i = 0; i < levels; i++)
        smx_term_put_nil(out);
}

static void a_term_too_deep_is_answered_and_skipped(void **state)
{
    struct test_front *test = *state;
    struct smx_buffer frame = {0};
    smx_buffer_append(&frame, "\x83", 1);
    smx_term_put_list(&frame, 2);
    smx_term_put_tuple(&frame, 3);
    smx_term_put_atom(&frame, "ping");
    smx_term_put_int(&frame, 1);
    put_nested(&frame, 100000);
    smx_term_put_tuple(&frame, 2);
    smx_term_put_atom(&frame, "ping");
    smx_term_put_int(&frame, 2);
    smx_term_put_nil(&frame);
    smx_front_ei_frame(&test->front, smx_buffer_span(&frame), frame.len, frame.len);
    assert_string_equal(test_front_commands(test), "ping tag=2\n");
    assert_string_equal(test_front_events(test), "{error,1,#{code=>invalid_argument,message=><<\"a term nested too "
                                                 "deep\">>,origin=>mux,reason=>bad_term,sent=>false,details=>#{}}}\n");
    smx_buffer_fini(&frame);
}

static void the_head_of_an_oversized_frame_names_its_tag(void **state)
{
    struct test_front *test = *state;
    struct smx_buffer frame = {0};
    test_put_hex(&frame, "836806770765786563757465610177");
    smx_front_ei_frame(&test->front, smx_buffer_span(&frame), 2000, 1000);
    assert_string_equal(test_front_events(test),
                        "{error,1,#{code=>resource_exhausted,message=><<\"the command makes a frame of 2000 bytes, "
                        "and max_frame is 1000: raise it and max_message, or send less at once (results may come as a "
                        "stream)\">>,origin=>mux,reason=>too_large,sent=>false,details=>#{}}}\n");
    frame.len = 0;
    test_put_hex(&frame, "836c000000026806770765786563757465610177");
    smx_front_ei_frame(&test->front, smx_buffer_span(&frame), 2000, 1000);
    const char *events = test_front_events(test);
    assert_ptr_equal(strstr(events, "{error,1,"), events);
    assert_non_null(strstr(events, "\n{protocol_error,#{reason=>too_large"));
    frame.len = 0;
    test_put_hex(&frame, "83680677076578656375746568ff");
    smx_front_ei_frame(&test->front, smx_buffer_span(&frame), 2000, 1000);
    assert_non_null(strstr(test_front_events(test), "{protocol_error,#{reason=>too_large"));
    smx_buffer_fini(&frame);
}

static void a_wrong_message_under_a_live_tag_does_not_end_the_call(void **state)
{
    struct test_front *test = *state;
    test->live = smx_span_of("\x61\x01");
    expect(test, "836803770470696e6761016102", "",
           "{protocol_error,#{reason=>duplicate_tag,message=><<\"a call with this tag is live\">>,offset=>11}}\n");
    test->live = (struct smx_span){0};
}

static void emit_done(struct test_front *test, size_t len)
{
    static const uint8_t tag[] = {0x61, 0x01};
    static char text[70000];
    struct smx_error why = {0};
    struct smx_event event = {.kind = SMX_EVENT_OK, .tag = {tag, sizeof(tag)}};
    struct smx_buffer term = {0};
    memset(text, 'x', sizeof(text));
    smx_term_put_binary(&term, (struct smx_span){(uint8_t *)text, len});
    event.term = smx_buffer_span(&term);
    assert_true(smx_front_ei_emit(&test->front, &event, &why));
    smx_buffer_fini(&term);
}

static size_t lines(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void without_batch_every_event_is_a_frame(void **state)
{
    emit_done(*state, 1);
    emit_done(*state, 1);
    assert_string_equal(test_front_events(*state), "{ok,1,<<\"x\">>,#{}}\n{ok,1,<<\"x\">>,#{}}\n");
}

static void with_batch_the_events_of_a_turn_are_one_frame(void **state)
{
    /* {options, 1, #{batch => true}} */
    expect(*state, "83680377076f7074696f6e736101740000000177056261746368770474727565", "",
           "{ok,1,#{batch=>true,meta=>true,pins=>false,fragment=>off},#{}}\n");
    emit_done(*state, 1);
    emit_done(*state, 1);
    emit_done(*state, 1);
    assert_string_equal(test_front_events(*state),
                        "[{ok,1,<<\"x\">>,#{}},{ok,1,<<\"x\">>,#{}},{ok,1,<<\"x\">>,#{}}]\n");
    assert_string_equal(test_front_events(*state), "");
    expect(*state, "83680377076f7074696f6e7361017400000000", "",
           "[{ok,1,#{batch=>false,meta=>true,pins=>false,fragment=>off},#{}}]\n");
    emit_done(*state, 1);
    assert_string_equal(test_front_events(*state), "{ok,1,<<\"x\">>,#{}}\n");
}

static void without_meta_no_call_has_it(void **state)
{
    struct test_front *test = *state;
    struct smx_error why = {0};
    static const uint8_t tag[] = {0x61, 0x01};
    struct smx_event event = {.kind = SMX_EVENT_RESULT,
                              .tag = {tag, sizeof(tag)},
                              .meta = {.worker = smx_span_of("w"), .duration_us = 7, .chunks = -1}};
    assert_true(smx_front_ei_emit(&test->front, &event, &why));
    assert_string_equal(test_front_events(test), "{ok,1,#{},#{worker=><<\"w\">>,duration_us=>7,metadata=>#{}}}\n");
    /* {options, 1, #{meta => false}} */
    expect(test, "83680377076f7074696f6e736101740000000177046d657461770566616c7365", "",
           "{ok,1,#{batch=>false,meta=>false,pins=>false,fragment=>off},#{}}\n");
    assert_true(smx_front_ei_emit(&test->front, &event, &why));
    assert_string_equal(test_front_events(test), "{ok,1,#{},#{}}\n");
}

static void pins_are_told_to_who_wants_to_know(void **state)
{
    struct test_front *test = *state;
    struct smx_error why = {0};
    struct smx_event event = {.kind = SMX_EVENT_PINNED,
                              .session = smx_span_of("s"),
                              .meta = {.worker = smx_span_of("w"), .incarnation = smx_span_of("i")}};
    assert_true(smx_front_ei_emit(&test->front, &event, &why));
    assert_string_equal(test_front_events(test), "");
    /* {options, 1, #{pins => true}} */
    expect(test, "83680377076f7074696f6e7361017400000001770470696e73770474727565", "",
           "{ok,1,#{batch=>false,meta=>true,pins=>true,fragment=>off},#{}}\n");
    assert_true(smx_front_ei_emit(&test->front, &event, &why));
    assert_string_equal(test_front_events(test), "{pinned,<<\"s\">>,<<\"w\">>,<<\"i\">>}\n");
}

static bool emit_chunk(struct test_front *test, const uint8_t *tag, const char *text)
{
    struct smx_error why = {0};
    struct smx_pair value = {smx_span_of("x"), smx_span_of(text)};
    struct smx_event event = {.kind = SMX_EVENT_CHUNK, .tag = {tag, 2}, .values = {&value, 1}};
    return smx_front_ei_emit(&test->front, &event, &why);
}

static void large_events_go_in_parts_and_small_ones_overtake_them(void **state)
{
    static const uint8_t one[] = {0x61, 0x01}, two[] = {0x61, 0x02};
    struct test_front *test = *state;
    /* {options, 1, #{fragment => 40}} */
    expect(test, "83680377076f7074696f6e73610174000000017708667261676d656e746128", "",
           "{ok,1,#{batch=>false,meta=>true,pins=>false,fragment=>40},#{}}\n");
    assert_true(emit_chunk(test, one, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_true(emit_chunk(test, one, "b")); /* keeps its place */
    assert_true(emit_chunk(test, two, "c"));
    assert_string_equal(test_front_events(test), "{chunk,2,#{<<\"x\">>=><<\"c\">>}}\n");
    assert_true(smx_front_ei_more(&test->front));
    assert_non_null(strstr(test_front_events(test), "{part,1,"));
    assert_true(emit_chunk(test, two, "d"));
    assert_string_equal(test_front_events(test), "{chunk,2,#{<<\"x\">>=><<\"d\">>}}\n");
    while (test->front.parts.held > 0 && smx_front_ei_more(&test->front))
        continue;
    const char *rest = test_front_events(test);
    assert_non_null(strstr(rest, "{last,1,"));
    assert_non_null(strstr(strstr(rest, "{last,1,"), "\n{chunk,1,#{<<\"x\">>=><<\"b\">>}}\n"));
    assert_false(smx_front_ei_more(&test->front));
}

/* The bytes of the next frame with a part, and of what came before it. */
static size_t part_size(struct test_front *test)
{
    test_front_events(test);
    assert_true(smx_front_ei_more(&test->front));
    return test->out.len;
}

static void parts_are_smaller_beside_other_events(void **state)
{
    static const uint8_t one[] = {0x61, 0x01}, two[] = {0x61, 0x02};
    static char text[6000001];
    struct test_front *test = *state;
    struct smx_front calls = smx_front_ei(&test->front);
    memset(text, 'a', sizeof(text) - 1);
    test->front.fragment = 131072;
    assert_true(emit_chunk(test, one, text));
    assert_in_range(part_size(test), 131072, 131072 + 50);
    assert_false(calls.is_mixed(calls.self));
    assert_true(emit_chunk(test, two, "c"));
    for (int i = 0; i < 64; i++) {
        assert_true(calls.is_mixed(calls.self));
        assert_in_range(part_size(test), 45000, 11 * 4096);
    }
    assert_false(calls.is_mixed(calls.self));
    assert_in_range(part_size(test), 131072, 131072 + 50);
}

static void parts_of_a_cancelled_call_are_dropped(void **state)
{
    static const uint8_t one[] = {0x61, 0x01};
    struct test_front *test = *state;
    test->front.fragment = 20;
    assert_true(emit_chunk(test, one, "aaaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_true(smx_front_ei_more(&test->front));
    test_front_events(test);
    /* {cancel, 1}: the call itself is over */
    expect(test, "836802770663616e63656c6101", "",
           "{error,1,#{code=>cancelled,message=><<\"the call was cancelled\">>,origin=>mux,reason=>cancelled,"
           "sent=>true,details=>#{}}}\n");
    assert_int_equal(test->front.parts.held, 0);
    assert_false(smx_front_ei_more(&test->front));
}

/* {part, Tag, Bin} or {last, Tag, Bin}, of the tag 1 or 2. */
static void give_part(struct test_front *test, const char *kind, uint8_t tag, struct smx_span bytes)
{
    struct smx_buffer frame = {0};
    smx_buffer_append(&frame, "\x83", 1);
    smx_term_put_tuple(&frame, 3);
    smx_term_put_atom(&frame, kind);
    smx_term_put_int(&frame, tag);
    smx_term_put_binary(&frame, bytes);
    smx_front_ei_frame(&test->front, smx_buffer_span(&frame), frame.len, 2000);
    smx_buffer_fini(&frame);
}

/* A command in three parts, the first two of three bytes. */
static void give_in_parts(struct test_front *test, uint8_t tag, const char *text)
{
    struct smx_buffer term = {0};
    smx_buffer_append(&term, "\x83", 1);
    test_put_term(&term, text);
    give_part(test, "part", tag, (struct smx_span){term.data, 3});
    give_part(test, "part", tag, (struct smx_span){term.data + 3, 3});
    assert_string_equal(test_front_commands(test), "");
    give_part(test, "last", tag, (struct smx_span){term.data + 6, term.len - 6});
    smx_buffer_fini(&term);
}

static void expect_error(struct test_front *test, const char *start, const char *reason)
{
    const char *events = test_front_events(test);
    assert_memory_equal(events, start, strlen(start));
    assert_non_null(strstr(events, reason));
    assert_int_equal(lines(events), 1);
    assert_string_equal(test_front_commands(test), "");
}

static void the_parts_of_a_command_are_read_as_one(void **state)
{
    struct test_front *test = *state;
    give_in_parts(test, 1, "{ping,1}");
    assert_string_equal(test_front_commands(test), "ping tag=1\n");
    give_in_parts(test, 1, "{options,1,#{meta=>false}}");
    assert_string_equal(test_front_events(test), "{ok,1,#{batch=>false,meta=>false,pins=>false,fragment=>off},#{}}\n");
    give_part(test, "last", 2, (struct smx_span){(const uint8_t *)"\x83\x68\x02\x77\x04ping\x61\x02", 11});
    assert_string_equal(test_front_commands(test), "ping tag=2\n");
}

static void parts_that_make_no_command_of_their_tag_are_answered_under_it(void **state)
{
    static const struct {
        const char *term;
        const char *reason;
    } wrong[] = {
        {"{ping,2}", "bad_message"},          {"{cancel,1}", "bad_message"},
        {"{credit,1,1}", "bad_message"},      {"{credit,1,0}", "bad_message"},
        {"{part,1,<<\"\">>}", "bad_message"}, {"{last,1,<<\"\">>}", "bad_message"},
        {"[{ping,1}]", "bad_message"},        {"{pin,<<\"s\">>,<<\"w\">>,<<\"i\">>}", "bad_message"},
        {"{ping,1,more}", "bad_message"},     {"{teleport,1}", "unknown_message"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        give_in_parts(*state, 1, wrong[i].term);
        expect_error(*state, "{error,1,", wrong[i].reason);
    }
    give_part(*state, "last", 1, smx_span_of("\x82h"));
    expect_error(*state, "{error,1,", "bad_version");
    give_part(*state, "last", 1, smx_span_of("\x83P"));
    expect_error(*state, "{error,1,", "compressed");
    give_part(*state, "last", 1, smx_span_of("\x83hhh"));
    expect_error(*state, "{error,1,", "bad_term");
    give_part(*state, "last", 1, smx_span_of("\x83jj"));
    expect_error(*state, "{error,1,", "trailing_bytes");
}

static void while_parts_are_to_come_their_tag_is_live(void **state)
{
    struct test_front *test = *state;
    give_part(test, "part", 1, smx_span_of("\x83"));
    expect(test, "836802770470696e676101", "",
           "{protocol_error,#{reason=>duplicate_tag,message=><<\"a call with this tag is live\">>,offset=>0}}\n");
    expect(test, "836803770470696e6761016102", "",
           "{protocol_error,#{reason=>duplicate_tag,message=><<\"a call with this tag is live\">>,offset=>11}}\n");
    give_part(test, "last", 1, (struct smx_span){(const uint8_t *)"\x68\x02\x77\x04ping\x61\x01", 10});
    assert_string_equal(test_front_commands(test), "ping tag=1\n");
}

static void parts_under_a_live_tag_are_told_once(void **state)
{
    struct test_front *test = *state;
    test->live = smx_span_of("\x61\x01");
    give_part(test, "part", 1, smx_span_of("a"));
    expect_error(test, "{protocol_error,", "duplicate_tag");
    give_part(test, "part", 1, smx_span_of("a"));
    test->live = (struct smx_span){0};
    give_part(test, "last", 1, smx_span_of("a"));
    assert_string_equal(test_front_events(test), "");
    give_in_parts(test, 1, "{ping,1}");
    assert_string_equal(test_front_commands(test), "ping tag=1\n");
}

static void a_command_in_too_large_parts_is_told_once(void **state)
{
    static const uint8_t zeros[2000];
    struct test_front *test = *state;
    give_part(test, "part", 1, (struct smx_span){zeros, 1900});
    give_part(test, "part", 1, (struct smx_span){zeros, 101});
    expect_error(test, "{error,1,", "too_large");
    give_part(test, "part", 1, (struct smx_span){zeros, 1900});
    give_part(test, "last", 1, (struct smx_span){zeros, 1900});
    assert_string_equal(test_front_events(test), "");
    assert_int_equal(test->front.assembly.held, 0);
    /* Or its owner forgets it: the rest is not to come. */
    give_part(test, "part", 1, (struct smx_span){zeros, 1900});
    give_part(test, "part", 1, (struct smx_span){zeros, 101});
    expect_error(test, "{error,1,", "too_large");
    expect(test, "836802770470696e676101", "ping tag=1\n", "");
    assert_int_equal(test->front.assembly.held, 0);
}

static void a_wrong_part_spoils_the_command(void **state)
{
    struct test_front *test = *state;
    give_part(test, "part", 1, smx_span_of("a"));
    /* {part, 1, 2} */
    give_hex(test, "83680377047061727461016102");
    expect_error(test, "{error,1,", "bad_message");
    give_part(test, "last", 1, smx_span_of("a"));
    assert_string_equal(test_front_events(test), "");
    assert_int_equal(test->front.assembly.held, 0);
}

static void a_command_is_cancelled_before_its_last_part(void **state)
{
    struct test_front *test = *state;
    give_part(test, "part", 1, smx_span_of("a"));
    /* {cancel, 1} */
    expect(test, "836802770663616e63656c6101", "",
           "{error,1,#{code=>cancelled,message=><<\"the call was cancelled\">>,origin=>mux,reason=>cancelled,"
           "sent=>false,details=>#{}}}\n");
    assert_int_equal(test->front.assembly.held, 0);
    expect(test, "836802770663616e63656c6101", "cancel tag=1\n", "");
}

static void a_batch_is_closed_at_a_mebibyte(void **state)
{
    struct test_front *test = *state;
    test->front.batch = true;
    for (int i = 0; i < 40; i++)
        emit_done(test, 65536);
    assert_int_equal(lines(test_front_events(test)), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frame_that_is_no_term_is_a_protocol_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_is_taken_and_the_bytes_behind_it_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_message_does_not_disturb_its_neighbours, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_broken_behind_its_tag_is_answered_under_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_term_too_deep_is_answered_and_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(the_head_of_an_oversized_frame_names_its_tag, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_message_under_a_live_tag_does_not_end_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(without_batch_every_event_is_a_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(with_batch_the_events_of_a_turn_are_one_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(without_meta_no_call_has_it, setup, teardown),
        cmocka_unit_test_setup_teardown(pins_are_told_to_who_wants_to_know, setup, teardown),
        cmocka_unit_test_setup_teardown(large_events_go_in_parts_and_small_ones_overtake_them, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_are_smaller_beside_other_events, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_of_a_cancelled_call_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(the_parts_of_a_command_are_read_as_one, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_that_make_no_command_of_their_tag_are_answered_under_it, setup, teardown),
        cmocka_unit_test_setup_teardown(while_parts_are_to_come_their_tag_is_live, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_under_a_live_tag_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_command_in_too_large_parts_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_part_spoils_the_command, setup, teardown),
        cmocka_unit_test_setup_teardown(a_command_is_cancelled_before_its_last_part, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_is_closed_at_a_mebibyte, setup, teardown),
    };
    return cmocka_run_group_tests_name("front_ei", tests, NULL, NULL);
}
