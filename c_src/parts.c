/* Owns events that go out in parts; knows nothing of what they say. */
#include "parts.h"

#include <stdlib.h>

#include "frame.h"
#include "term.h"

enum {
    VERSION = 131,
    SMALL_PART = 45000, /* with its frame 11 pages of a pipe: a narrow one holds two and most of the next */
    SMALL_PARTS = 64,   /* after an event that did not go in parts */
};

struct item {
    struct item *next;
    struct smx_whole whole;
};

/* The events of one tag, the oldest first. */
struct smx_lane {
    struct smx_lane *next;
    struct smx_buffer tag;
    struct item *first;
    size_t at; /* bytes of it that have gone out */
};

static size_t size_of(const struct item *item)
{
    return item->whole.term.len + item->whole.lent.span.len;
}

static void drop_first(struct smx_parts *parts, struct smx_lane *lane)
{
    struct item *item = lane->first;
    parts->held -= size_of(item) - lane->at;
    lane->at = 0;
    lane->first = item->next;
    smx_buffer_fini(&item->whole.term);
    free(item->whole.memory);
    free(item);
}

/* The lane has to be empty. */
static void remove_lane(struct smx_lane **place)
{
    struct smx_lane *lane = *place;
    *place = lane->next;
    smx_buffer_fini(&lane->tag);
    free(lane);
}

/* Where the lane of a tag hangs, or the end of the lanes. */
static struct smx_lane **find(const struct smx_parts *parts, struct smx_span tag)
{
    struct smx_lane **place = (struct smx_lane **)&parts->lanes;
    while (*place && !smx_span_equal(smx_buffer_span(&(*place)->tag), tag))
        place = &(*place)->next;
    return place;
}

void smx_parts_fini(struct smx_parts *parts)
{
    while (parts->lanes)
        smx_parts_drop(parts, smx_buffer_span(&parts->lanes->tag));
}

bool smx_parts_has(const struct smx_parts *parts, struct smx_span tag)
{
    return *find(parts, tag);
}

void smx_parts_add(struct smx_parts *parts, struct smx_span tag, struct smx_whole whole)
{
    struct smx_lane **place = find(parts, tag);
    if (!*place) {
        *place = smx_alloc(sizeof(**place));
        smx_buffer_append_span(&(*place)->tag, tag);
    }
    struct item **last = &(*place)->first;
    while (*last)
        last = &(*last)->next;
    *last = smx_alloc(sizeof(**last));
    **last = (struct item){.whole = whole};
    parts->held += size_of(*last);
}

void smx_parts_drop(struct smx_parts *parts, struct smx_span tag)
{
    struct smx_lane **place = find(parts, tag);
    if (!*place)
        return;
    while ((*place)->first)
        drop_first(parts, *place);
    remove_lane(place);
}

/* Appends so many bytes of an event, from there on: what is in front of the lent ones, of them, and behind them. */
static void put_bytes(const struct smx_whole *whole, size_t from, size_t len, struct smx_buffer *out)
{
    const struct smx_span pieces[] = {{whole->term.data, whole->lent.place},
                                      whole->lent.span,
                                      {whole->term.data + whole->lent.place, whole->term.len - whole->lent.place}};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        size_t skipped = from < pieces[i].len ? from : pieces[i].len;
        size_t taken = len < pieces[i].len - skipped ? len : pieces[i].len - skipped;
        smx_buffer_append(out, pieces[i].data + skipped, taken);
        from -= skipped;
        len -= taken;
    }
}

static void put_part(struct smx_lane *lane, size_t len, bool last, struct smx_buffer *out)
{
    smx_buffer_append(out, (const uint8_t[]){VERSION}, 1);
    smx_term_put_tuple(out, 3);
    smx_term_put_atom(out, last ? "last" : "part");
    smx_buffer_append_span(out, smx_buffer_span(&lane->tag));
    smx_term_put_binary_head(out, len);
    put_bytes(&lane->first->whole, lane->at, len, out);
}

void smx_parts_mix(struct smx_parts *parts)
{
    parts->small = SMALL_PARTS;
}

bool smx_parts_next(struct smx_parts *parts, size_t size, struct smx_buffer *out)
{
    struct smx_lane *lane = parts->lanes;
    if (!lane)
        return false;
    if (parts->small > 0) {
        parts->small--;
        size = size < SMALL_PART ? size : SMALL_PART;
    }
    size_t left = size_of(lane->first) - lane->at;
    size_t len = left < size ? left : size;
    size_t place = smx_frame_open(out);
    if (len == size_of(lane->first))
        put_bytes(&lane->first->whole, 0, len, out);
    else
        put_part(lane, len, len == left, out);
    smx_frame_seal(out, place);
    lane->at += len;
    parts->held -= len;
    if (len == left)
        drop_first(parts, lane);
    if (!lane->first) {
        remove_lane(&parts->lanes);
    } else if (lane->next) {
        struct smx_lane **end = &parts->lanes;
        *end = lane->next;
        while (*end)
            end = &(*end)->next;
        *end = lane;
        lane->next = NULL;
    }
    return true;
}
