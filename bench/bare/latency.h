/* Latencies in microseconds, all of them kept. */
#ifndef LATENCY_H
#define LATENCY_H

#include <stddef.h>
#include <stdint.h>

struct latency {
    uint32_t *items;
    size_t count;
    size_t cap;
};

void latency_add(struct latency *latency, uint64_t us);
/* Sorts; then latency_at(0.99) is the 99th percentile, 0 when there is none. */
void latency_finish(struct latency *latency);
uint64_t latency_at(const struct latency *latency, double share);
void latency_fini(struct latency *latency);

#endif
