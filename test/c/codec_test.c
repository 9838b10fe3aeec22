/* codec.c, codec_encode.c, build.c: the mapping, and the path in what is refused. */
#include "codec.h"

#include <stdio.h>
#include <stdlib.h>
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

/* A large text or {bin, _} becomes a value of MessagePack in the memory of its term, if that may be changed. */
static void a_large_value_stays_in_the_term(void **state)
{
    (void)state;
    enum { SIZE = 65536 };
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        struct smx_buffer term = {0};
        struct smx_values copied = {0}, kept = {.memory = &term};
        struct smx_error why = {0};
        uint8_t *text = memset(smx_alloc(SIZE), 'x', SIZE);
        smx_term_put_map(&term, 2);
        smx_term_put_atom(&term, "a"); /* a key of another kind: all keys are looked at once more */
        if (wrapped) {
            smx_term_put_tuple(&term, 2);
            smx_term_put_atom(&term, "bin");
        }
        smx_term_put_binary(&term, (struct smx_span){text, SIZE});
        smx_term_put_text(&term, "b");
        smx_term_put_int(&term, 1);
        free(text);
        assert_true(smx_codec_encode_args(SMX_CODEC_MSGPACK, smx_buffer_span(&term), &copied, &why));
        assert_false(copied.in_place);
        assert_true(smx_codec_encode_args(SMX_CODEC_MSGPACK, smx_buffer_span(&term), &kept, &why));
        assert_true(kept.in_place);
        const uint8_t *place = kept.items[0].value.data;
        assert_true(place > term.data && place < term.data + term.len);
        for (size_t i = 0; i < 2; i++) {
            assert_true(smx_span_equal(copied.items[i].key, kept.items[i].key));
            assert_true(smx_span_equal(copied.items[i].value, kept.items[i].value));
        }
        smx_values_fini(&copied);
        smx_values_fini(&kept);
        smx_buffer_fini(&term);
    }
}

/* Of it nothing at all is copied. */
static void beside_it_an_empty_name_is_a_name(void **state)
{
    (void)state;
    enum { SIZE = 65536 };
    struct smx_buffer term = {0};
    struct smx_values kept = {.memory = &term};
    struct smx_error why = {0};
    uint8_t *text = memset(smx_alloc(SIZE), 'x', SIZE);
    smx_term_put_map(&term, 1);
    smx_term_put_atom(&term, "");
    smx_term_put_binary(&term, (struct smx_span){text, SIZE});
    free(text);
    assert_true(smx_codec_encode_args(SMX_CODEC_MSGPACK, smx_buffer_span(&term), &kept, &why));
    assert_true(kept.in_place);
    assert_non_null(kept.items[0].key.data);
    assert_int_equal(kept.items[0].key.len, 0);
    smx_values_fini(&kept);
    smx_buffer_fini(&term);
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

/* The .npy header of a value, a head of six bytes before it: 122 bytes of it in all. */
static void put_header(struct smx_buffer *out, const char *text, size_t padded)
{
    struct smx_buffer header = {0};
    smx_buffer_printf(&header, "%-*s\n", (int)padded - 1, text);
    smx_buffer_append(out, "\x93NUMPY\1\0", 8);
    smx_buffer_append(out, (const uint8_t[]){(uint8_t)padded, (uint8_t)(padded >> 8)}, 2);
    smx_buffer_append_span(out, smx_buffer_span(&header));
    smx_buffer_fini(&header);
}

static const char tuple_of_six[] = "{tensor,{f,32},[2,3],<<\"abcdefghijklmnopqrstuvwx\">>}";
static const char struct_of_six[] = "#{__struct__=>Elixir.Snakemux.Tensor,type=>{f,32},shape=>{2,3},"
                                    "data=><<\"abcdefghijklmnopqrstuvwx\">>}";
static const char header_of_six[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";

/* "a=c9…" of an array of six: alone the data begin at byte 128 of the value, in a list at byte 128 of the file. */
static const char *array_of_six(bool alone)
{
    static struct smx_buffer found;
    struct smx_buffer value = {0};
    if (!alone)
        test_put_hex(&value, "91");
    test_put_hex(&value, alone ? "c90000009201" : "c90000009801");
    put_header(&value, header_of_six, alone ? 128 - 6 - 10 : 128 - 10);
    smx_buffer_append(&value, "abcdefghijklmnopqrstuvwx", 24);
    found.len = 0;
    smx_buffer_printf(&found, "a=");
    for (size_t i = 0; i < value.len; i++)
        smx_buffer_printf(&found, "%02x", value.data[i]);
    smx_buffer_fini(&value);
    return test_text(&found);
}

static void tensors_are_npy_files(void **state)
{
    (void)state;
    struct smx_buffer text = {0};
    const char *const forms[] = {tuple_of_six, struct_of_six};
    assert_null(strstr(encoded(SMX_CODEC_MSGPACK, "#{a=>#{data=><<\"\\xff\">>,shape=>[],type=>{u,8},"
                                                  "__struct__=>Elixir.Snakemux.Tensor}}"),
                       "args"));
    for (size_t i = 0; i < 2; i++) {
        text.len = 0;
        smx_buffer_printf(&text, "#{a=>%s}", forms[i]);
        assert_string_equal(encoded(SMX_CODEC_MSGPACK, test_text(&text)), array_of_six(true));
        text.len = 0;
        smx_buffer_printf(&text, "#{a=>[%s]}", forms[i]);
        assert_string_equal(encoded(SMX_CODEC_MSGPACK, test_text(&text)), array_of_six(false));
        assert_string_equal(encoded(SMX_CODEC_JSON, test_text(&text)),
                            "args.a[0]: a tensor can't be sent as JSON: the worker needs the codec msgpack "
                            "(in Python: pip install msgpack)");
    }
    smx_buffer_fini(&text);
}

static void a_wrong_tensor_is_named_by_its_path(void **state)
{
    (void)state;
    static const char *const type = "the type of a tensor is {s | u, 8 | 16 | 32 | 64}, {f, 16 | 32 | 64} or "
                                    "{c, 64 | 128}: NumPy has no other";
    static const char *const shape = "the shape of a tensor is a list or a tuple of at most 64 integers from 0 on";
    static const char *const data = "the data of a tensor are a binary";
    static const char *const is_struct = "a struct can't be sent: make it a plain map";
    static const struct {
        const char *term;
        const char *const *message;
    } cases[] = {
        {"{tensor,{bf,16},[1],<<\"ab\">>}", &type},
        {"{tensor,{f,32,1},[1],<<\"abcd\">>}", &type},
        {"{tensor,{f,-32},[1],<<\"abcd\">>}", &type},
        {"{tensor,f,[1],<<\"abcd\">>}", &type},
        {"{tensor,{f,32},[-1],<<\"abcd\">>}", &shape},
        {"{tensor,{f,32},[1|2],<<\"abcd\">>}", &shape},
        {"{tensor,{f,32},[256|2],<<\"abcd\">>}", &shape},
        {"{tensor,{f,32},[a],<<\"abcd\">>}", &shape},
        {"{tensor,{f,32},{1,a},<<\"abcd\">>}", &shape},
        {"{tensor,{f,32},4,<<\"abcd\">>}", &shape},
        {"{tensor,{f,32},[1],\"abcd\"}", &data},
        {"#{__struct__=>Elixir.Snakemux.Tensor,type=>{f,32},shape=>{1},data=>nil}", &data},
        {"#{__struct__=>Elixir.Snakemux.Tensor,type=>nil,shape=>nil,data=>nil}", &type},
        {"#{__struct__=>Elixir.Nx.Tensor,type=>{f,32},shape=>{1},data=><<\"abcd\">>}", &is_struct},
        {"#{__struct__=>Elixir.Snakemux.Tensor,type=>{f,32},shape=>{1},names=><<\"abcd\">>}", &is_struct},
        {"#{__struct__=>Elixir.Snakemux.Tensor}", &is_struct},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct smx_buffer text = {0};
        struct smx_buffer message = {0};
        smx_buffer_printf(&text, "#{x=>[1,%s]}", cases[i].term);
        smx_buffer_printf(&message, "args.x[1]: %s", *cases[i].message);
        assert_string_equal(encoded(SMX_CODEC_MSGPACK, test_text(&text)), test_text(&message));
        smx_buffer_fini(&text);
        smx_buffer_fini(&message);
    }
    assert_string_equal(encoded(SMX_CODEC_MSGPACK, "#{x=>{tensor,{f,32},[2],<<\"abcd\">>}}"),
                        "args.x: an array has 4 bytes, but its type and shape make 8");
    assert_string_equal(encoded(SMX_CODEC_MSGPACK, "#{x=>{tensor,{f,32},[2]}}"),
                        "args.x: a tuple can't be sent: make it a list or a map");
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

/* `levels` lists around a value. */
static const char *encoded_nested(size_t levels, const char *value)
{
    struct smx_buffer text = {0};
    smx_buffer_printf(&text, "#{a=>");
    for (size_t i = 0; i < levels; i++)
        smx_buffer_printf(&text, "[");
    smx_buffer_printf(&text, "%s", value);
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
    assert_null(strstr(encoded_nested(64, "1"), "args"));
    assert_null(strstr(encoded_nested(64, "{bin,<<\"\">>}"), "args"));
    assert_null(strstr(encoded_nested(64, "{tensor,{u,8},[1],<<\"a\">>}"), "args"));
    assert_non_null(strstr(encoded_nested(65, "1"), "it is nested deeper than 64 levels"));
}

static const struct smx_style plain = {SMX_NULL_NULL, SMX_TENSORS_TUPLE};

/* The term, or the message. */
static const char *decoded(enum smx_codec codec, struct smx_pairs pairs, struct smx_style style)
{
    static struct smx_buffer found;
    struct smx_error why = {0};
    found.len = 0;
    if (smx_codec_decode_pairs(codec, pairs, style, &found, NULL, &why))
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
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){pairs, 5}, plain),
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
    assert_true(smx_codec_decode_pairs(SMX_CODEC_RAW, (struct smx_pairs){pairs, COUNT}, plain, &out, NULL, &why));
    assert_true(smx_term_get_map(smx_buffer_span(&out), &at, &count));
    assert_int_equal(count, DISTINCT);
    assert_null(memmem(out.data, out.len, "old", 3));
    smx_buffer_fini(&out);
}

static void null_is_what_the_caller_wants(void **state)
{
    (void)state;
    struct smx_pair pair = pair_of("a", "[null]");
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){&pair, 1}, plain), "#{<<\"a\">>=>[null]}");
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){&pair, 1}, (struct smx_style){.null = SMX_NULL_NIL}),
                        "#{<<\"a\">>=>[nil]}");
}

static void arrays_are_what_the_caller_wants(void **state)
{
    (void)state;
    struct smx_buffer value = {0};
    test_put_hex(&value, "92c700");
    size_t place = value.len;
    test_put_hex(&value, "01");
    put_header(&value, header_of_six, 60);
    smx_buffer_append(&value, "abcdefghijklmnopqrstuvwx", 24);
    value.data[place - 1] = (uint8_t)(value.len - place - 1);
    test_put_hex(&value, "c7");
    test_put_hex(&value, "48");
    test_put_hex(&value, "01");
    put_header(&value, "{'descr': '|b1', 'fortran_order': False, 'shape': ()}", 61);
    smx_buffer_append(&value, "\1", 1);
    struct smx_pair pair = {smx_span_of("a"), smx_buffer_span(&value)};
    struct smx_buffer wanted = {0};
    smx_buffer_printf(&wanted, "#{<<\"a\">>=>[%s,{tensor,{u,8},[],<<\"\\x01\">>}]}", tuple_of_six);
    assert_string_equal(decoded(SMX_CODEC_MSGPACK, (struct smx_pairs){&pair, 1}, plain), test_text(&wanted));
    wanted.len = 0;
    smx_buffer_printf(&wanted,
                      "#{<<\"a\">>=>[%s,#{__struct__=>Elixir.Snakemux.Tensor,type=>{u,8},shape=>{},"
                      "data=><<\"\\x01\">>}]}",
                      struct_of_six);
    struct smx_style structs = {.tensors = SMX_TENSORS_STRUCT};
    assert_string_equal(decoded(SMX_CODEC_MSGPACK, (struct smx_pairs){&pair, 1}, structs), test_text(&wanted));
    value.data[value.len - 1 - 61] = '}';
    assert_string_equal(
        decoded(SMX_CODEC_MSGPACK, (struct smx_pairs){&pair, 1}, structs),
        "the worker's value \"a\" can't be read: an array's .npy header doesn't describe plain numbers");
    smx_buffer_fini(&value);
    smx_buffer_fini(&wanted);
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
    assert_string_equal(decoded(SMX_CODEC_LENIENT, (struct smx_pairs){pairs, 7}, plain),
                        "#{<<\"a\">>=><<\"{\\x22x\\x22:[1,2\">>,<<\"b\">>=>[1,#{}],<<\"c\">>=><<\"hello\">>,"
                        "<<\"d\">>=><<\"q\">>,<<\"e\">>=><<\"\\xff\\xfe\">>,<<\"f\">>=><<\"\">>,"
                        "<<\"g\">>=><<\"{\\x22x\\x22:[1,\\x22\\x5cud800\\x22]}\">>}");
}

static void a_value_that_can_not_be_read_is_named(void **state)
{
    (void)state;
    struct smx_pair good[] = {pair_of("a", "1"), pair_of("b", "tru")};
    struct smx_pair key = pair_of("\xff", "1");
    assert_string_equal(decoded(SMX_CODEC_JSON, (struct smx_pairs){good, 2}, plain),
                        "the worker's value \"b\" can't be read: lexical error: invalid string in json text.");
    assert_string_equal(decoded(SMX_CODEC_RAW, (struct smx_pairs){&key, 1}, plain),
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
        assert_true(smx_codec_read_error(smx_span_of(cases[i].bytes), plain, &error));
        assert_int_equal(error.code, cases[i].code);
        assert_string_equal(test_text(&error.message), cases[i].message);
        assert_string_equal(test_term_text(smx_buffer_span(&error.details)), cases[i].details);
        smx_error_fini(&error);
    }
    struct smx_error untouched = {0};
    assert_false(smx_codec_read_error(smx_span_of("\x90"), plain, &untouched));
    assert_false(smx_codec_read_error(smx_span_of("\x81"), plain, &untouched));
    assert_false(smx_codec_read_error(smx_span_of(""), plain, &untouched));
    assert_int_equal(untouched.code, SMX_OK);
    assert_null(untouched.details.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_value_stays_in_the_term),
        cmocka_unit_test(beside_it_an_empty_name_is_a_name),
        cmocka_unit_test(values_are_mapped_as_documented),
        cmocka_unit_test(what_can_not_be_sent_is_named_by_its_path),
        cmocka_unit_test(bytes_go_to_messagepack_alone),
        cmocka_unit_test(tensors_are_npy_files),
        cmocka_unit_test(a_wrong_tensor_is_named_by_its_path),
        cmocka_unit_test(raw_takes_binaries_as_they_are),
        cmocka_unit_test(values_nest_64_levels),
        cmocka_unit_test(of_a_repeated_key_the_last_value_stays),
        cmocka_unit_test(repeated_keys_of_a_large_map_are_dropped),
        cmocka_unit_test(null_is_what_the_caller_wants),
        cmocka_unit_test(arrays_are_what_the_caller_wants),
        cmocka_unit_test(old_workers_are_read_as_they_wrote),
        cmocka_unit_test(a_value_that_can_not_be_read_is_named),
        cmocka_unit_test(an_error_of_a_worker_is_read),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
