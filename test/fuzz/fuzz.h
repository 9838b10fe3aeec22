/* What the fuzz targets share. */
#ifndef SMX_FUZZ_H
#define SMX_FUZZ_H

#include "codec.h"
#include "protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts when it does not hold: a finding. */
void fuzz_require(bool holds);
/* Reads every byte, for the address sanitizer. */
void fuzz_touch(struct smx_span bytes);
/* One term, the whole of it. */
void fuzz_require_term(struct smx_span term);
/* The pairs give that term also when a large value of them stays where it is. */
void fuzz_require_lent(enum smx_codec codec, struct smx_pairs pairs, struct smx_span term);
/* One value of a worker: if it is read, then to a sound term, which is the same after another round. */
void fuzz_decode(enum smx_codec codec, struct smx_span value);

#endif
