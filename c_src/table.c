/* Owns open addressing with linear probing; knows nothing of what it points to. */
#include "table.h"

#include <stdlib.h>

/* value: NULL is a free slot, DELETED one that was used; a search goes on behind the latter. */
struct smx_table_slot {
    struct smx_span key;
    uint64_t hash;
    void *value;
};

static char deleted;
#define DELETED ((void *)&deleted)

/* FNV-1a, its high bits folded into those that choose the slot. */
static uint64_t hash_of(struct smx_span key)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ key.data[i]) * 0x100000001b3;
    return hash ^ hash >> 32;
}

void smx_table_fini(struct smx_table *table)
{
    free(table->slots);
    *table = (struct smx_table){0};
}

static struct smx_table_slot *find(const struct smx_table *table, struct smx_span key)
{
    if (table->count == 0)
        return NULL;
    uint64_t hash = hash_of(key);
    for (size_t i = hash & (table->cap - 1);; i = (i + 1) & (table->cap - 1)) {
        struct smx_table_slot *slot = &table->slots[i];
        if (!slot->value)
            return NULL;
        if (slot->value != DELETED && slot->hash == hash && smx_span_equal(slot->key, key))
            return slot;
    }
}

void *smx_table_get(const struct smx_table *table, struct smx_span key)
{
    struct smx_table_slot *slot = find(table, key);
    return slot ? slot->value : NULL;
}

static void insert(struct smx_table *table, struct smx_table_slot entry)
{
    size_t i = entry.hash & (table->cap - 1);
    while (table->slots[i].value && table->slots[i].value != DELETED)
        i = (i + 1) & (table->cap - 1);
    if (!table->slots[i].value)
        table->used++;
    table->slots[i] = entry;
    table->count++;
}

/* Room for one more; leaves the deleted slots behind. */
static void rehash(struct smx_table *table)
{
    struct smx_table old = *table;
    size_t cap = 16;
    while (cap < 2 * (old.count + 1))
        cap *= 2;
    *table = (struct smx_table){.slots = smx_alloc(cap * sizeof(struct smx_table_slot)), .cap = cap};
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value && old.slots[i].value != DELETED)
            insert(table, old.slots[i]);
    free(old.slots);
}

void smx_table_put(struct smx_table *table, struct smx_span key, void *value)
{
    if ((table->used + 1) * 4 > table->cap * 3)
        rehash(table);
    insert(table, (struct smx_table_slot){key, hash_of(key), value});
}

void *smx_table_remove(struct smx_table *table, struct smx_span key)
{
    struct smx_table_slot *slot = find(table, key);
    if (!slot)
        return NULL;
    void *value = slot->value;
    slot->value = DELETED;
    table->count--;
    return value;
}

void *smx_table_next(const struct smx_table *table, size_t *at)
{
    while (*at < table->cap) {
        void *value = table->slots[(*at)++].value;
        if (value && value != DELETED)
            return value;
    }
    return NULL;
}
