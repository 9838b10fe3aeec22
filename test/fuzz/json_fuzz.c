/* What a worker answers in JSON: a sound term that survives another round, or a fault. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_decode(SMX_CODEC_JSON, (struct smx_span){data, size});
    fuzz_decode(SMX_CODEC_LENIENT, (struct smx_span){data, size});
    return 0;
}
