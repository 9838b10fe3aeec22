/* codec.c, codec_encode.c, build.c: the mapping, and the path in what is refused. */
#include "codec.h"

#include <stdio.h>
#include <string.h>

#include "support.h"
#include "term.h"

/* "key=value key=value", values as they are (JSON) or in hex; or the message of what is refused. */
static const char *encoded(enum smx_codec codec, const char *text)
{
    static struct smx_buffer found;
    struct smx_buffer term = {0};
    struct smx_values values = {0};
    struct smx_error why = {0};
    found.len = 0;
    assert_int_equal(*test_put_term(&term, text), 0);
    if (smx_codec_encode_args(codec, smx_buffer_span(&term), &values, &why)) {
        for (size_t i = 0; i < values.count; i++) {
            struct smx_span value = values.items[i].value;
            smx_buffer_printf(&found, "%s%.*s=", i > 0 ? " " : "", (int)values.items[i].key.len,
                              (const char *)values.items[i].key.data);
            for (size_t j = 0; codec == SMX_CODEC_MSGPACK && j < value.len; j++)
                smx_buffer_printf(&found, "%02x", value.data[j]);
            if (codec != SMX_CODEC_MSGPACK)
                smx_buffer_append_span(&found, value);
        }
    } else {
        assert_int_equal(why.code, SMX_INVALID_ARGUMENT);
        assert_string_equal(why.reason, "encode");
        assert_int_equal(why.origin, SMX_ORIGIN_MUX);
        assert_false(why.sent);
        smx_buffer_append_span(&found, smx_buffer_span(&why.message));
    }
    smx_values_fini(&values);
    smx_error_fini(&why);
    smx_buffer_fini(&term);
    return test_text(&found);
}

static void values_are_mapped_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *term, *json, *msgpack;
    } cases[] = {
        {"#{}", "", ""},
        {"#{<<\"a\">>=><<\"text\">>}", "a=\"text\"", "a=a474657874"},
        {"#{a=><<\"\">>,b=>[],c=>#{}}", "a=\"\" b=[] c={}", "a=a0 b=90 c=80"},
        {"#{1=>true,-2=>false}", "1=true -2=false", "1=c3 -2=c2"},
        {"#{a=>nil,b=>null,c=>undefined}", "a=null b=null c=null", "a=c0 b=c0 c=c0"},
        {"#{a=>some_atom}", "a=\"some_atom\"", "a=a9736f6d655f61746f6d"},
        {"#{a=>[0,127,128,255,256]}", "a=[0,127,128,255,256]", "a=95007fcc80ccffcd0100"},
        {"#{a=>[-1,-32,-33,-129]}", "a=[-1,-32,-33,-129]", "a=94ffe0d0dfd1ff7f"},
        {"#{a=>18446744073709551615}", "a=18446744073709551615", "a=cfffffffffffffffff"},
        {"#{a=>-9223372036854775808}", "a=-9223372036854775808", "a=d38000000000000000"},
        {"#{a=>1.0}", "a=1.0", "a=cb3ff0000000000000"},
        {"#{a=>0.1,b=>-0.0}", "a=0.1 b=-0.0", "a=cb3fb999999999999a b=cb8000000000000000"},
        {"#{a=>\"abc\"}", "a=[97,98,99]", "a=93616263"},
        {"#{a=>[[1],[[]]]}", "a=[[1],[[]]]",
         "a=92910191"
         "90"},
        {"#{a=>#{x=>1,<<\"y\">>=>2,3=>4}}", "a={\"x\":1,\"y\":2,\"3\":4}", "a=83a17801a17902a13304"},
        {"#{a=>#{18446744073709551615=>1}}", "a={\"18446744073709551615\":1}",
         "a=81b4313834343637343430373337303935353136313501"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(encoded(SMX_CODEC_JSON, cases[i].term), cases[i].json);
        assert_string_equal(encoded(SMX_CODEC_MSGPACK, cases[i].term), cases[i].msgpack);
    }
}

static void what_can_not_be_sent_is_named_by_its_path(void **state)
{
    (void)state;
    static const struct {
        const char *term, *message;
    } cases[] = {
        {"#{a=>{1,2}}", "args.a: a tuple can't be sent: make it a list or a map"},
        {"#{a=>{}}", "args.a: a tuple can't be sent: make it a list or a map"},
        {"#{items=>[0,1,2,{x}]}", "args.items[3]: a tuple can't be sent: make it a list or a map"},
        {"#{a=>#{b=>[#{c=>{bin,x}}]}}", "args.a.b[0].c: a tuple can't be sent: make it a list or a map"},
        {"#{a=>[1|2]}", "args.a: an improper list can't be sent"},
        {"#{a=>#{__struct__=>x,y=>1}}", "args.a: a struct can't be sent: make it a plain map"},
        {"#{__struct__=>x}", "args: a struct can't be sent: make it a plain map"},
        {"#{a=>#{b=>#{{1}=>2}}}", "args.a.b: the keys of a map are binaries, atoms or integers, not a tuple"},
        {"#{1.5=>2}", "args: the keys of a map are binaries, atoms or integers, not a float"},
        {"#{a=>#{x=>1,<<\"x\">>=>2}}", "args.a.x: two keys are the same text"},
        {"#{1=>1,<<\"1\">>=>2}", "args.1: two keys are the same text"},
        {"#{a=>#{<<\"\\xff\">>=>2}}", "args.a: it has a key that is not valid UTF-8"},
        {"#{<<\"a\\x00b\">>=>2}", "args: the name of an argument has a NUL in it"},
        {"[]", "args: it is a map, not a list"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(encoded(SMX_CODEC_JSON, cases[i].term), cases[i].message);
        assert_string_equal(encoded(SMX_CODEC_MSGPACK, cases[i].term), cases[i].message);
    }
}

static void bytes_go_to_messagepack_alone(void **state)
{
    (void)state;
    assert_string_equal(encoded(SMX_CODEC_MSGPACK, "#{a=>{bin,<<\"\\xff\">>}}"), "a=c401ff");
    assert_string_equal(encoded(SMX_CODEC_JSON, "#{a=>[{bin,<<\"x\">>}]}"),
                        "args.a[0]: {bin, Binary} can't be sent as JSON, which has no bytes");
    assert_string_equal(encoded(SMX_CODEC_MSGPACK, "#{a=><<\"\\xff\">>}"),
                        "args.a: a binary that is not valid UTF-8: wrap it in {bin, Binary}");
    assert_string_equal(encoded(SMX_CODEC_JSON, "#{a=><<\"\\xff\">>}"),
                        "args.a: a binary that is not valid UTF-8: wrap it in {bin, Binary} (for a MessagePack "
                        "worker: JSON has no bytes)");
}

static void raw_takes_binaries_as_they_are(void **state)
{
    (void)state;
    assert_string_equal(encoded(SMX_CODEC_RAW, "#{<<\"a\">>=><<\"1\">>,<<\"b\">>=><<\"\">>}"), "a=1 b=");
    assert_string_equal(encoded(SMX_CODEC_RAW, "#{<<\"a\">>=>[1]}"),
                        "args.a: codec raw takes binaries (codec terms takes terms), not a list");
    assert_string_equal(encoded(SMX_CODEC_RAW, "#{a=><<\"1\">>}"),
                        "args.a: with codec raw the name of an argument is a binary");
}

/* `levels` lists around the empty list, or around {bin, <<>>}. */
static const char *encoded_nested(size_t levels, bool bytes)
{
    struct smx_buffer text = {0};
    smx_buffer_printf(&text, "#{a=>");
    for (size_t i = 0; i < levels; i++)
        smx_buffer_printf(&text, "[");
    smx_buffer_printf(&text, bytes ? "{bin,<<\"\">>}" : "1");
    for (size_t i = 0; i < levels; i++)
        smx_buffer_printf(&text, "]");
    smx_buffer_printf(&text, "}");
    const char *found = encoded(SMX_CODEC_MSGPACK, test_text(&text));
    smx_buffer_fini(&text);
    return found;
}

static void values_nest_64_levels(void **state)
{
    (void)state;
    assert_null(strstr(encoded_nested(64, false), "args"));
    assert_null(strstr(encoded_nested(64, true), "args"));
    assert_non_null(strstr(encoded_nested(65, false), "it is nested deeper than 64 levels"));
}

/* The term, or the message. */
static const char *decoded(enum smx_codec codec, struct smx_pairs pairs, enum smx_null null)
{
    static struct smx_buffer found;
    struct smx_error why = {0};
    found.len = 0;
    if (smx_codec_decode_pairs(codec, pairs, null, &found, &why))
        return test_term_text(smx_buffer_span(&found));
    assert_int_equal(found.len, 0);
    assert_int_equal(why.code, SMX_INTERNAL);
    assert_string_equal(why.reason, "decode");
    smx_buffer_append_span(&found, smx_buffer_span(&why.message));
    smx_error_fini(&why);
    return test_text(&found);
}

static struct smx_pair pair_of(const char *key, const char *value)
{
    return (struct smx_pair){smx_span_of(key), smx_span_of(value)};
}

static void of_a_repeated_key_the_last_value_stays(void **state)
{
    (void)state;
    struct smx_pair pairs[] = {pair_of("a", "1"), pair_of("b", "{\"x\":1,\"y\":[{\"x\":2,\"x\":3}],\"x\":4}"),
                               pair_of("a", "5"), pair_of("c", "6"), pair_of("a", "7")};
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){pairs, 5}, SMX_NULL_NULL),
                        "#{<<\"b\">>=>#{<<\"y\">>=>[#{<<\"x\">>=>3}],<<\"x\">>=>4},<<\"c\">>=>6,<<\"a\">>=>7}");
}

static void repeated_keys_of_a_large_map_are_dropped(void **state)
{
    (void)state;
    enum { COUNT = 20000, DISTINCT = 1000 };
    static char keys[DISTINCT][8];
    static struct smx_pair pairs[COUNT];
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    size_t at = 0;
    size_t count;
    for (size_t i = 0; i < DISTINCT; i++)
        snprintf(keys[i], sizeof(keys[i]), "%zu", i);
    for (size_t i = 0; i < COUNT; i++)
        pairs[i] = pair_of(keys[i % DISTINCT], i < COUNT - DISTINCT ? "old" : "new");
    assert_true(smx_codec_decode_pairs(SMX_CODEC_RAW, (struct smx_pairs){pairs, COUNT}, SMX_NULL_NULL, &out, &why));
    assert_true(smx_term_get_map(smx_buffer_span(&out), &at, &count));
    assert_int_equal(count, DISTINCT);
    assert_null(memmem(out.data, out.len, "old", 3));
    smx_buffer_fini(&out);
}

static void null_is_what_the_caller_wants(void **state)
{
    (void)state;
    struct smx_pair pair = pair_of("a", "[null]");
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){&pair, 1}, SMX_NULL_NULL), "#{<<\"a\">>=>[null]}");
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){&pair, 1}, SMX_NULL_NIL), "#{<<\"a\">>=>[nil]}");
}

static void old_workers_are_read_as_they_wrote(void **state)
{
    (void)state;
    struct smx_pair pairs[] = {pair_of("a", "{\"x\":[1,2"),
                               pair_of("b", "[1,{}]"),
                               pair_of("c", "hello"),
                               pair_of("d", "\"q\""),
                               pair_of("e", "\xff\xfe"),
                               pair_of("f", ""),
                               pair_of("g", "{\"x\":[1,\"\\ud800\"]}")};
    assert_string_equal(decoded(SMX_CODEC_LENIENT, (struct smx_pairs){pairs, 7}, SMX_NULL_NULL),
                        "#{<<\"a\">>=><<\"{\\x22x\\x22:[1,2\">>,<<\"b\">>=>[1,#{}],<<\"c\">>=><<\"hello\">>,"
                        "<<\"d\">>=><<\"q\">>,<<\"e\">>=><<\"\\xff\\xfe\">>,<<\"f\">>=><<\"\">>,"
                        "<<\"g\">>=><<\"{\\x22x\\x22:[1,\\x22\\x5cud800\\x22]}\">>}");
}

static void a_value_that_can_not_be_read_is_named(void **state)
{
    (void)state;
    struct smx_pair good[] = {pair_of("a", "1"), pair_of("b", "tru")};
    struct smx_pair key = pair_of("\xff", "1");
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){good, 2}, SMX_NULL_NULL),
                        "the worker's value \"b\" can't be read: lexical error: invalid string in json text.");
    assert_string_equal(decoded(SMX_CODEC_RAW, (struct smx_pairs){&key, 1}, SMX_NULL_NULL),
                        "the worker's value \"\xff\" can't be read: its name is not valid UTF-8");
}

static void an_error_of_a_worker_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        enum smx_code code;
        const char *message, *details;
    } cases[] = {
        {"\x83\xa4"
         "code\xa9"
         "NOT_FOUND\xa7message\xa2no\xa4type\xa8KeyError",
         SMX_NOT_FOUND, "no", "#{<<\"type\">>=><<\"KeyError\">>}"},
        {"\x83\xa4"
         "code\x05\xa7message\xa0\x01\x02",
         SMX_NOT_FOUND, "", "#{}"},
        {"\x81\xa4"
         "code\xa2ok",
         SMX_UNKNOWN, "", "#{}"},
        {"\x81\xa4"
         "code\x63",
         SMX_UNKNOWN, "", "#{}"},
        {"\x82\xa4"
         "code\xc0\xa7message\x01",
         SMX_UNKNOWN, "", "#{<<\"code\">>=>null,<<\"message\">>=>1}"},
        {"\x80", SMX_UNKNOWN, "", "#{}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct smx_error error = {0};
        assert_true(smx_codec_read_error(smx_span_of(cases[i].bytes), SMX_NULL_NULL, &error));
        assert_int_equal(error.code, cases[i].code);
        assert_string_equal(test_text(&error.message), cases[i].message);
        assert_string_equal(test_term_text(smx_buffer_span(&error.details)), cases[i].details);
        smx_error_fini(&error);
    }
    struct smx_error untouched = {0};
    assert_false(smx_codec_read_error(smx_span_of("\x90"), SMX_NULL_NULL, &untouched));
    assert_false(smx_codec_read_error(smx_span_of("\x81"), SMX_NULL_NULL, &untouched));
    assert_false(smx_codec_read_error(smx_span_of(""), SMX_NULL_NULL, &untouched));
    assert_int_equal(untouched.code, SMX_OK);
    assert_null(untouched.details.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_mapped_as_documented),
        cmocka_unit_test(what_can_not_be_sent_is_named_by_its_path),
        cmocka_unit_test(bytes_go_to_messagepack_alone),
        cmocka_unit_test(raw_takes_binaries_as_they_are),
        cmocka_unit_test(values_nest_64_levels),
        cmocka_unit_test(of_a_repeated_key_the_last_value_stays),
        cmocka_unit_test(repeated_keys_of_a_large_map_are_dropped),
        cmocka_unit_test(null_is_what_the_caller_wants),
        cmocka_unit_test(old_workers_are_read_as_they_wrote),
        cmocka_unit_test(a_value_that_can_not_be_read_is_named),
        cmocka_unit_test(an_error_of_a_worker_is_read),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
