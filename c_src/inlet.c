/*
 * Owns what is known of the bytes that come from one worker; knows HTTP/2's frames, and nothing of gRPC.
 *
 * gRPC looks at the size of headers a frame at a time, and keeps what CONTINUATION after CONTINUATION brings, most of
 * it outside the quota of the channel: a worker that never ends its headers fills the machine. HTTP/2 lets nothing else
 * come on that connection meanwhile, so that closing it takes nothing from its other calls that they still had.
 */
#include "inlet.h"

#include <string.h>

enum {
    TLS_HANDSHAKE = 0x16, /* a frame would be over a MiB, which gRPC refuses */
    FRAME_HEADERS = 1,
    FRAME_PUSH_PROMISE = 5,
    FRAME_CONTINUATION = 9,
};

static bool begin_frame(struct smx_inlet *inlet)
{
    const uint8_t *head = inlet->head;
    inlet->head_len = 0;
    inlet->left = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
    inlet->opaque = head[0] == TLS_HANDSHAKE;
    uint8_t kind = head[3];
    if (kind == FRAME_HEADERS || kind == FRAME_PUSH_PROMISE)
        inlet->block = 0;
    else if (kind != FRAME_CONTINUATION)
        return true;
    inlet->block += inlet->left + SMX_INLET_FRAME_COST;
    return inlet->block <= SMX_INLET_MAX_BLOCK;
}

bool smx_inlet_take(struct smx_inlet *inlet, const uint8_t *data, size_t len)
{
    while (len > 0 && !inlet->over && !inlet->opaque) {
        size_t wanted = inlet->left > 0 ? inlet->left : SMX_INLET_HEAD - (size_t)inlet->head_len;
        size_t part = len < wanted ? len : wanted;
        if (inlet->left > 0) {
            inlet->left -= (uint32_t)part;
        } else {
            memcpy(inlet->head + inlet->head_len, data, part);
            inlet->head_len += (uint8_t)part;
            inlet->over = inlet->head_len == SMX_INLET_HEAD && !begin_frame(inlet);
        }
        data += part;
        len -= part;
    }
    return !inlet->over;
}
