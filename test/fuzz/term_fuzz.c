/* Arguments: a term -> values by every codec -> a sound term. */
#include "fuzz.h"
#include "term.h"

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
        if (smx_codec_encode_args(codecs[i], term, &values, &error)) {
            pairs = (struct smx_pairs){values.items, values.count};
            fuzz_require(smx_codec_decode_pairs(codecs[i], pairs, (struct smx_style){0}, &out, NULL, &error));
            fuzz_require_term(smx_buffer_span(&out));
        }
        smx_values_fini(&values);
        smx_buffer_fini(&out);
        smx_error_fini(&error);
    }
    return 0;
}
