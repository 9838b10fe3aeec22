/*
 * What callers send to the Python server, as far as nghttp2 leaves it to us: messages, and the values of headers. The
 * first byte chooses which.
 */
#include "../../python/native/headers.h"
#include "../../python/native/snakepit.h"
#include "fuzz.h"

static void read_call(struct smx_span message, enum smx_request_kind kind)
{
    struct smx_execute_request request;
    struct smx_span key, value;
    if (!smx_read_request(message, kind, &request))
        return;
    fuzz_touch(request.session);
    fuzz_touch(request.command);
    fuzz_touch(request.request_id);
    fuzz_require(smx_utf8_valid(request.command, true));
    while (smx_next_arg(&message, kind, &key, &value)) {
        fuzz_require(smx_utf8_valid(key, true));
        fuzz_touch(value);
    }
    fuzz_require(message.len == 0); /* a message that was read has no bad argument */
}

static void read_text(struct smx_span text)
{
    struct smx_buffer encoded = {0}, decoded = {0};
    int64_t us = 0;
    if (smx_timeout_parse(text, &us))
        fuzz_require(us >= 0);
    smx_percent_encode(&encoded, text);
    fuzz_require(encoded.len >= text.len && encoded.len <= 3 * text.len);
    encoded.len = 0;
    smx_base64_encode(&encoded, text);
    fuzz_require(smx_base64_decode(&decoded, smx_buffer_span(&encoded)));
    fuzz_require(smx_span_equal(smx_buffer_span(&decoded), text));
    decoded.len = 0;
    if (smx_base64_decode(&decoded, text))
        fuzz_touch(smx_buffer_span(&decoded));
    smx_buffer_fini(&encoded);
    smx_buffer_fini(&decoded);
}

/* Keys and values, cut at each newline. */
static void read_metadata(struct smx_span text)
{
    struct smx_metadata metadata = {0};
    struct smx_span key = {0}, value;
    bool all = true;
    size_t added = 0, found = 0;
    for (size_t from = 0, at = 0; at < text.len; at++) {
        if (text.data[at] != '\n')
            continue;
        value = (struct smx_span){text.data + from, at - from};
        if (key.data)
            all = all && smx_metadata_add(&metadata, key, value);
        added += key.data && all;
        key = key.data ? (struct smx_span){0} : value;
        from = at + 1;
    }
    for (size_t at = 0; smx_metadata_next(&metadata, &at, &key, &value); found++) {
        fuzz_touch(key);
        fuzz_touch(value);
    }
    fuzz_require(!all || found == added);
    smx_buffer_fini(&metadata.entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct smx_span rest = {data + 1, size - 1}, worker_id;
    bool capabilities, stats;
    switch (data[0] % 5) {
    case 0:
        read_call(rest, SMX_REQUEST_EXECUTE);
        break;
    case 1:
        read_call(rest, SMX_REQUEST_SESSION);
        break;
    case 2:
        if (smx_read_health(rest, &worker_id))
            fuzz_touch(worker_id);
        smx_read_info(rest, &capabilities, &stats);
        break;
    case 3:
        read_text(rest);
        break;
    case 4:
        read_metadata(rest);
        break;
    }
    return 0;
}
