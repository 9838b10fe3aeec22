/* codec_msgpack.c: every format of the specification, and what is broken or can't be a term. */
#include "codec_msgpack.h"

#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "term.h"

/* The term as text; "!" and the fault when it can't be read. The bytes stand at the end of their memory. */
static const char *read_bytes(const struct smx_buffer *bytes, size_t len)
{
    static struct smx_buffer out;
    struct smx_build build = {.out = &out, .depth = 1}; /* a value stands in a map */
    char fault[SMX_CODEC_FAULT_SIZE];
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes->data, len);
    out.len = 0;
    bool read = smx_codec_msgpack_read((struct smx_span){copy, len}, &build, fault);
    free(copy);
    assert_true(!read || build.depth == 1);
    smx_build_fini(&build);
    if (read)
        return test_term_text(smx_buffer_span(&out));
    out.len = 0;
    smx_buffer_printf(&out, "!%s", fault);
    return test_text(&out);
}

static const char *read_hex(const char *hex)
{
    static struct smx_buffer bytes;
    bytes.len = 0;
    smx_buffer_reserve(&bytes, 1);
    test_put_hex(&bytes, hex);
    return read_bytes(&bytes, bytes.len);
}

static const struct {
    const char *hex, *term;
} formats[] = {
    {"c0", "null"},
    {"c2", "false"},
    {"c3", "true"},
    {"00", "0"},
    {"7f", "127"},
    {"ff", "-1"},
    {"e0", "-32"},
    {"ccff", "255"},
    {"cdffff", "65535"},
    {"ceffffffff", "4294967295"},
    {"cfffffffffffffffff", "18446744073709551615"},
    {"d080", "-128"},
    {"d18000", "-32768"},
    {"d280000000", "-2147483648"},
    {"d38000000000000000", "-9223372036854775808"},
    {"d37fffffffffffffff", "9223372036854775807"},
    {"ca3fc00000", "1.5"},
    {"cb3fb999999999999a", "0.10000000000000001"},
    {"a0", "<<\"\">>"},
    {"a3610062", "<<\"a\\x00b\">>"},
    {"d90161", "<<\"a\">>"},
    {"da000161", "<<\"a\">>"},
    {"db0000000161", "<<\"a\">>"},
    {"c402ff00", "<<\"\\xff\\x00\">>"},
    {"c50001ff", "<<\"\\xff\">>"},
    {"c600000001ff", "<<\"\\xff\">>"},
    {"90", "[]"},
    {"93010203", "[1,2,3]"},
    {"dc000101", "[1]"},
    {"dd0000000101", "[1]"},
    {"80", "#{}"},
    {"81a16101", "#{<<\"a\">>=>1}"},
    {"de0001a16101", "#{<<\"a\">>=>1}"},
    {"df00000001a16101", "#{<<\"a\">>=>1}"},
    {"8201c3ffc2", "#{1=>true,-1=>false}"},
    {"83cc01010102a13103", "#{1=>2,<<\"1\">>=>3}"},
    {"81a1619181a162c0", "#{<<\"a\">>=>[#{<<\"b\">>=>null}]}"},
};

static void every_format_is_read_whole_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct smx_buffer bytes = {0};
        test_put_hex(&bytes, formats[i].hex);
        assert_string_equal(read_bytes(&bytes, bytes.len), formats[i].term);
        for (size_t len = 0; len < bytes.len; len++)
            if (strcmp(read_bytes(&bytes, len), "!it is truncated") != 0)
                fail_msg("%s: %zu bytes are enough", formats[i].hex, len);
        test_put_hex(&bytes, "c0");
        assert_string_equal(read_bytes(&bytes, bytes.len), "!there are bytes behind the value");
        smx_buffer_fini(&bytes);
    }
}

static void what_no_term_can_be_is_a_fault(void **state)
{
    (void)state;
    static const char *const key = "!the key of a map is neither a string nor an integer";
    static const struct {
        const char *hex, *fault;
    } cases[] = {
        {"ca7fc00000", "!a number is NaN or infinite"},
        {"cb7ff0000000000000", "!a number is NaN or infinite"},
        {"a1ff", "!a string is not valid UTF-8"},
        {"a3eda080", "!a string is not valid UTF-8"},
        {"d6ff00000000", "!extension type -1 is not supported"},
        {"d405ff", "!extension type 5 is not supported"},
        {"c70107ff", "!extension type 7 is not supported"},
        {"c8000107ff", "!extension type 7 is not supported"},
        {"c9ffffffff07", "!extension type 7 is not supported"},
        {"c9ffffffff01", "!it is truncated"},
        {"c7020161", "!it is truncated"},
        {"c7010161", "!an array isn't a .npy file of version 1.0"},
        {"d40161", "!an array isn't a .npy file of version 1.0"},
        {"c1", "!0xc1 is not MessagePack"},
        {"81c001", key},
        {"81c301", key},
        {"81909001", key},
        {"81c4016101", key},
        {"81cb3ff000000000000001", key},
        {"81d4010101", key},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(read_hex(cases[i].hex), cases[i].fault);
}

static void a_header_that_claims_more_takes_no_memory(void **state)
{
    (void)state;
    static const char *const hostile[] = {"ddffffffff",   "dfffffffff",       "dbffffffff61",
                                          "c6ffffffff61", "ddffffffffc0c0c0", "dfffffffff01"};
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
        assert_string_equal(read_hex(hostile[i]), "!it is truncated");
}

static void values_nest_64_levels(void **state)
{
    (void)state;
    for (size_t levels = 64; levels <= 65; levels++) {
        struct smx_buffer bytes = {0};
        for (size_t i = 1; i < levels; i++)
            test_put_hex(&bytes, i % 2 ? "91" : "8101");
        test_put_hex(&bytes, "90");
        assert_int_equal(read_bytes(&bytes, bytes.len)[0] == '!', levels == 65);
        smx_buffer_fini(&bytes);
    }
    struct smx_buffer deep = {0};
    for (size_t i = 0; i < 100000; i++)
        test_put_hex(&deep, "91");
    assert_string_equal(read_bytes(&deep, deep.len), "!nested deeper than 64 levels");
    smx_buffer_fini(&deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_read_whole_only),
        cmocka_unit_test(what_no_term_can_be_is_a_fault),
        cmocka_unit_test(a_header_that_claims_more_takes_no_memory),
        cmocka_unit_test(values_nest_64_levels),
    };
    return cmocka_run_group_tests_name("codec_msgpack", tests, NULL, NULL);
}
