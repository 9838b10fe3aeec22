/* Erlang's external term format: the bounded check that makes ei safe, and a writer. The format: erl_ext_dist(7). */
#ifndef SMX_TERM_H
#define SMX_TERM_H

#include "util.h"

/*
 * Walks one term without trusting any length in it. `at` is where it starts in `frame` and, on true, where it ends.
 * False: truncated, deeper than SMX_MAX_DEPTH, or not a tag that ei can read; `*at` is where, `*why` says what (static).
 * What it accepts, ei's decoders read safely.
 */
bool smx_term_check(struct smx_span frame, size_t *at, const char **why);

/* The writer. A list of `count` > 0 elements is put_list, the elements, put_nil; an empty one is put_nil alone. */
void smx_term_put_atom(struct smx_buffer *out, const char *name);
void smx_term_put_bool(struct smx_buffer *out, bool value);
void smx_term_put_int(struct smx_buffer *out, int64_t value);
void smx_term_put_uint(struct smx_buffer *out, uint64_t value);
void smx_term_put_double(struct smx_buffer *out, double value);
void smx_term_put_binary(struct smx_buffer *out, struct smx_span value);
void smx_term_put_text(struct smx_buffer *out, const char *value); /* a binary */
void smx_term_put_tuple(struct smx_buffer *out, size_t count);
void smx_term_put_map(struct smx_buffer *out, size_t count);
void smx_term_put_list(struct smx_buffer *out, size_t count);
void smx_term_put_nil(struct smx_buffer *out);

#endif
