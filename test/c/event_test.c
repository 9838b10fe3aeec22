/* event.c: every event against its golden frame, and what a golden frame can't show. */
#include "event.h"

#include <string.h>

#include "support.h"
#include "term.h"

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *)(literal), sizeof(literal) - 1                                                                \
    }
#define PAIRS(array)                                                                                                   \
    {                                                                                                                  \
        array, sizeof(array) / sizeof((array)[0])                                                                      \
    }
#define TAG TEXT("\x61\x01")

static const struct smx_pair raw[] = {{TEXT("answer"), TEXT("\0\xff")}};
static const struct smx_pair json[] = {{TEXT("classes"), TEXT("[\"cat\", null]")}, {TEXT("score"), TEXT("0.75")}};
static const struct smx_pair msgpack[] = {{TEXT("blob"), TEXT("\xc4\x02\x00\xff")}, {TEXT("n"), TEXT("\xcd\x01\x00")}};
static const struct smx_pair old[] = {{TEXT("count"), TEXT("3")}, {TEXT("text"), TEXT("plain")}};
static const struct smx_pair trailing[] = {
    {TEXT("a"), TEXT("1")}, {TEXT("b-bin"), TEXT("\x01\xff")}, {TEXT("a"), TEXT("2")}};

#define FULL_META                                                                                                      \
    {                                                                                                                  \
        .worker = TEXT("py-1"), .incarnation = TEXT("i1"), .request_id = TEXT("r-1"),                                  \
        .timestamp = 1700000000000000000, .duration_us = 1500, .chunks = 3, .metadata = PAIRS(trailing)                \
    }
#define BARE_META                                                                                                      \
    {                                                                                                                  \
        .worker = TEXT("py-1"), .duration_us = 7, .chunks = -1                                                         \
    }

static struct smx_error bare_error = {
    .code = SMX_UNAVAILABLE, .reason = "no_worker", .message = {(uint8_t *)"none", 4, 0}};
static struct smx_error full_error = {
    .code = SMX_UNKNOWN,
    .origin = SMX_ORIGIN_WORKER,
    .reason = "application",
    .sent = true,
    .message = {(uint8_t *)"bad \xff text", 10, 0},
    .details = {(uint8_t *)"\x74\0\0\0\x01\x6d\0\0\0\x04type\x6d\0\0\0\x0aValueError", 29, 0},
};
static struct smx_error stray = {
    .code = SMX_INVALID_ARGUMENT, .reason = "bad_version", .message = {(uint8_t *)"no", 2, 0}};

static const struct {
    const char *name;
    struct smx_event event;
} events[] = {
    {"hello",
     {.kind = SMX_EVENT_HELLO,
      .term = TEXT("\x74\0\0\0\x01\x77\x07version\x6d\0\0\0\x05"
                   "0.1.0")}},
    {"worker", {.kind = SMX_EVENT_WORKER, .meta = {.worker = TEXT("py-1")}, .state = "ready"}},
    {"pinned",
     {.kind = SMX_EVENT_PINNED, .session = TEXT("s1"), .meta = {.worker = TEXT("py-1"), .incarnation = TEXT("i1")}}},
    {"ok", {.kind = SMX_EVENT_OK, .tag = TAG, .term = TEXT("\x77\x04pong")}},
    {"result_raw", {.kind = SMX_EVENT_RESULT, .tag = TAG, .values = PAIRS(raw), .meta = FULL_META}},
    {"result_json",
     {.kind = SMX_EVENT_RESULT, .tag = TAG, .codec = SMX_CODEC_JSON, .values = PAIRS(json), .meta = BARE_META}},
    {"result_nil",
     {.kind = SMX_EVENT_RESULT,
      .tag = TAG,
      .codec = SMX_CODEC_JSON,
      .style.null = SMX_NULL_NIL,
      .values = PAIRS(json),
      .meta = BARE_META}},
    {"result_msgpack",
     {.kind = SMX_EVENT_RESULT, .tag = TAG, .codec = SMX_CODEC_MSGPACK, .values = PAIRS(msgpack), .meta = BARE_META}},
    {"result_lenient",
     {.kind = SMX_EVENT_RESULT, .tag = TAG, .codec = SMX_CODEC_LENIENT, .values = PAIRS(old), .meta = BARE_META}},
    {"result_empty", {.kind = SMX_EVENT_RESULT, .tag = TAG, .meta = BARE_META}},
    {"chunk", {.kind = SMX_EVENT_CHUNK, .tag = TAG, .values = PAIRS(raw)}},
    {"done", {.kind = SMX_EVENT_DONE, .tag = TAG, .meta = FULL_META}},
    {"error_bare", {.kind = SMX_EVENT_ERROR, .tag = TAG, .error = &bare_error, .delivered = -1}},
    {"error_full",
     {.kind = SMX_EVENT_ERROR,
      .tag = TAG,
      .error = &full_error,
      .command = TEXT("predict"),
      .meta = {.worker = TEXT("py-1"), .request_id = TEXT("r-1")},
      .delivered = 2}},
    {"protocol_error", {.kind = SMX_EVENT_PROTOCOL_ERROR, .error = &stray, .offset = 5}},
};

static void check_vector(const struct vector *vector)
{
    struct smx_error why = {0};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (strcmp(events[i].name, vector->name) != 0)
            continue;
        struct smx_buffer out = {0};
        smx_buffer_append(&out, "\x83", 1);
        assert_true(smx_event_write(&events[i].event, true, &out, NULL, &why));
        if (!smx_span_equal(smx_buffer_span(&out), smx_buffer_span(&vector->frame)))
            fail_msg("%s: %s", vector->name, test_term_text(smx_buffer_span(&out)));
        smx_buffer_fini(&out);
        return;
    }
    fail_msg("no event for the vector %s", vector->name);
}

static void every_event_is_its_golden_frame(void **state)
{
    (void)state;
    test_vectors("event", check_vector);
}

static void values_that_cannot_be_read_leave_nothing_behind(void **state)
{
    (void)state;
    static const struct smx_pair broken[] = {{TEXT("good"), TEXT("1")}, {TEXT("bad"), TEXT("[1,")}};
    struct smx_event event = {.kind = SMX_EVENT_CHUNK, .tag = TAG, .codec = SMX_CODEC_JSON, .values = PAIRS(broken)};
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    smx_buffer_append(&out, "before", 6);
    assert_false(smx_event_write(&event, true, &out, NULL, &why));
    assert_int_equal(out.len, 6);
    assert_int_equal(why.code, SMX_INTERNAL);
    assert_int_equal(why.origin, SMX_ORIGIN_WORKER);
    assert_string_equal(why.reason, "decode");
    assert_true(why.sent);
    assert_non_null(strstr(test_text(&why.message), "\"bad\""));
    smx_error_fini(&why);
    smx_buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_is_its_golden_frame),
        cmocka_unit_test(values_that_cannot_be_read_leave_nothing_behind),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
