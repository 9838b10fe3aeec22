/* Owns the percentiles; knows nothing of what was measured. */
#include "latency.h"

#include "util.h"

#include <stdlib.h>

void latency_add(struct latency *latency, uint64_t us)
{
    if (latency->count == latency->cap) {
        latency->cap = latency->cap ? latency->cap * 2 : 65536;
        latency->items = smx_realloc(latency->items, latency->cap * sizeof(*latency->items));
    }
    latency->items[latency->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void latency_finish(struct latency *latency)
{
    if (latency->count > 0)
        qsort(latency->items, latency->count, sizeof(*latency->items), compare);
}

uint64_t latency_at(const struct latency *latency, double share)
{
    if (latency->count == 0)
        return 0;
    size_t index = (size_t)(share * (double)(latency->count - 1) + 0.5);
    return latency->items[index];
}

void latency_fini(struct latency *latency)
{
    free(latency->items);
    *latency = (struct latency){0};
}
