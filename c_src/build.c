/* Owns the half-built term; knows nothing of where values come from. */
#include "build.h"

#include <stdlib.h>
#include <string.h>

#include "tensor.h"
#include "term.h"

enum { FEW = 16 };

void smx_build_fini(struct smx_build *build)
{
    free(build->keys);
    *build = (struct smx_build){0};
}

/* A value begins: a list counts values, a map its keys. */
static struct smx_buffer *begin(struct smx_build *build)
{
    if (build->depth > 0 && !build->levels[build->depth - 1].is_map)
        build->levels[build->depth - 1].count++;
    return build->out;
}

void smx_build_null(struct smx_build *build)
{
    smx_term_put_atom(begin(build), build->style.null == SMX_NULL_NIL ? "nil" : "null");
}

void smx_build_bool(struct smx_build *build, bool value)
{
    smx_term_put_bool(begin(build), value);
}

void smx_build_int(struct smx_build *build, int64_t value)
{
    smx_term_put_int(begin(build), value);
}

void smx_build_uint(struct smx_build *build, uint64_t value)
{
    smx_term_put_uint(begin(build), value);
}

void smx_build_double(struct smx_build *build, double value)
{
    smx_term_put_double(begin(build), value);
}

static bool is_lent(const struct smx_build *build, struct smx_span value)
{
    if (!build->lent || value.len < SMX_LARGE || build->depth != 1)
        return false;
    return build->out->len > build->keys[build->key_count - 1]; /* else it is the key */
}

void smx_build_binary(struct smx_build *build, struct smx_span value)
{
    if (!is_lent(build, value)) {
        smx_term_put_binary(begin(build), value);
        return;
    }
    smx_term_put_binary_head(begin(build), value.len);
    *build->lent = (struct smx_lent){value, build->out->len};
}

void smx_build_tensor(struct smx_build *build, const struct smx_npy *array)
{
    smx_tensor_put(begin(build), array, build->style.tensors);
}

static bool open_level(struct smx_build *build, bool is_map)
{
    if (build->depth == SMX_BUILD_LEVELS)
        return false;
    struct smx_buffer *out = begin(build);
    build->levels[build->depth++] =
        (struct smx_build_level){.is_map = is_map, .place = out->len, .first = build->key_count};
    if (is_map)
        smx_term_put_map(out, 0);
    else
        smx_term_put_list(out, 0);
    return true;
}

bool smx_build_list(struct smx_build *build)
{
    return open_level(build, false);
}

bool smx_build_map(struct smx_build *build)
{
    return open_level(build, true);
}

void smx_build_key(struct smx_build *build)
{
    if (build->key_count == build->key_cap) {
        build->key_cap = build->key_cap ? build->key_cap * 2 : 64;
        build->keys = smx_realloc(build->keys, build->key_cap * sizeof(size_t));
    }
    build->keys[build->key_count++] = build->out->len;
    build->levels[build->depth - 1].count++;
}

static struct smx_span key_at(const struct smx_buffer *out, size_t place)
{
    size_t end = place;
    smx_term_skip(smx_buffer_span(out), &end);
    return (struct smx_span){out->data + place, end - place};
}

static int compare_places(const void *a, const void *b)
{
    size_t x = *(const size_t *)a;
    size_t y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* By key, then by place. */
static int compare_keys(const void *a, const void *b, void *out)
{
    struct smx_span x = key_at(out, *(const size_t *)a);
    struct smx_span y = key_at(out, *(const size_t *)b);
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
    if (order == 0)
        order = (x.len > y.len) - (x.len < y.len);
    return order != 0 ? order : compare_places(a, b);
}

/* Moves the pairs that stay over those at the places of `dead`, which is in order. */
static void compact(struct smx_buffer *out, const size_t *places, size_t count, const size_t *dead, size_t dead_count)
{
    size_t to = places[0];
    size_t end = out->len;
    for (size_t i = 0; i < count; i++) {
        size_t from = places[i];
        size_t len = (i + 1 < count ? places[i + 1] : end) - from;
        if (dead_count > 0 && *dead == from) {
            dead++;
            dead_count--;
            continue;
        }
        memmove(out->data + to, out->data + from, len);
        to += len;
    }
    out->len = to;
}

/* A map of the BEAM holds a key once, and refuses an encoding that does not. Returns how many pairs are left. */
static size_t drop_repeated(struct smx_buffer *out, const size_t *places, size_t count)
{
    size_t few[FEW];
    size_t *order = count <= FEW ? few : smx_realloc(NULL, count * sizeof(size_t));
    memcpy(order, places, count * sizeof(size_t));
    qsort_r(order, count, sizeof(size_t), compare_keys, out);
    size_t dead = 0;
    for (size_t i = 0; i + 1 < count; i++)
        if (smx_span_equal(key_at(out, order[i]), key_at(out, order[i + 1])))
            order[dead++] = order[i];
    if (dead > 0) {
        qsort(order, dead, sizeof(size_t), compare_places);
        compact(out, places, count, order, dead);
    }
    if (order != few)
        free(order);
    return count - dead;
}

void smx_build_end(struct smx_build *build)
{
    struct smx_build_level *level = &build->levels[--build->depth];
    if (level->is_map) {
        if (level->count > 1)
            level->count = drop_repeated(build->out, build->keys + level->first, level->count);
        build->key_count = level->first;
        smx_term_set_count(build->out, level->place, level->count);
        return;
    }
    if (level->count == 0)
        build->out->len = level->place; /* an empty list has no header */
    else
        smx_term_set_count(build->out, level->place, level->count);
    smx_term_put_nil(build->out);
}
