/*
 * The codecs as a {packet,4} filter, for tests in languages that have an independent opinion. A request is one of
 *   t From To Bytes   one value from a format to a format, by way of a term
 *   r Codec Term      arguments, to bytes and back: an encoded map, with its version byte
 * where formats are j (JSON) and m (MessagePack). The answer is 1 and the result, or 0 and what is wrong.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec.h"
#include "frame.h"
#include "term.h"

enum { MAX_REQUEST = 64 * 1024 * 1024 };

static enum smx_codec codec_of(uint8_t letter)
{
    return letter == 'm' ? SMX_CODEC_MSGPACK : SMX_CODEC_JSON;
}

static bool transcode(struct smx_span request, struct smx_buffer *out, struct smx_error *why)
{
    struct smx_pair pair = {smx_span_of("value"), {request.data + 3, request.len - 3}};
    struct smx_buffer term = {0};
    struct smx_values values = {0};
    bool done = smx_codec_decode_pairs(codec_of(request.data[1]), (struct smx_pairs){&pair, 1}, (struct smx_style){0},
                                       &term, NULL, why) &&
                smx_codec_encode_args(codec_of(request.data[2]), smx_buffer_span(&term), &values, why);
    if (done)
        smx_buffer_append_span(out, values.items[0].value);
    smx_values_fini(&values);
    smx_buffer_fini(&term);
    return done;
}

static bool round_trip(struct smx_span request, struct smx_buffer *out, struct smx_error *why)
{
    struct smx_values values = {0};
    enum smx_codec codec = codec_of(request.data[1]);
    const char *fault;
    size_t at = 3;
    if (!smx_term_check(request, &at, &fault))
        return smx_error_set(why, SMX_INVALID_ARGUMENT, "bad_term", "%s", fault);
    smx_buffer_append(out, "\x83", 1);
    bool done = smx_codec_encode_args(codec, (struct smx_span){request.data + 3, request.len - 3}, &values, why) &&
                smx_codec_decode_pairs(codec, (struct smx_pairs){values.items, values.count}, (struct smx_style){0},
                                       out, NULL, why);
    smx_values_fini(&values);
    return done;
}

static void answer(struct smx_span request)
{
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    size_t place = smx_frame_open(&out);
    size_t start = out.len;
    smx_buffer_append(&out, "\1", 1);
    if (!(request.data[0] == 't' ? transcode : round_trip)(request, &out, &why)) {
        out.len = start;
        smx_buffer_append(&out, "\0", 1);
        smx_buffer_append_text(&out, smx_buffer_span(&why.message));
    }
    smx_frame_seal(&out, place);
    for (size_t at = 0; at < out.len;) {
        ssize_t len = write(STDOUT_FILENO, out.data + at, out.len - at);
        at = len > 0 ? at + (size_t)len : out.len;
    }
    smx_error_fini(&why);
    smx_buffer_fini(&out);
}

int main(void)
{
    struct smx_frame_reader reader;
    struct smx_span request;
    ssize_t len;
    size_t space;
    smx_frame_reader_init(&reader, MAX_REQUEST);
    do {
        while (smx_frame_reader_next(&reader, &request) == SMX_FRAME_WHOLE)
            if (request.len >= 3)
                answer(request);
        uint8_t *to = smx_frame_reader_space(&reader, &space);
        len = read(STDIN_FILENO, to, space);
        smx_frame_reader_fed(&reader, len > 0 ? (size_t)len : 0);
    } while (len > 0);
    smx_frame_reader_fini(&reader);
    return 0;
}
