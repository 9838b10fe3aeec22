/* Builds an encoded term value by value, as a parser meets them: counts are filled in at the end of a container. */
#ifndef SMX_BUILD_H
#define SMX_BUILD_H

#include "npy.h"
#include "protocol.h"

enum { SMX_BUILD_LEVELS = SMX_MAX_DEPTH + 1 }; /* a map of values that are of full depth */

/* An open container. */
struct smx_build_level {
    bool is_map;
    size_t place; /* of its header in out */
    size_t count;
    size_t first; /* of its keys in `keys` */
};

/* Bytes that belong into a buffer at a place of it, and stay where they are: SMX_LARGE at least. */
struct smx_lent {
    struct smx_span span; /* empty: none */
    size_t place;
};

/* Zero but for `out`, `style` and perhaps `lent` before use. */
struct smx_build {
    struct smx_buffer *out; /* borrowed */
    struct smx_lent *lent;  /* takes a large binary that is the value of the outermost map's only pair; NULL: none */
    struct smx_style style;
    struct smx_build_level levels[SMX_BUILD_LEVELS];
    size_t depth;
    size_t *keys; /* places of the keys of all open maps */
    size_t key_count;
    size_t key_cap;
};

void smx_build_fini(struct smx_build *build);

void smx_build_null(struct smx_build *build);
void smx_build_bool(struct smx_build *build, bool value);
void smx_build_int(struct smx_build *build, int64_t value);
void smx_build_uint(struct smx_build *build, uint64_t value);
void smx_build_double(struct smx_build *build, double value);
void smx_build_binary(struct smx_build *build, struct smx_span value);
void smx_build_tensor(struct smx_build *build, const struct smx_npy *array);

/* Opens a container in this place. False: there is no level left for it. */
bool smx_build_list(struct smx_build *build);
bool smx_build_map(struct smx_build *build);
/* In a map: the next value is its key, the one after that belongs to it. */
void smx_build_key(struct smx_build *build);
/* Closes the container; of pairs with the same key the last one stays. */
void smx_build_end(struct smx_build *build);

#endif
