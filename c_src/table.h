/* A hash table from bytes to pointers. A key is borrowed from its value: it must live as long as it is in the table. */
#ifndef SMX_TABLE_H
#define SMX_TABLE_H

#include "util.h"

struct smx_table_slot;

struct smx_table {
    struct smx_table_slot *slots;
    size_t cap;
    size_t count;
    size_t used; /* slots taken, the deleted ones too */
};

/* All zero is an empty table. fini frees the table, not the values. */
void smx_table_fini(struct smx_table *table);
/* NULL when there is none. */
void *smx_table_get(const struct smx_table *table, struct smx_span key);
/* The key must not be in the table. */
void smx_table_put(struct smx_table *table, struct smx_span key, void *value);
/* Returns what was removed, or NULL. */
void *smx_table_remove(struct smx_table *table, struct smx_span key);
/* Visits all: `*at` starts at 0; NULL at the end. Removing what was visited is allowed, putting is not. */
void *smx_table_next(const struct smx_table *table, size_t *at);

#endif
