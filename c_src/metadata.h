/* Request metadata of the owner, read: {Key, Value} binaries -> pairs, and the rules for them. */
#ifndef SMX_METADATA_H
#define SMX_METADATA_H

#include "protocol.h"

/*
 * Reads a map, or a list of {Key, Value}, at `*at` of `term` (checked) and moves `*at` behind it. False: `*at` is where
 * the fault is, and `why` is set (invalid_argument, reason `bad_option`) unless the term has another shape.
 * The pairs borrow from `term` and from `*array`, the caller's to free.
 */
bool smx_metadata_read(struct smx_span term, size_t *at, struct smx_pairs *pairs, void **array, struct smx_error *why);

#endif
