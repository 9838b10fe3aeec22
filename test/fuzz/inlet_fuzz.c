/* The bytes of a worker before gRPC reads them: what is said of them depends on no cut between them. */
#include "fuzz.h"
#include "inlet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smx_inlet whole = {0}, cut = {0};
    if (size == 0)
        return 0;
    size_t step = (size_t)data[0] + 1;
    data++;
    size--;
    bool passes = smx_inlet_take(&whole, data, size);
    fuzz_require(passes == !whole.over && whole.head_len < SMX_INLET_HEAD);
    for (size_t at = 0; at < size; at += step)
        fuzz_require(smx_inlet_take(&cut, data + at, size - at < step ? size - at : step) == !cut.over);
    fuzz_require(cut.over == whole.over && cut.opaque == whole.opaque);
    if (passes && !whole.opaque)
        fuzz_require(cut.left == whole.left && cut.block == whole.block && cut.head_len == whole.head_len);
    return 0;
}
