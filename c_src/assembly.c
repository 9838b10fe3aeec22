/* Owns commands that come in parts; knows nothing of what they say. */
#include "assembly.h"

#include <stdlib.h>

struct piece {
    struct smx_buffer tag;
    struct smx_buffer bytes;
    bool refused; /* nothing is kept: only the last part is waited for */
};

static void forget_bytes(struct smx_assembly *assembly, struct piece *piece)
{
    assembly->held -= piece->bytes.len;
    smx_buffer_fini(&piece->bytes);
}

static void free_piece(struct smx_assembly *assembly, struct piece *piece)
{
    forget_bytes(assembly, piece);
    assembly->held -= SMX_PARTS_TAG;
    smx_buffer_fini(&piece->tag);
    free(piece);
}

void smx_assembly_fini(struct smx_assembly *assembly)
{
    struct piece *piece;
    for (size_t at = 0; (piece = smx_table_next(&assembly->open, &at));)
        free_piece(assembly, piece);
    smx_table_fini(&assembly->open);
}

bool smx_assembly_has(const struct smx_assembly *assembly, struct smx_span tag)
{
    const struct piece *piece = smx_table_get(&assembly->open, tag);
    return piece && !piece->refused;
}

/* The parts of a tag, perhaps none so far. NULL when there is no room for one more tag and `len` bytes. */
static struct piece *open_piece(struct smx_assembly *assembly, struct smx_span tag, size_t len, size_t max_frame)
{
    struct piece *piece = smx_table_get(&assembly->open, tag);
    size_t more = len + (piece ? 0 : SMX_PARTS_TAG);
    if (more > SMX_PARTS_FRAMES * max_frame - assembly->held)
        return NULL;
    if (!piece) {
        piece = smx_alloc(sizeof(*piece));
        smx_buffer_append_span(&piece->tag, tag);
        smx_table_put(&assembly->open, smx_buffer_span(&piece->tag), piece);
    }
    assembly->held += more;
    return piece;
}

bool smx_assembly_add(struct smx_assembly *assembly, struct smx_span tag, struct smx_span bytes, size_t max_frame,
                      struct smx_error *why)
{
    struct piece *piece = smx_table_get(&assembly->open, tag);
    if (piece && piece->refused)
        return false;
    if (bytes.len > max_frame - (piece ? piece->bytes.len : 0))
        return smx_error_set(why, SMX_RESOURCE_EXHAUSTED, "too_large",
                             "the parts of the command have more than max_frame (%zu) bytes: raise it and max_message, "
                             "or send less at once (results may come as a stream)",
                             max_frame);
    piece = open_piece(assembly, tag, bytes.len, max_frame);
    if (!piece)
        return smx_error_set(why, SMX_RESOURCE_EXHAUSTED, "too_many_parts",
                             "all commands in parts together have more than max_parts (%zu) bytes: send fewer at "
                             "once, or raise max_frame",
                             SMX_PARTS_FRAMES * max_frame);
    smx_buffer_append_span(&piece->bytes, bytes);
    return true;
}

bool smx_assembly_refuse(struct smx_assembly *assembly, struct smx_span tag, size_t max_frame)
{
    struct piece *piece = open_piece(assembly, tag, 0, max_frame);
    if (!piece)
        return true; /* no room to remember it: the next one will be refused on its own */
    bool first = !piece->refused;
    piece->refused = true;
    forget_bytes(assembly, piece);
    return first;
}

bool smx_assembly_take(struct smx_assembly *assembly, struct smx_span tag, struct smx_buffer *whole)
{
    struct piece *piece = smx_table_remove(&assembly->open, tag);
    if (!piece)
        return false;
    bool is_whole = !piece->refused;
    if (is_whole) {
        assembly->held -= piece->bytes.len;
        *whole = piece->bytes;
        piece->bytes = (struct smx_buffer){0};
    }
    free_piece(assembly, piece);
    return is_whole;
}

bool smx_assembly_drop(struct smx_assembly *assembly, struct smx_span tag)
{
    struct smx_buffer whole = {0};
    bool was_whole = smx_assembly_take(assembly, tag, &whole);
    smx_buffer_fini(&whole);
    return was_whole;
}
