/* message.c: what is packed is what a worker reads; what can't be read is an error. */
#include "message.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "snakepit.pb-c.h"
#include "support.h"

static grpc_slice bytes_of(struct grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, buffer);
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    smx_message_free(buffer);
    return slice;
}

static struct grpc_byte_buffer *buffer_of(const void *data, size_t len, grpc_compression_algorithm compression)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(data, len);
    struct grpc_byte_buffer *buffer = grpc_raw_compressed_byte_buffer_create(&slice, 1, compression);
    grpc_slice_unref(slice);
    return buffer;
}

static void a_session_request_says_it_all(void **state)
{
    (void)state;
    struct smx_pair pairs[] = {{smx_span_of("x"), smx_span_of("1")}, {smx_span_of("empty"), {0}}};
    struct smx_message message = {
        .session = smx_span_of("s"),
        .command = smx_span_of("predict"),
        .args = {pairs, 2},
        .timeout_ms = 1500,
        .request_id = smx_span_of("r-1"),
    };
    size_t len;
    grpc_slice slice = bytes_of(smx_message_pack(SMX_METHOD_EXECUTE_IN_SESSION, &message, &len));
    assert_int_equal(GRPC_SLICE_LENGTH(slice), len);
    Snakepit__SessionRequest *read = snakepit__session_request__unpack(NULL, len, GRPC_SLICE_START_PTR(slice));
    assert_string_equal(read->session_id, "s");
    assert_string_equal(read->command, "predict");
    assert_string_equal(read->request_id, "r-1");
    assert_int_equal(read->timeout_ms, 1500);
    assert_int_equal(read->n_args, 2);
    assert_string_equal(read->args[0]->key, "x");
    assert_memory_equal(read->args[0]->value.data, "1", 1);
    assert_int_equal(read->args[1]->value.len, 0);
    snakepit__session_request__free_unpacked(read, NULL);
    grpc_slice_unref(slice);
}

static void large_values_stay_where_they_are(void **state)
{
    enum { LARGE = 100000 };
    (void)state;
    struct smx_buffer memory = {0};
    memset(smx_buffer_reserve(&memory, 3 * LARGE), 'm', 3 * LARGE);
    memory.len = 3 * LARGE;
    memset(memory.data + LARGE, 'n', LARGE);
    struct smx_pair pairs[] = {
        {smx_span_of("small"), {memory.data, 10}},
        {smx_span_of("first"), {memory.data, LARGE}},
        {smx_span_of("elsewhere"), {(const uint8_t *)"e", 1}},
        {smx_span_of("second"), {memory.data + LARGE, LARGE}},
    };
    struct smx_message message = {.command = smx_span_of("c"), .args = {pairs, 4}, .request_id = smx_span_of("r")};
    size_t len, copied_len;
    grpc_slice copied = bytes_of(smx_message_pack(SMX_METHOD_EXECUTE, &message, &copied_len));
    assert_int_equal(memory.len, 3 * LARGE);
    message.memory = &memory;
    struct grpc_byte_buffer *buffer = smx_message_pack(SMX_METHOD_EXECUTE, &message, &len);
    assert_null(memory.data); /* it is the message's now */
    grpc_slice lent = bytes_of(buffer);
    assert_int_equal(len, copied_len);
    assert_true(grpc_slice_eq(lent, copied));
    grpc_slice_unref(lent);
    grpc_slice_unref(copied);
}

static void memory_without_large_values_is_not_taken(void **state)
{
    (void)state;
    struct smx_buffer memory = {0};
    smx_buffer_append(&memory, "abc", 3);
    struct smx_pair pair = {smx_span_of("x"), smx_buffer_span(&memory)};
    struct smx_message message = {.command = smx_span_of("c"), .args = {&pair, 1}, .memory = &memory};
    size_t len;
    smx_message_free(smx_message_pack(SMX_METHOD_EXECUTE, &message, &len));
    assert_int_equal(memory.len, 3);
    smx_buffer_fini(&memory);
}

/* An answer of a worker: success, the result {"k": "v"}, a timestamp. */
static struct smx_buffer answer(void)
{
    Snakepit__ExecuteResponse response = SNAKEPIT__EXECUTE_RESPONSE__INIT;
    Snakepit__ExecuteResponse__ResultEntry entry = SNAKEPIT__EXECUTE_RESPONSE__RESULT_ENTRY__INIT;
    Snakepit__ExecuteResponse__ResultEntry *entries[] = {&entry};
    entry.key = "k";
    entry.value.data = (uint8_t *)"v";
    entry.value.len = 1;
    response.success = 1;
    response.timestamp = 42;
    response.n_result = 1;
    response.result = entries;
    struct smx_buffer out = {0};
    out.len = snakepit__execute_response__pack(&response, smx_buffer_reserve(&out, 256));
    return out;
}

static void expect_answer(struct grpc_byte_buffer *buffer)
{
    struct smx_reply reply;
    struct smx_error why = {0};
    assert_true(smx_message_read(SMX_METHOD_EXECUTE, buffer, 1024, &reply, &why));
    assert_true(reply.success);
    assert_int_equal(reply.timestamp, 42);
    assert_int_equal(reply.values.count, 1);
    assert_true(smx_span_is(reply.values.items[0].key, "k"));
    assert_true(smx_span_is(reply.values.items[0].value, "v"));
    smx_reply_fini(&reply);
    smx_message_free(buffer);
}

static struct smx_buffer gzip(const void *data, size_t len)
{
    struct smx_buffer out = {0};
    z_stream stream = {.next_in = (uint8_t *)data, .avail_in = (unsigned)len};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&stream, len);
    stream.next_out = smx_buffer_reserve(&out, bound);
    stream.avail_out = (unsigned)bound;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.len = stream.total_out;
    deflateEnd(&stream);
    return out;
}

static void an_answer_is_read_plain_and_compressed(void **state)
{
    (void)state;
    struct smx_buffer plain = answer();
    expect_answer(buffer_of(plain.data, plain.len, GRPC_COMPRESS_NONE));
    struct smx_buffer packed = gzip(plain.data, plain.len);
    expect_answer(buffer_of(packed.data, packed.len, GRPC_COMPRESS_GZIP));
    smx_buffer_fini(&plain);
    smx_buffer_fini(&packed);
}

static void expect_fault(struct grpc_byte_buffer *buffer, enum smx_code code, const char *reason)
{
    struct smx_reply reply;
    struct smx_error why = {0};
    assert_false(smx_message_read(SMX_METHOD_EXECUTE, buffer, 1024, &reply, &why));
    assert_int_equal(why.code, code);
    assert_string_equal(why.reason, reason);
    assert_true(why.message.len > 0);
    smx_reply_fini(&reply);
    smx_error_fini(&why);
    smx_message_free(buffer);
}

/* protobuf-c as the oracle: what it writes is what is read, whatever the sizes. */
static void a_chunk_of_many_values_is_read_as_protobuf_c_wrote_it(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    Snakepit__StreamResponse response = SNAKEPIT__STREAM_RESPONSE__INIT;
    Snakepit__StreamResponse__ChunkEntry entries[COUNT], *list[COUNT];
    char keys[COUNT][8];
    static uint8_t value[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
        entries[i] = (Snakepit__StreamResponse__ChunkEntry)SNAKEPIT__STREAM_RESPONSE__CHUNK_ENTRY__INIT;
        entries[i].key = keys[i];
        entries[i].value = (ProtobufCBinaryData){i, value};
        list[i] = &entries[i];
    }
    response.is_final = 1;
    response.n_chunk = COUNT;
    response.chunk = list;
    response.timestamp = -1;
    response.request_id = "r";
    response.chunk_index = 7;
    struct smx_buffer packed = {0};
    size_t size = snakepit__stream_response__get_packed_size(&response);
    packed.len = snakepit__stream_response__pack(&response, smx_buffer_reserve(&packed, size));
    struct grpc_byte_buffer *buffer = buffer_of(packed.data, packed.len, GRPC_COMPRESS_NONE);
    struct smx_reply reply;
    struct smx_error why = {0};
    assert_true(smx_message_read(SMX_METHOD_EXECUTE_STREAM, buffer, 1 << 20, &reply, &why));
    assert_true(reply.is_final && reply.success);
    assert_int_equal(reply.timestamp, -1);
    assert_true(smx_span_is(reply.request_id, "r"));
    assert_int_equal(reply.values.count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(smx_span_is(reply.values.items[i].key, keys[i]));
        assert_int_equal(reply.values.items[i].value.len, i);
    }
    assert_true(reply.size >= packed.len + COUNT * sizeof(struct smx_pair));
    smx_reply_fini(&reply);
    smx_message_free(buffer);
    smx_buffer_fini(&packed);
}

#define BYTES(text) buffer_of(text, sizeof(text) - 1, GRPC_COMPRESS_NONE)

static void unknown_fields_are_skipped_and_the_last_of_two_counts(void **state)
{
    (void)state;
    struct smx_reply reply;
    struct smx_error why = {0};
    /* error "a", field 9 (fixed64), field 10 (fixed32), a value whose entry has a field 3, field 5000, error "b" */
    struct grpc_byte_buffer *buffer = BYTES("\x1a\x01"
                                            "a"
                                            "\x49"
                                            "12345678"
                                            "\x55"
                                            "1234"
                                            "\x12\x06\x18\x07\x12\x02hi"
                                            "\xc0\xb8\x02\x01"
                                            "\x1a\x01"
                                            "b");
    assert_true(smx_message_read(SMX_METHOD_EXECUTE_STREAM, buffer, 1024, &reply, &why));
    assert_true(smx_span_is(reply.error, "b"));
    assert_false(reply.success);
    assert_int_equal(reply.values.count, 1);
    assert_int_equal(reply.values.items[0].key.len, 0);
    assert_true(smx_span_is(reply.values.items[0].value, "hi"));
    smx_reply_fini(&reply);
    smx_message_free(buffer);
}

static void garbage_cut_streams_and_bombs_are_errors(void **state)
{
    (void)state;
    expect_fault(buffer_of("\xff\xff\xff", 3, GRPC_COMPRESS_NONE), SMX_INTERNAL, "decode");
    expect_fault(BYTES("\x0a\x01x"), SMX_INTERNAL, "decode");         /* success as bytes */
    expect_fault(BYTES("\x12\x03\x0a\x02k"), SMX_INTERNAL, "decode"); /* a key that goes on behind its entry */
    expect_fault(BYTES("\x12\x02\x10\x01"), SMX_INTERNAL, "decode");  /* a value as a number */
    expect_fault(BYTES("\x1a\x7f"
                       "abc"),
                 SMX_INTERNAL, "decode");                    /* an error that is cut off */
    expect_fault(BYTES("\x4b\x4c"), SMX_INTERNAL, "decode"); /* a group */
    expect_fault(BYTES("\x00\x01"), SMX_INTERNAL, "decode"); /* field 0 */
    expect_fault(BYTES("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), SMX_INTERNAL, "decode"); /* 11 bytes */
    expect_fault(buffer_of("no gzip", 7, GRPC_COMPRESS_GZIP), SMX_INTERNAL, "decode");
    struct smx_buffer zeros = {0};
    for (size_t i = 0; i < 500; i++) /* 500 empty entries: small on the wire, more than 4 KiB in memory */
        smx_buffer_append(&zeros, "\x12\x00", 2);
    expect_fault(buffer_of(zeros.data, zeros.len, GRPC_COMPRESS_NONE), SMX_INTERNAL, "decode");
    zeros.len = 0;
    memset(smx_buffer_reserve(&zeros, 1 << 20), 0, 1 << 20);
    struct smx_buffer bomb = gzip(zeros.data, 1 << 20);
    assert_true(bomb.len < 2048);
    expect_fault(buffer_of(bomb.data, bomb.len, GRPC_COMPRESS_GZIP), SMX_RESOURCE_EXHAUSTED, "too_large");
    expect_fault(buffer_of(bomb.data, 20, GRPC_COMPRESS_GZIP), SMX_INTERNAL, "decode");
    smx_buffer_fini(&zeros);
    smx_buffer_fini(&bomb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_request_says_it_all),
        cmocka_unit_test(large_values_stay_where_they_are),
        cmocka_unit_test(memory_without_large_values_is_not_taken),
        cmocka_unit_test(an_answer_is_read_plain_and_compressed),
        cmocka_unit_test(a_chunk_of_many_values_is_read_as_protobuf_c_wrote_it),
        cmocka_unit_test(unknown_fields_are_skipped_and_the_last_of_two_counts),
        cmocka_unit_test(garbage_cut_streams_and_bombs_are_errors),
    };
    grpc_init();
    int failed = cmocka_run_group_tests_name("message", tests, NULL, NULL);
    grpc_shutdown();
    return failed;
}
