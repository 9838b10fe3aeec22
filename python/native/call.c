/* Owns calls and answers one by one; knows neither where they wait nor how they travel. */
#include "call.h"

#include <stdlib.h>
#include <string.h>

struct smx_call *smx_call_new(enum smx_request_kind kind, bool is_stream, struct smx_buffer *message,
                              struct smx_metadata *metadata)
{
    struct smx_call *call = smx_alloc(sizeof(*call));
    atomic_init(&call->references, 1);
    call->kind = kind;
    call->is_stream = is_stream;
    call->message = *message;
    call->metadata = *metadata;
    call->deadline_us = INT64_MAX;
    *message = (struct smx_buffer){0};
    *metadata = (struct smx_metadata){0};
    if (pthread_cond_init(&call->room, NULL) != 0)
        smx_abort("no condition variable");
    return call;
}

struct smx_call *smx_call_keep(struct smx_call *call)
{
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
    return call;
}

void smx_call_release(struct smx_call *call)
{
    if (atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) > 1)
        return;
    pthread_cond_destroy(&call->room);
    smx_buffer_fini(&call->message);
    smx_buffer_fini(&call->metadata.entries);
    free(call);
}

struct smx_answer *smx_answer_new(struct smx_call *call, enum smx_answer_kind kind)
{
    struct smx_answer *answer = smx_alloc(sizeof(*answer));
    answer->references = 1;
    answer->call = smx_call_keep(call);
    answer->kind = kind;
    return answer;
}

static void add_part(struct smx_answer *answer, struct smx_part part)
{
    if (answer->part_count % 8 == 0)
        answer->parts = smx_realloc(answer->parts, (answer->part_count + 8) * sizeof(*answer->parts));
    answer->parts[answer->part_count++] = part;
    answer->len += part.len;
}

void smx_answer_seal_head(struct smx_answer *answer)
{
    size_t from = 0;
    for (size_t i = answer->part_count; i > 0 && from == 0; i--)
        if (!answer->parts[i - 1].data)
            from = answer->parts[i - 1].offset + answer->parts[i - 1].len;
    if (answer->head.len > from)
        add_part(answer, (struct smx_part){NULL, from, answer->head.len - from});
}

void smx_answer_add_part(struct smx_answer *answer, const uint8_t *data, size_t len)
{
    smx_answer_seal_head(answer);
    if (len > 0)
        add_part(answer, (struct smx_part){data, 0, len});
}

bool smx_answer_finish(struct smx_answer *answer)
{
    smx_answer_seal_head(answer);
    answer->left = answer->len;
    size_t len = answer->len - 5;
    if (len > UINT32_MAX)
        return false;
    uint8_t prefix[5] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(answer->head.data, prefix, sizeof(prefix));
    return true;
}

void smx_answer_free(struct smx_answer *answer)
{
    smx_call_release(answer->call);
    smx_buffer_fini(&answer->text);
    smx_buffer_fini(&answer->story);
    smx_buffer_fini(&answer->head);
    free(answer->parts);
    free(answer->views);
    free(answer);
}
