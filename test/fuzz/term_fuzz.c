/* Arguments: a term -> values by every codec, copied or in place -> a sound term, the same one. */
#include "fuzz.h"
#include "term.h"

/* What is refused is untouched; what is not has changed in no more than where it is. */
static void require_in_place(enum smx_codec codec, struct smx_span term, bool is_good, struct smx_span expected)
{
    struct smx_buffer memory = {0};
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    struct smx_values values = {.memory = &memory};
    smx_buffer_append_span(&memory, term);
    fuzz_require(smx_codec_encode_args(codec, smx_buffer_span(&memory), &values, &why) == is_good);
    if (is_good) {
        struct smx_pairs pairs = {values.items, values.count};
        fuzz_require(smx_codec_decode_pairs(codec, pairs, (struct smx_style){0}, &out, NULL, &why));
        fuzz_require(smx_span_equal(smx_buffer_span(&out), expected));
    } else {
        fuzz_require(!values.in_place && smx_span_equal(smx_buffer_span(&memory), term));
    }
    smx_values_fini(&values);
    smx_buffer_fini(&memory);
    smx_buffer_fini(&out);
    smx_error_fini(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum smx_codec codecs[] = {SMX_CODEC_RAW, SMX_CODEC_JSON, SMX_CODEC_MSGPACK};
    const char *why;
    size_t end = 0;
    struct smx_span term = {data, size};
    if (!smx_term_check(term, &end, &why))
        return 0;
    term.len = end;
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        struct smx_values values = {0};
        struct smx_buffer out = {0};
        struct smx_error error = {0};
        struct smx_pairs pairs;
        bool is_good = smx_codec_encode_args(codecs[i], term, &values, &error);
        if (is_good) {
            pairs = (struct smx_pairs){values.items, values.count};
            fuzz_require(smx_codec_decode_pairs(codecs[i], pairs, (struct smx_style){0}, &out, NULL, &error));
            fuzz_require_term(smx_buffer_span(&out));
            fuzz_require_lent(codecs[i], pairs, smx_buffer_span(&out));
        }
        require_in_place(codecs[i], term, is_good, smx_buffer_span(&out));
        smx_values_fini(&values);
        smx_buffer_fini(&out);
        smx_error_fini(&error);
    }
    return 0;
}
