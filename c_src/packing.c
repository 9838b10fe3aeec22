/* Owns the bytes of a message while it is written; knows nothing of what they say. */
#include "packing.h"

#include <grpc/byte_buffer.h>
#include <stdlib.h>

#include "wire.h"

enum { LENT_SIZE = 64 * 1024 }; /* what has as many bytes stays where it is */

static bool is_lent(struct smx_span memory, struct smx_span value)
{
    return value.len >= LENT_SIZE && value.data >= memory.data && value.data + value.len <= memory.data + memory.len;
}

static void put_own(struct smx_packing *packing, const uint8_t *at)
{
    size_t end = (size_t)(at - GRPC_SLICE_START_PTR(packing->own));
    packing->slices[packing->count++] = grpc_slice_sub(packing->own, packing->from, end);
    packing->from = end;
}

uint8_t *smx_packing_put(struct smx_packing *packing, uint8_t *at, unsigned number, struct smx_span value)
{
    if (!is_lent(packing->memory, value))
        return smx_wire_put_bytes(at, number, value);
    at = smx_wire_put_head(at, number, value.len);
    put_own(packing, at);
    size_t place = (size_t)(value.data - packing->memory.data);
    packing->slices[packing->count++] = grpc_slice_sub(packing->lender, place, place + value.len);
    return at;
}

void smx_packing_init(struct smx_packing *packing, const struct smx_message *message, size_t len)
{
    size_t lent = 0;
    *packing = (struct smx_packing){.lender = grpc_empty_slice()};
    if (message->memory)
        packing->memory = smx_buffer_span(message->memory);
    for (size_t i = 0; message->memory && i < message->args.count; i++) {
        if (is_lent(packing->memory, message->args.items[i].value)) {
            len -= message->args.items[i].value.len;
            lent++;
        }
    }
    packing->own = grpc_slice_malloc(len);
    if (lent == 0)
        return;
    packing->slices = smx_alloc((2 * lent + 1) * sizeof(grpc_slice));
    packing->lender =
        grpc_slice_new_with_user_data(message->memory->data, message->memory->len, free, message->memory->data);
    *message->memory = (struct smx_buffer){0};
}

struct grpc_byte_buffer *smx_packing_end(struct smx_packing *packing, const uint8_t *at)
{
    if (!packing->slices) {
        struct grpc_byte_buffer *whole = grpc_raw_byte_buffer_create(&packing->own, 1);
        grpc_slice_unref(packing->own);
        return whole;
    }
    put_own(packing, at);
    struct grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(packing->slices, packing->count);
    for (size_t i = 0; i < packing->count; i++)
        grpc_slice_unref(packing->slices[i]);
    free(packing->slices);
    grpc_slice_unref(packing->own);
    grpc_slice_unref(packing->lender);
    return buffer;
}
