/*
 * What the owner sends: bytes -> frames -> commands, with every value encoded. Whatever comes in, what goes out is
 * whole frames of sound terms. The first byte says in what pieces the others arrive.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "command.h"
#include "frame.h"
#include "front_ei.h"
#include "fuzz.h"
#include "term.h"

enum { MAX_FRAME = 1024 }; /* so that larger ones are tried too */

static void encode(enum smx_codec codec, const struct smx_command *command)
{
    struct smx_values values = {0};
    struct smx_error why = {0};
    fuzz_require(smx_codec_encode_args(codec, command->args, &values, &why) != (why.code != SMX_OK));
    for (size_t i = 0; i < values.count && why.code == SMX_OK; i++)
        fuzz_touch(values.items[i].value);
    smx_values_fini(&values);
    smx_error_fini(&why);
}

static void handle(void *bridge, const struct smx_command *command)
{
    (void)bridge;
    bool execute = command->op == SMX_OP_EXECUTE || command->op == SMX_OP_EXECUTE_STREAM;
    struct smx_command *kept = smx_command_keep(command);
    fuzz_touch(kept->tag);
    for (size_t i = 0; i < kept->call.metadata.count; i++)
        fuzz_touch(kept->call.metadata.items[i].value);
    for (size_t i = 0; command->op == SMX_OP_CONNECT && i < command->connect.commands.count; i++)
        fuzz_touch(command->connect.commands.items[i]);
    if (execute) {
        encode(SMX_CODEC_RAW, kept);
        encode(SMX_CODEC_JSON, kept);
        encode(SMX_CODEC_MSGPACK, kept);
    }
    free(kept);
}

/* Every other tag is live. */
static bool is_live(void *bridge, struct smx_span tag)
{
    (void)bridge;
    return tag.data[tag.len - 1] & 1;
}

static void check_output(const struct smx_buffer *out)
{
    for (size_t at = 0; at < out->len;) {
        const uint8_t *head = out->data + at;
        fuzz_require(out->len - at >= 4);
        size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        fuzz_require(len > 1 && out->len - at - 4 >= len && head[4] == 131);
        fuzz_require_term((struct smx_span){head + 5, len - 1});
        at += 4 + len;
    }
}

static void take(struct smx_front_ei *front, struct smx_frame_reader *reader)
{
    struct smx_span frame;
    enum smx_frame_kind kind;
    while ((kind = smx_frame_reader_next(reader, &frame)) != SMX_FRAME_NONE)
        smx_front_ei_frame(front, frame, kind == SMX_FRAME_HEAD ? MAX_FRAME + 1 : frame.len, MAX_FRAME);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_front_ei front;
    struct smx_frame_reader reader;
    struct smx_buffer out = {0};
    size_t piece = size > 0 && data[0] ? data[0] : SIZE_MAX;
    smx_front_ei_init(&front, (struct smx_handler){handle, is_live, NULL}, &out);
    smx_frame_reader_init(&reader, MAX_FRAME);
    for (size_t at = 1; at < size;) {
        size_t space;
        uint8_t *to = smx_frame_reader_space(&reader, &space);
        size_t len = size - at < piece ? size - at : piece;
        len = len < space ? len : space;
        memcpy(to, data + at, len);
        smx_frame_reader_fed(&reader, len);
        take(&front, &reader);
        at += len;
    }
    smx_front_ei_flush(&front);
    check_output(&out);
    fuzz_require(front.assembly.held <= SMX_PARTS_FRAMES * MAX_FRAME);
    smx_front_ei_fini(&front);
    smx_frame_reader_fini(&reader);
    smx_buffer_fini(&out);
    return 0;
}
