/* Bytes of a legacy frame: what splice takes for a value is one, and the strict JSON of the two readers is the same. */
#include "splice.h"

#include <string.h>

#include "build.h"
#include "codec_json.h"
#include "codec_msgpack.h"
#include "fuzz.h"

/* Beside what a term can't hold (numbers out of range, more levels), and the spaces that yajl alone takes for such. */
static void compare(struct smx_span bytes, bool value)
{
    char fault[SMX_CODEC_FAULT_SIZE] = "";
    struct smx_buffer out = {0};
    struct smx_build build = {.out = &out};
    bool read = smx_codec_json_read(bytes, &build, fault);
    bool limit = strstr(fault, "outside") || strstr(fault, "levels");
    bool odd = bytes.len > 0 && (memchr(bytes.data, '\f', bytes.len) || memchr(bytes.data, '\v', bytes.len));
    fuzz_require(read == value || limit || (read && odd));
    smx_build_fini(&build);
    smx_buffer_fini(&out);
}

/* Where no extension was found the reader meets none. */
static void look_for_extensions(struct smx_span bytes)
{
    char fault[SMX_CODEC_FAULT_SIZE] = "";
    struct smx_buffer out = {0};
    struct smx_build build = {.out = &out};
    bool found = smx_splice_has_extension(SMX_CODEC_MSGPACK, bytes);
    smx_codec_msgpack_read(bytes, &build, fault);
    fuzz_require(found || (!strstr(fault, "extension") && !strstr(fault, "an array")));
    smx_build_fini(&build);
    smx_buffer_fini(&out);
}

static void splice(enum smx_codec codec, struct smx_span bytes)
{
    struct smx_values pairs;
    struct smx_buffer out = {0};
    bool value = smx_splice_is_value(codec, bytes);
    if (codec == SMX_CODEC_JSON)
        compare(bytes, value);
    smx_splice_text(codec, bytes, &out);
    out.len = 0;
    if (smx_splice_map(codec, bytes, &pairs)) {
        fuzz_require(value);
        for (size_t i = 0; i < pairs.count; i++) {
            fuzz_require(smx_utf8_valid(pairs.items[i].key, false));
            fuzz_require(smx_splice_is_value(codec, pairs.items[i].value));
        }
        smx_values_fini(&pairs);
    }
    if (value) {
        smx_splice_unwrap(codec, bytes, &pairs);
        smx_splice_wrap(codec, (struct smx_pairs){pairs.items, pairs.count}, &out);
        fuzz_require(smx_splice_is_value(codec, smx_buffer_span(&out)));
        smx_values_fini(&pairs);
        out.len = 0;
        if (codec == SMX_CODEC_MSGPACK)
            look_for_extensions(bytes);
        if (codec == SMX_CODEC_MSGPACK && smx_splice_mend(bytes, &out))
            fuzz_require(smx_splice_is_value(codec, smx_buffer_span(&out)));
    }
    smx_buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_span bytes = {data, size};
    splice(SMX_CODEC_JSON, bytes);
    splice(SMX_CODEC_MSGPACK, bytes);
    smx_splice_codec(bytes);
    return 0;
}
