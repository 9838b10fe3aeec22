/* Owns the length in front of a frame; knows neither what is in frames nor where bytes come from. */
#include "frame.h"

#include <stdlib.h>

enum {
    LENGTH_SIZE = 4,
    LEAST_SPACE = 64 * 1024,
    HEAD_SIZE = 4 * 1024,
    KEPT_SIZE = 1024 * 1024, /* a larger buffer is given back when it is empty */
};

void smx_frame_reader_init(struct smx_frame_reader *reader, size_t max_frame)
{
    *reader = (struct smx_frame_reader){.max_frame = max_frame};
}

void smx_frame_reader_fini(struct smx_frame_reader *reader)
{
    smx_buffer_fini(&reader->buffer);
}

static size_t length_at(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

uint8_t *smx_frame_reader_space(struct smx_frame_reader *reader, size_t *len)
{
    struct smx_buffer *buffer = &reader->buffer;
    smx_buffer_drop(buffer, reader->at);
    reader->at = 0;
    if (buffer->len == 0 && buffer->cap > KEPT_SIZE)
        smx_buffer_fini(buffer);
    size_t wanted = LEAST_SPACE;
    if (buffer->len >= LENGTH_SIZE && reader->skip == 0 && reader->tail == 0) {
        size_t whole = LENGTH_SIZE + length_at(buffer->data);
        if (whole <= LENGTH_SIZE + reader->max_frame && whole > buffer->len + wanted)
            wanted = whole - buffer->len;
    }
    uint8_t *space = smx_buffer_reserve(buffer, wanted);
    *len = buffer->cap - buffer->len;
    return space;
}

void smx_frame_reader_fed(struct smx_frame_reader *reader, size_t len)
{
    reader->buffer.len += len;
}

enum smx_frame_kind smx_frame_reader_next(struct smx_frame_reader *reader, struct smx_span *frame)
{
    size_t left = reader->buffer.len - reader->at;
    size_t skipped = reader->skip < left ? reader->skip : left;
    reader->skip -= skipped;
    reader->at += skipped;
    left -= skipped;
    if (reader->tail > 0 && reader->skip == 0 && left >= reader->tail) {
        *frame = (struct smx_span){reader->buffer.data + reader->at, reader->tail};
        reader->at += reader->tail;
        reader->tail = 0;
        return SMX_FRAME_TAIL;
    }
    if (left < LENGTH_SIZE || reader->tail > 0)
        return SMX_FRAME_NONE;
    const uint8_t *start = reader->buffer.data + reader->at;
    size_t len = length_at(start);
    bool oversized = len > reader->max_frame;
    size_t needed = oversized && len > HEAD_SIZE ? HEAD_SIZE : len;
    if (left - LENGTH_SIZE < needed)
        return SMX_FRAME_NONE;
    *frame = (struct smx_span){start + LENGTH_SIZE, needed};
    reader->len = len;
    reader->at += LENGTH_SIZE + needed;
    reader->skip = len - needed;
    reader->tail = reader->skip < reader->tail_size ? reader->skip : reader->tail_size;
    reader->skip -= reader->tail;
    return oversized ? SMX_FRAME_HEAD : SMX_FRAME_WHOLE;
}

size_t smx_frame_open(struct smx_buffer *out)
{
    size_t place = out->len;
    smx_buffer_append(out, (const uint8_t[LENGTH_SIZE]){0}, LENGTH_SIZE);
    return place;
}

void smx_frame_seal(struct smx_buffer *out, size_t place)
{
    size_t len = out->len - place - LENGTH_SIZE;
    for (size_t i = LENGTH_SIZE; i > 0; i--, len >>= 8)
        out->data[place + i - 1] = (uint8_t)len;
}
