/* util.c and protocol.c: UTF-8, buffers, names of codes, the first error wins. */
#include "util.h"

#include "support.h"

static bool valid(const char *text)
{
    return smx_utf8_valid(smx_span_of(text), true);
}

static void utf8_is_what_the_standard_says(void **state)
{
    (void)state;
    assert_true(valid("") && valid("plain") && valid("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d"));
    assert_true(valid("\xed\x9f\xbf") && valid("\xee\x80\x80") && valid("\xf4\x8f\xbf\xbf"));
    assert_false(valid("\xc0\xaf"));         /* overlong */
    assert_false(valid("\xe0\x9f\xbf"));     /* overlong */
    assert_false(valid("\xf0\x8f\xbf\xbf")); /* overlong */
    assert_false(valid("\xed\xa0\x80"));     /* a surrogate */
    assert_false(valid("\xf4\x90\x80\x80")); /* over U+10FFFF */
    assert_false(valid("\xe2\x82"));         /* cut */
    assert_false(valid("\x80") || valid("\xff"));
    struct smx_span nul = {(const uint8_t *)"a\0b", 3};
    assert_true(smx_utf8_valid(nul, true));
    assert_false(smx_utf8_valid(nul, false));
}

static void text_from_elsewhere_becomes_valid(void **state)
{
    (void)state;
    struct smx_buffer out = {0};
    smx_buffer_append_text(&out, smx_span_of("a\xff\xe2\x82z"));
    assert_true(smx_span_is(smx_buffer_span(&out), "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz"));
    smx_buffer_fini(&out);
}

static void a_buffer_grows_and_drops(void **state)
{
    (void)state;
    struct smx_buffer buffer = {0};
    for (int i = 0; i < 1000; i++)
        smx_buffer_printf(&buffer, "%d,", i);
    assert_int_equal(buffer.len, 3890);
    smx_buffer_drop(&buffer, 3890 - 4);
    assert_true(smx_span_is(smx_buffer_span(&buffer), "999,"));
    smx_buffer_fini(&buffer);
    assert_null(buffer.data);
}

static void codes_have_names_both_ways(void **state)
{
    (void)state;
    for (int code = SMX_OK; code <= SMX_UNAUTHENTICATED; code++)
        assert_int_equal(smx_code_of(smx_span_of(smx_code_name(code))), code);
    assert_int_equal(smx_code_of(smx_span_of("NOT_FOUND")), SMX_NOT_FOUND);
    assert_int_equal(smx_code_of(smx_span_of("not_foun")), -1);
    assert_int_equal(smx_code_of(smx_span_of("not_foundd")), -1);
    assert_string_equal(smx_code_name(99), "unknown");
    assert_string_equal(smx_code_name(-1), "unknown");
}

static void the_first_error_wins(void **state)
{
    (void)state;
    struct smx_error error = {0};
    assert_false(smx_error_set(&error, SMX_NOT_FOUND, "no_worker", "there is no %s", "py"));
    assert_false(smx_error_set(&error, SMX_INTERNAL, "decode", "later"));
    assert_int_equal(error.code, SMX_NOT_FOUND);
    assert_true(smx_span_is(smx_buffer_span(&error.message), "there is no py"));
    smx_error_fini(&error);
    assert_int_equal(error.code, SMX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_what_the_standard_says), cmocka_unit_test(text_from_elsewhere_becomes_valid),
        cmocka_unit_test(a_buffer_grows_and_drops),       cmocka_unit_test(codes_have_names_both_ways),
        cmocka_unit_test(the_first_error_wins),
    };
    return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
