/* splice.c and its two formats: values are found and put together as the bytes they are; what isn't one is refused. */
#include "splice.h"

#include <string.h>

#include "codec_json.h"
#include "support.h"

static struct smx_span span(const char *text)
{
    return smx_span_of(text);
}

static void json_is_strict(void **state)
{
    (void)state;
    static const char *const good[] = {"null",
                                       "true",
                                       "false",
                                       "0",
                                       "-0",
                                       "1.5e-10",
                                       "1E+2",
                                       "\"\"",
                                       "\"\\u00e9\\ud83d\\udc0d\\n\\/\"",
                                       "[]",
                                       "{}",
                                       " [ 1 , { \"a\" : [ ] } , \"\xc3\xa9\" ] ",
                                       "{\"a\":{\"b\":{\"c\":[[[]]]}},\"d\":1}",
                                       "123456789012345678901234567890",
                                       "\"a longer text of plain letters, then one \xf0\x9f\x90\x8d\""};
    static const char *const bad[] = {"",
                                      " ",
                                      "nul",
                                      "NaN",
                                      "Infinity",
                                      "-Infinity",
                                      "01",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "+1",
                                      "--1",
                                      "\"",
                                      "\"\\",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\ud83d\"",
                                      "\"\\udc0d\"",
                                      "\"\\ud83d\\u0041\"",
                                      "\"\xff\"",
                                      "\"\xc3\"",
                                      "\"\x01\"",
                                      "\"tab\there\"",
                                      "[",
                                      "]",
                                      "[1",
                                      "[1,]",
                                      "[,1]",
                                      "{",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{1:1}",
                                      "[1}",
                                      "{\"a\":1]",
                                      "1 2",
                                      "[]]",
                                      "'a'",
                                      "tru",
                                      "[1 2]",
                                      "{\"a\" 1}",
                                      "\"\xed\xa0\x80\""};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(smx_splice_is_value(SMX_CODEC_JSON, span(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(smx_splice_is_value(SMX_CODEC_JSON, span(bad[i])));
    assert_false(smx_splice_is_value(SMX_CODEC_JSON, (struct smx_span){(const uint8_t *)"\"\0\"", 3}));
}

static void depth_is_bounded_by_levels_not_by_the_stack(void **state)
{
    (void)state;
    struct smx_buffer text = {0};
    for (int i = 0; i < SMX_SPLICE_LEVELS; i++)
        smx_buffer_append(&text, "[", 1);
    for (int i = 0; i < SMX_SPLICE_LEVELS; i++)
        smx_buffer_append(&text, "]", 1);
    assert_true(smx_splice_is_value(SMX_CODEC_JSON, smx_buffer_span(&text)));
    text.len = 0;
    for (int i = 0; i < 1000000; i++)
        smx_buffer_append(&text, "[", 1);
    assert_false(smx_splice_is_value(SMX_CODEC_JSON, smx_buffer_span(&text)));
    memset(text.data, 0x91, text.len);
    text.data[text.len - 1] = 0xc0;
    assert_true(smx_splice_is_value(SMX_CODEC_MSGPACK, smx_buffer_span(&text)));
    smx_buffer_fini(&text);
}

static void msgpack_is_well_formed(void **state)
{
    (void)state;
    static const char *const good[] = {"c0",
                                       "c2",
                                       "c3",
                                       "00",
                                       "7f",
                                       "e0",
                                       "ff",
                                       "cc80",
                                       "cdffff",
                                       "ceffffffff",
                                       "cfffffffffffffffff",
                                       "d0ff",
                                       "d3ffffffffffffffff",
                                       "ca00000000",
                                       "cb0000000000000000",
                                       "a0",
                                       "a161",
                                       "d90161",
                                       "da000161",
                                       "db0000000161",
                                       "c400",
                                       "c401ff",
                                       "c50001ff",
                                       "c600000001ff",
                                       "90",
                                       "9101",
                                       "dc000101",
                                       "dd0000000101",
                                       "80",
                                       "81a16101",
                                       "de0001a16101",
                                       "df00000001a16101",
                                       "810102",
                                       "d401ff",
                                       "d8010123456789abcdef0123456789abcdef",
                                       "c7010aff",
                                       "c8000101ff",
                                       "c90000000101ff",
                                       "93c0c2c3"};
    static const char *const bad[] = {"",       "c1",         "cc",         "cd00",       "a1",   "d9",
                                      "d901",   "da0001",     "dbffffffff", "c4",         "c401", "91",
                                      "9201",   "dc0001",     "dd00000001", "ddffffffff", "81",   "8101",
                                      "81a161", "dfffffffff", "d401",       "c7",         "c701", "0000"};
    struct smx_buffer bytes = {0};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++, bytes.len = 0) {
        test_put_hex(&bytes, good[i]);
        assert_true(smx_splice_is_value(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes)));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++, bytes.len = 0) {
        test_put_hex(&bytes, bad[i]);
        assert_false(smx_splice_is_value(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes)));
    }
    smx_buffer_fini(&bytes);
}

static void a_map_is_cut_into_its_pairs(void **state)
{
    (void)state;
    struct smx_values pairs;
    assert_true(smx_splice_map(SMX_CODEC_JSON,
                               span("{ \"a\" : 1.50 , \"b\\u00e9\\n\" : [ 1,2 ] , \"\" : {\"x\":null} } "), &pairs));
    assert_int_equal(pairs.count, 3);
    assert_true(smx_span_is(pairs.items[0].key, "a") && smx_span_is(pairs.items[0].value, "1.50"));
    assert_true(smx_span_is(pairs.items[1].key, "b\xc3\xa9\n") && smx_span_is(pairs.items[1].value, "[ 1,2 ]"));
    assert_true(smx_span_is(pairs.items[2].key, "") && smx_span_is(pairs.items[2].value, "{\"x\":null}"));
    assert_true(smx_span_is(smx_splice_find(&pairs, "a"), "1.50"));
    assert_int_equal(smx_splice_find(&pairs, "c").len, 0);
    smx_values_fini(&pairs);

    struct smx_buffer bytes = {0};
    test_put_hex(&bytes, "82a161cd0100d90162c401ff");
    assert_true(smx_splice_map(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes), &pairs));
    assert_int_equal(pairs.count, 2);
    assert_true(smx_span_is(pairs.items[1].key, "b"));
    assert_int_equal(pairs.items[1].value.len, 3);
    smx_values_fini(&pairs);
    smx_buffer_fini(&bytes);
}

static void what_is_no_map_with_text_keys_is_refused(void **state)
{
    (void)state;
    static const char *const others[] = {"[]",          "1",  "\"a\"", "{\"a\":1} x", "{\"a\":1", "{\"a\\u0000\":1}",
                                         "{\"a\":NaN}", "{,}"};
    struct smx_values pairs;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(smx_splice_map(SMX_CODEC_JSON, span(others[i]), &pairs));
    static const char *const packed[] = {"90",       "810102", "81c4016101", "81a1ff01",
                                         "81a10001", "81a161", "dfffffffff", "8000"};
    struct smx_buffer bytes = {0};
    for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++, bytes.len = 0) {
        test_put_hex(&bytes, packed[i]);
        assert_false(smx_splice_map(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes), &pairs));
    }
    smx_buffer_fini(&bytes);
}

static void unwrap_and_wrap_are_opposites(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"a\":1,\"b\":[2.50]}", "{}",  "[1,2]", "\"x\"",
                                        "{\"snakemux.value\":1}", "null"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct smx_values pairs;
        struct smx_buffer out = {0};
        smx_splice_unwrap(SMX_CODEC_JSON, span(texts[i]), &pairs);
        smx_splice_wrap(SMX_CODEC_JSON, (struct smx_pairs){pairs.items, pairs.count}, &out);
        assert_string_equal(test_text(&out), texts[i]);
        smx_values_fini(&pairs);
        smx_buffer_fini(&out);
    }
}

static void text_that_is_no_utf8_becomes_bytes(void **state)
{
    (void)state;
    struct smx_buffer bytes = {0}, out = {0}, wanted = {0};
    test_put_hex(&bytes, "82a161a2ff00a16292a3616263d901fe");
    assert_true(smx_splice_mend(smx_buffer_span(&bytes), &out));
    test_put_hex(&wanted, "82a161c402ff00a16292a3616263c401fe");
    assert_true(smx_span_equal(smx_buffer_span(&out), smx_buffer_span(&wanted)));
    bytes.len = out.len = 0;
    test_put_hex(&bytes, "81a161a3616263");
    assert_false(smx_splice_mend(smx_buffer_span(&bytes), &out));
    assert_int_equal(out.len, 0);
    smx_buffer_fini(&bytes);
    smx_buffer_fini(&out);
    smx_buffer_fini(&wanted);
}

static void extensions_are_found_wherever_they_stand(void **state)
{
    (void)state;
    static const char *const with[] = {"d40161",           "c7010161",
                                       "c800010161",       "c9000000010161",
                                       "9201d6ff00000000", "81a16191d80100000000000000000000000000000000"};
    static const char *const without[] = {"c0", "a3c70101", "c403c70101", "9281a161cfc7c7c7c7c7c7c7c7c3"};
    for (size_t i = 0; i < 6; i++) {
        struct smx_buffer bytes = {0};
        test_put_hex(&bytes, with[i]);
        assert_true(smx_splice_is_value(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes)));
        assert_true(smx_splice_has_extension(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes)));
        assert_false(smx_splice_has_extension(SMX_CODEC_JSON, smx_buffer_span(&bytes)));
        smx_buffer_fini(&bytes);
    }
    for (size_t i = 0; i < 4; i++) {
        struct smx_buffer bytes = {0};
        test_put_hex(&bytes, without[i]);
        assert_true(smx_splice_is_value(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes)));
        assert_false(smx_splice_has_extension(SMX_CODEC_MSGPACK, smx_buffer_span(&bytes)));
        smx_buffer_fini(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_strict),
        cmocka_unit_test(depth_is_bounded_by_levels_not_by_the_stack),
        cmocka_unit_test(msgpack_is_well_formed),
        cmocka_unit_test(a_map_is_cut_into_its_pairs),
        cmocka_unit_test(what_is_no_map_with_text_keys_is_refused),
        cmocka_unit_test(unwrap_and_wrap_are_opposites),
        cmocka_unit_test(text_that_is_no_utf8_becomes_bytes),
        cmocka_unit_test(extensions_are_found_wherever_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
