/* What a worker answers: bytes, compressed or not, -> a reply, all of it readable. The first byte chooses the method.
 */
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include "fuzz.h"
#include "message.h"

enum { MAX_MESSAGE = 256 * 1024, METHODS = SMX_METHOD_GET_INFO + 1, GZIP = 8 };

static void touch_pairs(struct smx_pairs pairs)
{
    for (size_t i = 0; i < pairs.count; i++) {
        fuzz_touch(pairs.items[i].key);
        fuzz_touch(pairs.items[i].value);
    }
}

static void touch(const struct smx_reply *reply)
{
    touch_pairs(reply->values);
    touch_pairs(reply->capabilities);
    touch_pairs(reply->system_info);
    for (size_t i = 0; i < reply->commands.count; i++)
        fuzz_touch(reply->commands.items[i]);
    fuzz_touch(reply->error);
    fuzz_touch(reply->request_id);
    fuzz_touch(reply->worker_id);
    fuzz_touch(reply->version);
    fuzz_touch(reply->worker_type);
}

static void decode(enum smx_codec codec, const struct smx_reply *reply)
{
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    if (smx_codec_decode_pairs(codec, reply->values, (struct smx_style){0}, &out, NULL, &why)) {
        fuzz_require_term(smx_buffer_span(&out));
        fuzz_require_lent(codec, reply->values, smx_buffer_span(&out));
    }
    smx_buffer_fini(&out);
    smx_error_fini(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_reply reply = {0};
    struct smx_error why = {0};
    if (size == 0)
        return 0;
    grpc_compression_algorithm compression = data[0] & GZIP ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE;
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)data + 1, size - 1);
    struct grpc_byte_buffer *buffer = grpc_raw_compressed_byte_buffer_create(&slice, 1, compression);
    grpc_slice_unref(slice);
    enum smx_method method = (data[0] & (GZIP - 1)) % METHODS;
    if (smx_message_read(method, buffer, MAX_MESSAGE, &reply, &why)) {
        touch(&reply);
        decode(SMX_CODEC_LENIENT, &reply);
        decode(SMX_CODEC_RAW, &reply); /* may lend what is large */
    } else {
        fuzz_require(why.code != SMX_OK);
    }
    smx_reply_fini(&reply);
    smx_error_fini(&why);
    grpc_byte_buffer_destroy(buffer);
    return 0;
}
