/* Owns the heap, not the timers; knows nothing of what they are for. */
#include "timer.h"

#include <stdlib.h>

static void put(struct smx_timers *timers, size_t place, struct smx_timer *timer)
{
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static void move_up(struct smx_timers *timers, struct smx_timer *timer, size_t place)
{
    for (; place > 1 && timers->heap[place / 2 - 1]->at_ms > timer->at_ms; place /= 2)
        put(timers, place, timers->heap[place / 2 - 1]);
    put(timers, place, timer);
}

static void move_down(struct smx_timers *timers, struct smx_timer *timer, size_t place)
{
    for (;;) {
        size_t child = place * 2;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child]->at_ms < timers->heap[child - 1]->at_ms)
            child++;
        if (timers->heap[child - 1]->at_ms >= timer->at_ms)
            break;
        put(timers, place, timers->heap[child - 1]);
        place = child;
    }
    put(timers, place, timer);
}

void smx_timers_fini(struct smx_timers *timers)
{
    free(timers->heap);
    *timers = (struct smx_timers){0};
}

void smx_timer_set(struct smx_timers *timers, struct smx_timer *timer, int64_t at_ms)
{
    smx_timer_stop(timers, timer);
    if (timers->count == timers->cap) {
        timers->cap = timers->cap ? timers->cap * 2 : 64;
        timers->heap = smx_realloc(timers->heap, timers->cap * sizeof(struct smx_timer *));
    }
    timer->at_ms = at_ms;
    timers->count++;
    move_up(timers, timer, timers->count);
}

void smx_timer_stop(struct smx_timers *timers, struct smx_timer *timer)
{
    size_t place = timer->place;
    if (place == 0)
        return;
    timer->place = 0;
    struct smx_timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    if (place > 1 && timers->heap[place / 2 - 1]->at_ms > last->at_ms)
        move_up(timers, last, place);
    else
        move_down(timers, last, place);
}

void smx_timers_run(struct smx_timers *timers, int64_t now_ms)
{
    while (timers->count > 0 && timers->heap[0]->at_ms <= now_ms) {
        struct smx_timer *timer = timers->heap[0];
        smx_timer_stop(timers, timer);
        timer->fire(timer->owner);
    }
}

int64_t smx_timers_next(const struct smx_timers *timers)
{
    return timers->count > 0 ? timers->heap[0]->at_ms : -1;
}
