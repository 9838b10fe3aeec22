/* message.c: what is packed is what a worker reads; what can't be read is an error. */
#include "message.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
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

static void garbage_cut_streams_and_bombs_are_errors(void **state)
{
    (void)state;
    expect_fault(buffer_of("\xff\xff\xff", 3, GRPC_COMPRESS_NONE), SMX_INTERNAL, "decode");
    expect_fault(buffer_of("no gzip", 7, GRPC_COMPRESS_GZIP), SMX_INTERNAL, "decode");
    struct smx_buffer zeros = {0};
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
        cmocka_unit_test(an_answer_is_read_plain_and_compressed),
        cmocka_unit_test(garbage_cut_streams_and_bombs_are_errors),
    };
    grpc_init();
    int failed = cmocka_run_group_tests_name("message", tests, NULL, NULL);
    grpc_shutdown();
    return failed;
}
