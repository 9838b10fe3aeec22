/* A message as it is written: into one slice, but for large values, which stay in memory that it takes. */
#ifndef SMX_PACKING_H
#define SMX_PACKING_H

#include <grpc/slice.h>

#include "message.h"

struct smx_packing {
    grpc_slice own;
    size_t from; /* of `own`: what is in `slices` already */
    struct smx_span memory;
    grpc_slice lender; /* all of it */
    grpc_slice *slices;
    size_t count;
};

/* `len`: of the whole message. Takes message->memory when there is a large value of its args in it. */
void smx_packing_init(struct smx_packing *packing, const struct smx_message *message, size_t len);
/* Writes a field at `at` of packing->own, one of these args; returns where to go on. */
uint8_t *smx_packing_put(struct smx_packing *packing, uint8_t *at, unsigned number, struct smx_span value);
/* The message, which ends at `at`; the caller's. */
struct grpc_byte_buffer *smx_packing_end(struct smx_packing *packing, const uint8_t *at);

#endif
