/* term.c: the check lets nothing pass that the reader could stumble over; what is written is what the BEAM writes. */
#include "term.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol.h"
#include "support.h"

/* A kind of term each, as a BEAM (OTP 25 and later) or a C node encodes it. */
static const char *const sound[] = {
    "6100",                     /* 0 */
    "62fffffffe",               /* -2 */
    "463ff8000000000000",       /* 1.5 */
    "6e0800000000000000ffff",   /* a big integer of 8 bytes */
    "6e09000000000000000000ff", /* of 9 */
    "6f00000003000102ff",       /* LARGE_BIG */
    "64000161",                 /* a, in all four ways */
    "730161",
    "76000161",
    "770161",
    "7300",                             /* '' */
    "7304f09f9880",                     /* Latin-1 takes any byte */
    "6b00026162",                       /* "ab" */
    "6c00000001620000012c6a",           /* [300] */
    "6c0000000161016102",               /* [1 | 2] */
    "6a",                               /* [] */
    "6d00000003616263",                 /* <<"abc">> */
    "4d0000000103e0",                   /* <<7:3>> */
    "6800",                             /* {} */
    "69000000026101770161",             /* a large tuple */
    "7400000001770161770162",           /* #{a => b} */
    "587701400000002a0000000000000000", /* pids */
    "677701400000002a0000000000",
    "78770140000000000000000100000000", /* ports */
    "597701400000000100000000",
    "667701400000000100",
    "5a0002770140000000000000000100000002", /* references */
    "720002770140000000000100000002",
    "71770665726c616e6777036162736101", /* fun erlang:abs/1 */
    "700000000811223344",               /* another fun */
};

/* At the end of its memory, so that a read behind it is seen. */
static bool check(const struct smx_buffer *term, size_t len, size_t *at)
{
    const char *why = NULL;
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, term->data, len);
    *at = 0;
    bool found = smx_term_check((struct smx_span){copy, len}, at, &why);
    size_t skipped = 0;
    bool skips = smx_term_skip((struct smx_span){copy, len}, &skipped);
    if (found)
        assert_true(skips && skipped == *at);
    else
        assert_non_null(why);
    assert_true(*at <= len);
    free(copy);
    return found;
}

static bool check_hex(const char *hex)
{
    struct smx_buffer term = {0};
    size_t at;
    test_put_hex(&term, hex);
    bool found = check(&term, term.len, &at) && at == term.len;
    smx_buffer_fini(&term);
    return found;
}

static void every_kind_of_term_is_accepted_whole_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
        struct smx_buffer term = {0};
        size_t at;
        test_put_hex(&term, sound[i]);
        if (!check(&term, term.len, &at) || at != term.len)
            fail_msg("%s: ends at %zu", sound[i], at);
        for (size_t len = 0; len < term.len; len++)
            if (check(&term, len, &at))
                fail_msg("%s: %zu bytes are enough", sound[i], len);
        smx_buffer_fini(&term);
    }
}

static void what_claims_more_than_there_is_is_refused(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "6d000003e8616263",
        "6dfffffff0616263",
        "6c800000006100",
        "69ffffffff",
        "74ffffffff",
        "6fffffffff00",
        "6b0003616263ff",
        "4dffffffff08",
        "5affff7701400000",
        "700000000300",
        "70ffffffff00000000",
        "77ff61",
        "68ff6100",
        "6c000000006a",
        "7400000001",
        "7702c328",
        "7703eda080",
        "7600026180",
        "64010061",
        "5800000000000000000000000000",
        "677701400000",
        "50",
        "83",
        "00",
        "ff",
        "4300",
        "5200",
        "79",
    };
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
        if (check_hex(hostile[i]))
            fail_msg("%s was accepted", hostile[i]);
}

static void nesting_is_bounded_whatever_nests(void **state)
{
    (void)state;
    static const char *const levels[] = {"6801", "6c00000001", "74000000016100"};
    enum { MOST = SMX_MAX_DEPTH + 4 };
    for (size_t i = 0; i < 3; i++) {
        for (size_t over = 0; over < 2; over++) {
            struct smx_buffer term = {0};
            const char *why = NULL;
            size_t at = 0;
            for (size_t level = 0; level < MOST + over; level++)
                test_put_hex(&term, levels[i]);
            for (size_t level = 0; level < MOST + over + 1; level++)
                test_put_hex(&term, "6a");
            assert_int_equal(smx_term_check(smx_buffer_span(&term), &at, &why), over == 0);
            at = 0;
            assert_true(smx_term_skip(smx_buffer_span(&term), &at));
            smx_buffer_fini(&term);
        }
    }
}

static struct smx_span span_of_hex(const char *hex)
{
    static struct smx_buffer term;
    term.len = 0;
    test_put_hex(&term, hex);
    return smx_buffer_span(&term);
}

static void integers_are_read_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool is_int, is_uint;
        int64_t value;
    } cases[] = {
        {"61ff", true, true, 255},
        {"62ffffffff", true, false, -1},
        {"6280000000", true, false, INT32_MIN},
        {"6e08000000000000000080", false, true, INT64_MIN},
        {"6e08010000000000000080", true, false, INT64_MIN},
        {"6e08010100000000000080", false, false, 0},
        {"6e0800ffffffffffffff7f", true, true, INT64_MAX},
        {"6e0800ffffffffffffffff", false, true, -1},
        {"6e0900000000000000000001", false, false, 0},
        {"6e0900010000000000000000", true, true, 1},
        {"6e0000", true, true, 0},
        {"6f000000010001", false, false, 0},
        {"463ff0000000000000", false, false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value;
        uint64_t large;
        size_t at = 0;
        struct smx_span term = span_of_hex(cases[i].hex);
        assert_int_equal(smx_term_get_int(term, &at, &value), cases[i].is_int);
        assert_int_equal(at, cases[i].is_int ? term.len : 0);
        if (cases[i].is_int)
            assert_int_equal(value, cases[i].value);
        at = 0;
        assert_int_equal(smx_term_get_uint(term, &at, &large), cases[i].is_uint);
        if (cases[i].is_uint)
            assert_int_equal(large, (uint64_t)cases[i].value);
    }
}

static void atoms_are_read_as_utf8(void **state)
{
    (void)state;
    char name[SMX_TERM_ATOM_SIZE];
    size_t at = 0;
    assert_true(smx_term_get_atom(span_of_hex("640002e941"), &at, name));
    assert_string_equal(name, "\xc3\xa9"
                              "A");
    at = 0;
    assert_true(smx_term_get_atom(span_of_hex("7704f09f9880"), &at, name));
    assert_string_equal(name, "\xf0\x9f\x98\x80");
    at = 0;
    assert_false(smx_term_get_atom(span_of_hex("7703610062"), &at, name));
    assert_false(smx_term_get_atom(span_of_hex("6d0000000161"), &at, name));
    assert_int_equal(at, 0);
}

static void a_long_atom_fits(void **state)
{
    (void)state;
    char name[SMX_TERM_ATOM_SIZE];
    struct smx_buffer term = {0};
    size_t at = 0;
    test_put_hex(&term, "7603fc");
    for (int i = 0; i < 255; i++)
        test_put_hex(&term, "f09f9880");
    assert_true(check(&term, term.len, &at));
    at = 0;
    assert_true(smx_term_get_atom(smx_buffer_span(&term), &at, name));
    assert_int_equal(strlen(name), 255 * 4);
    smx_buffer_fini(&term);
}

static void no_float_is_read_that_is_none(void **state)
{
    (void)state;
    double value;
    size_t at = 0;
    assert_true(smx_term_get_double(span_of_hex("463fb999999999999a"), &at, &value));
    assert_true(value == 0.1);
    at = 0;
    assert_false(smx_term_get_double(span_of_hex("467ff8000000000000"), &at, &value));
    assert_false(smx_term_get_double(span_of_hex("467ff0000000000000"), &at, &value));
    assert_int_equal(at, 0);
}

static void expect_written(struct smx_buffer *out, const char *hex)
{
    struct smx_span wanted = span_of_hex(hex);
    assert_int_equal(out->len, wanted.len);
    assert_memory_equal(out->data, wanted.data, wanted.len);
    out->len = 0;
}

static void the_writer_writes_what_the_beam_does(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *hex;
    } integers[] = {
        {0, "6100"},
        {255, "61ff"},
        {256, "6200000100"},
        {-1, "62ffffffff"},
        {INT32_MAX, "627fffffff"},
        {INT32_MIN, "6280000000"},
        {(int64_t)INT32_MAX + 1, "6e040000000080"},
        {(int64_t)INT32_MIN - 1, "6e040101000080"},
        {INT64_MAX, "6e0800ffffffffffffff7f"},
        {INT64_MIN, "6e08010000000000000080"},
    };
    struct smx_buffer out = {0};
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        smx_term_put_int(&out, integers[i].value);
        expect_written(&out, integers[i].hex);
    }
    smx_term_put_uint(&out, UINT64_MAX);
    expect_written(&out, "6e0800ffffffffffffffff");
    smx_term_put_uint(&out, 7);
    expect_written(&out, "6107");
    smx_term_put_double(&out, -0.0);
    expect_written(&out, "468000000000000000");
    smx_term_put_atom(&out, "ok");
    expect_written(&out, "77026f6b");
    smx_term_put_bool(&out, true);
    expect_written(&out, "770474727565");
    smx_term_put_text(&out, "hi");
    expect_written(&out, "6d000000026869");
    smx_term_put_binary(&out, (struct smx_span){0});
    expect_written(&out, "6d00000000");
    smx_term_put_tuple(&out, 2);
    expect_written(&out, "6802");
    smx_term_put_tuple(&out, 256);
    expect_written(&out, "6900000100");
    smx_term_put_map(&out, 1);
    expect_written(&out, "7400000001");
    smx_term_put_list(&out, 0);
    smx_term_set_count(&out, 0, 0x01020304);
    smx_term_put_nil(&out);
    expect_written(&out, "6c010203046a");
    smx_buffer_fini(&out);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    static const double doubles[] = {0.0, -0.0, 1.5, DBL_MAX, DBL_MIN, DBL_TRUE_MIN, 0.1};
    struct smx_buffer out = {0};
    for (int shift = 0; shift < 64; shift++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            int64_t wanted = sign * (int64_t)((UINT64_C(1) << shift) - 1);
            int64_t value;
            size_t at = 0;
            out.len = 0;
            smx_term_put_int(&out, wanted);
            assert_true(smx_term_get_int(smx_buffer_span(&out), &at, &value));
            assert_int_equal(value, wanted);
            assert_int_equal(at, out.len);
        }
    }
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
        double value;
        size_t at = 0;
        out.len = 0;
        smx_term_put_double(&out, doubles[i]);
        assert_true(smx_term_get_double(smx_buffer_span(&out), &at, &value));
        assert_memory_equal(&value, &doubles[i], sizeof(value));
    }
    smx_buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_term_is_accepted_whole_only),
        cmocka_unit_test(what_claims_more_than_there_is_is_refused),
        cmocka_unit_test(nesting_is_bounded_whatever_nests),
        cmocka_unit_test(integers_are_read_exactly),
        cmocka_unit_test(atoms_are_read_as_utf8),
        cmocka_unit_test(a_long_atom_fits),
        cmocka_unit_test(no_float_is_read_that_is_none),
        cmocka_unit_test(the_writer_writes_what_the_beam_does),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests_name("term", tests, NULL, NULL);
}
