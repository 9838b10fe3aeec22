/* Erlang's external term format (erl_ext_dist): the bounded check that makes reading safe, a reader and a writer. */
#ifndef SMX_TERM_H
#define SMX_TERM_H

#include "util.h"

enum { SMX_TERM_ATOM_SIZE = 255 * 4 + 1 }; /* 255 characters in UTF-8 and a NUL */

/*
 * Walks one term without trusting any length in it. `at` is where it starts in `frame` and, on true, where it ends.
 * False: truncated, not a term that the reader knows, or nested deeper than a value of SMX_MAX_DEPTH levels in a
 * message; `*at` is where, `*why` says what (static). The reader is safe on what it accepted.
 */
bool smx_term_check(struct smx_span frame, size_t *at, const char **why);
/* Moves `*at` behind the term, however deep it is. False, and `*at` stays, when its end can't be found. */
bool smx_term_skip(struct smx_span frame, size_t *at);

/*
 * The reader, for what was checked; a tuple's header also without that. Each moves `*at` behind what it read; false,
 * and `*at` stays, where another kind of term is.
 */
bool smx_term_get_atom(struct smx_span term, size_t *at, char name[SMX_TERM_ATOM_SIZE]); /* UTF-8, without NUL in it */
bool smx_term_get_int(struct smx_span term, size_t *at, int64_t *value);
bool smx_term_get_uint(struct smx_span term, size_t *at, uint64_t *value);
bool smx_term_get_double(struct smx_span term, size_t *at, double *value); /* not NaN, not infinite */
bool smx_term_get_binary(struct smx_span term, size_t *at, struct smx_span *value);
bool smx_term_get_bytes(struct smx_span term, size_t *at, struct smx_span *value); /* a list of bytes, as STRING_EXT */
/* Headers: `count` elements follow (of a map: pairs; of a list: elements and then the tail, for smx_term_get_nil). */
bool smx_term_get_tuple(struct smx_span term, size_t *at, size_t *count);
bool smx_term_get_map(struct smx_span term, size_t *at, size_t *count);
bool smx_term_get_list(struct smx_span term, size_t *at, size_t *count);
bool smx_term_get_nil(struct smx_span term, size_t *at);

/* What kind of term is there, in words: "a tuple". Static. */
const char *smx_term_kind(struct smx_span term, size_t at);

/* The writer. A list of `count` > 0 elements is put_list, the elements, put_nil; an empty one is put_nil alone. */
void smx_term_put_atom(struct smx_buffer *out, const char *name); /* at most 255 bytes */
void smx_term_put_bool(struct smx_buffer *out, bool value);
void smx_term_put_int(struct smx_buffer *out, int64_t value);
void smx_term_put_uint(struct smx_buffer *out, uint64_t value);
void smx_term_put_double(struct smx_buffer *out, double value);
void smx_term_put_binary(struct smx_buffer *out, struct smx_span value);
void smx_term_put_binary_head(struct smx_buffer *out, size_t len); /* the bytes follow */
void smx_term_put_text(struct smx_buffer *out, const char *value); /* a binary */
void smx_term_put_tuple(struct smx_buffer *out, size_t count);
void smx_term_put_map(struct smx_buffer *out, size_t count);
void smx_term_put_list(struct smx_buffer *out, size_t count);
void smx_term_put_nil(struct smx_buffer *out);
/* Writes a map's or a list's count anew; `place`: where its header starts in `out`. */
void smx_term_set_count(struct smx_buffer *out, size_t place, size_t count);

#endif
