/* What the fuzz targets share; knows nothing of any one target. */
#include "fuzz.h"

#include <stdlib.h>

#include "build.h"
#include "term.h"

void fuzz_require(bool holds)
{
    if (!holds)
        abort();
}

static volatile uint8_t sum;

void fuzz_touch(struct smx_span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        sum ^= bytes.data[i];
}

void fuzz_require_term(struct smx_span term)
{
    const char *why;
    size_t at = 0;
    fuzz_require(smx_term_check(term, &at, &why) && at == term.len);
}

void fuzz_require_lent(enum smx_codec codec, struct smx_pairs pairs, struct smx_span term)
{
    struct smx_buffer out = {0};
    struct smx_buffer whole = {0};
    struct smx_lent lent = {0};
    struct smx_error why = {0};
    fuzz_require(smx_codec_decode_pairs(codec, pairs, (struct smx_style){0}, &out, &lent, &why));
    smx_buffer_append(&whole, out.data, lent.place);
    smx_buffer_append_span(&whole, lent.span);
    smx_buffer_append(&whole, out.data + lent.place, out.len - lent.place);
    fuzz_require(smx_span_equal(smx_buffer_span(&whole), term));
    smx_buffer_fini(&out);
    smx_buffer_fini(&whole);
    smx_error_fini(&why);
}

/* Keys that are integers become text, and bytes must be UTF-8: not every term goes back. Those that do, stay. */
static void require_stable(enum smx_codec codec, struct smx_span term)
{
    struct smx_values values = {0};
    struct smx_values again = {0};
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    if (smx_codec_encode_args(codec, term, &values, &why)) {
        struct smx_pairs pairs = {values.items, values.count};
        fuzz_require(smx_codec_decode_pairs(codec, pairs, (struct smx_style){0}, &out, NULL, &why));
        fuzz_require_term(smx_buffer_span(&out));
        fuzz_require(smx_codec_encode_args(codec, smx_buffer_span(&out), &again, &why));
        for (size_t i = 0; i < values.count; i++)
            fuzz_require(smx_span_equal(values.items[i].value, again.items[i].value));
    }
    smx_values_fini(&values);
    smx_values_fini(&again);
    smx_buffer_fini(&out);
    smx_error_fini(&why);
}

static void decode(enum smx_codec codec, struct smx_span value, struct smx_style style)
{
    struct smx_pair pair = {smx_span_of("value"), value};
    struct smx_buffer out = {0};
    struct smx_error why = {0};
    if (smx_codec_decode_pairs(codec, (struct smx_pairs){&pair, 1}, style, &out, NULL, &why)) {
        fuzz_require_term(smx_buffer_span(&out));
        require_stable(SMX_CODEC_JSON, smx_buffer_span(&out));
        require_stable(SMX_CODEC_MSGPACK, smx_buffer_span(&out));
    } else {
        fuzz_require(codec != SMX_CODEC_LENIENT && out.len == 0 && why.code == SMX_INTERNAL);
    }
    smx_buffer_fini(&out);
    smx_error_fini(&why);
}

void fuzz_decode(enum smx_codec codec, struct smx_span value)
{
    decode(codec, value, (struct smx_style){SMX_NULL_NULL, SMX_TENSORS_TUPLE});
    decode(codec, value, (struct smx_style){SMX_NULL_NIL, SMX_TENSORS_STRUCT});
}
