/* A worker's trailing metadata snakemux-error-bin: an error whose details are a sound term, or nothing. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_error error = {0};
    if (smx_codec_read_error((struct smx_span){data, size}, (struct smx_style){.null = SMX_NULL_NIL}, &error)) {
        fuzz_require(error.code > SMX_OK && error.code <= SMX_UNAUTHENTICATED);
        fuzz_require_term(smx_buffer_span(&error.details));
    } else {
        fuzz_require(error.code == SMX_OK && error.message.len == 0 && error.details.len == 0);
    }
    smx_error_fini(&error);
    return 0;
}
