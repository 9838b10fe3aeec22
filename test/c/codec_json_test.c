/* codec_json.c: what is JSON and what is not, exact numbers, strings with anything in them. */
#include "codec_json.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "term.h"

/* The term as text; "!" and the fault when it can't be read. The text stands at the end of its memory. */
static const char *read_text(const char *text, size_t len)
{
    static struct smx_buffer out;
    struct smx_build build = {.out = &out, .depth = 1}; /* a value stands in a map */
    char fault[SMX_CODEC_FAULT_SIZE];
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    out.len = 0;
    bool read = smx_codec_json_read((struct smx_span){copy, len}, &build, fault);
    free(copy);
    assert_true(!read || build.depth == 1);
    smx_build_fini(&build);
    if (read)
        return test_term_text(smx_buffer_span(&out));
    out.len = 0;
    smx_buffer_printf(&out, "!%s", fault);
    return test_text(&out);
}

static void values_become_terms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *term;
    } cases[] = {
        {"null", "null"},
        {" true ", "true"},
        {"[]", "[]"},
        {"{}", "#{}"},
        {"[1,[2,{\"a\":[]}]]", "[1,[2,#{<<\"a\">>=>[]}]]"},
        {"{\"a\":{\"b\":{}},\"c\":false}", "#{<<\"a\">>=>#{<<\"b\">>=>#{}},<<\"c\">>=>false}"},
        {"\"\"", "<<\"\">>"},
        {"\"a\\u0000b\"", "<<\"a\\x00b\">>"},
        {"{\"\\u0000\":1}", "#{<<\"\\x00\">>=>1}"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "<<\"\\x22\\x5c/\\x08\\x0c\\x0a\\x0d\\x09\">>"},
        {"\"\\u00e9\\u20ac\\ud83d\\ude00\"", "<<\"\\xc3\\xa9\\xe2\\x82\\xac\\xf0\\x9f\\x98\\x80\">>"},
        {"\"\\\\ud800\"", "<<\"\\x5cud800\">>"},
        {"\"\xc3\xa9\"", "<<\"\\xc3\\xa9\">>"},
        {"\"\x7f\"", "<<\"\\x7f\">>"},
        {"0", "0"},
        {"-0", "0"},
        {"18446744073709551615", "18446744073709551615"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1.0", "1.0"},
        {"1e2", "100.0"},
        {"1E-2", "0.01"},
        {"-0.0", "-0.0"},
        {"123456789012345678901234567890.0", "1.2345678901234568e+29"},
        {"1e-400", "0.0"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(read_text(cases[i].text, strlen(cases[i].text)), cases[i].term);
}

static void what_no_term_can_be_is_a_fault(void **state)
{
    (void)state;
    static const char *const integer = "!an integer is outside -2^63..2^64-1";
    static const char *const half = "!a string has half a surrogate pair";
    static const char *const utf8 = "!a string is not valid UTF-8";
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"18446744073709551616", integer},
        {"-9223372036854775809", integer},
        {"100000000000000000000000000000000", integer},
        {"1e400", "!a number is outside the range of a double"},
        {"-1e400", "!a number is outside the range of a double"},
        {"\"\\ud800\"", half},
        {"\"\\ud800x\"", half},
        {"\"\\udc00\"", half},
        {"\"\\ud800\\ud800\"", half},
        {"\"\\ud800\\n\"", half},
        {"\"\\uDBFF\\u0041\"", half},
        {"{\"\\ud800\":1}", half},
        {"\"\xed\xa0\x80\"", utf8},
        {"\"\xc0\x80\"", utf8},
        {"\"\xff\"", utf8},
        {"\"\xf4\x90\x80\x80\"", utf8},
        {"", "!it is empty"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(read_text(cases[i].text, strlen(cases[i].text)), cases[i].fault);
}

static void what_is_not_json_is_a_fault(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "NaN",    "Infinity", "-Infinity", "nul",     "[1,]",      "[1 2]",  "{\"a\"}", "{a:1}",      "{1:1}",
        "'a'",    "01",       "1.",        ".5",      "+1",        "-",      "1e",      "[",          "]",
        "{",      "}",        "\"",        "\"\\x\"", "\"\\u12\"", "[1]]",   "1 2",     "{\"a\":1,}", "//x\n1",
        "\"\n\"", "\"\x01\"", "[,1]",      "\"\\ud8", "\\ud800",   "\"a\\",  "tru",     "[tru]",      " ",
        ",",      ":",        "1,",        "true\"",  "1 \"",      "[] \"a", "/**/1",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (read_text(cases[i], strlen(cases[i]))[0] != '!')
            fail_msg("%s was read", cases[i]);
    assert_int_equal(read_text("1\0", 2)[0], '!');
    assert_int_equal(read_text("\"a\0b\"", 5)[0], '!');
}

static void values_nest_64_levels(void **state)
{
    (void)state;
    char text[3 * 65];
    for (size_t levels = 64; levels <= 65; levels++) {
        memset(text, '[', levels);
        memset(text + levels, ']', levels);
        assert_int_equal(read_text(text, 2 * levels)[0] == '!', levels == 65);
    }
    struct smx_buffer deep = {0};
    for (size_t i = 0; i < 100000; i++)
        smx_buffer_append(&deep, "{\"\":", 4);
    assert_string_equal(read_text((const char *)deep.data, deep.len), "!nested deeper than 64 levels");
    smx_buffer_fini(&deep);
}

static void expect_double(double value, const char *text)
{
    struct smx_buffer out = {0};
    smx_codec_json_writer.put(&out, &(struct smx_value){SMX_VALUE_DOUBLE, .fraction = value});
    if (text)
        assert_string_equal(test_text(&out), text);
    assert_true(strtod(test_text(&out), NULL) == value);
    assert_non_null(strpbrk(test_text(&out), ".e"));
    smx_buffer_fini(&out);
}

static void doubles_have_short_text_and_stay_doubles(void **state)
{
    (void)state;
    expect_double(1.0, "1.0");
    expect_double(0.1, "0.1");
    expect_double(-0.0, "-0.0");
    expect_double(100.0, "100.0");
    expect_double(1e22, "1e+22");
    expect_double(1e15, "1e+15");
    expect_double(123456789.125, "123456789.125");
    expect_double(5e-324, NULL);
    expect_double(DBL_MAX, NULL);
    expect_double(0.1 + 0.2, "0.30000000000000004");
    expect_double(1.0 / 3.0, NULL);
    srand(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (value - value == 0)
            expect_double(value, NULL);
    }
}

static void strings_are_escaped_where_they_must_be(void **state)
{
    (void)state;
    struct smx_buffer out = {0};
    smx_codec_json_writer.put(
        &out, &(struct smx_value){SMX_VALUE_STRING, .span = {(const uint8_t *)"a\"\\/\n\x1f\0\x7f\xc3\xa9z", 11}});
    assert_string_equal(test_text(&out), "\"a\\\"\\\\/\\u000a\\u001f\\u0000\x7f\xc3\xa9z\"");
    smx_buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_become_terms),
        cmocka_unit_test(what_no_term_can_be_is_a_fault),
        cmocka_unit_test(what_is_not_json_is_a_fault),
        cmocka_unit_test(values_nest_64_levels),
        cmocka_unit_test(doubles_have_short_text_and_stay_doubles),
        cmocka_unit_test(strings_are_escaped_where_they_must_be),
    };
    return cmocka_run_group_tests_name("codec_json", tests, NULL, NULL);
}
