/* Options of a call, of a connection and of the front, read: an encoded map -> structs. Every wrong one is named. */
#ifndef SMX_OPTIONS_H
#define SMX_OPTIONS_H

#include "protocol.h"

/* The options of {options, Tag, Map}. One that the map leaves out has its default again. */
struct smx_front_options {
    bool batch;       /* several events in one frame */
    bool meta;        /* with the ok of a call, else #{} */
    bool pins;        /* a session that gets a pin is told of */
    int64_t fragment; /* events that carry more bytes travel in parts of at most so many; 0: none does */
};

/*
 * Each reads the map at `*at` of `term` (checked), sets the defaults and what the map says, and moves `*at` behind it.
 * False with `why` set (invalid_argument, reason `bad_option`): `*at` is where the fault is. The structs borrow from
 * `term` and from `*array`, the caller's to free, which may move when a list is read.
 */
bool smx_options_read_call(struct smx_span term, size_t *at, struct smx_call_options *options, void **array,
                           struct smx_error *why);
/* Of health and info: a timeout alone. */
bool smx_options_read_timeout(struct smx_span term, size_t *at, struct smx_call_options *options,
                              struct smx_error *why);
bool smx_options_read_connect(struct smx_span term, size_t *at, struct smx_connect_options *options, void **array,
                              struct smx_error *why);
bool smx_options_read_front(struct smx_span term, size_t *at, struct smx_front_options *options, struct smx_error *why);

/* Single values. Each moves `*at` behind it; false, and `*at` stays, where something else is. */
/* A binary of 1 to `max` bytes, valid UTF-8 without NUL. */
bool smx_options_get_name(struct smx_span term, size_t *at, size_t max, struct smx_span *name);
/* An integer of `min` to 2^31-1, or the atom (NULL: none), which reads as `instead`. */
bool smx_options_get_number(struct smx_span term, size_t *at, int64_t min, const char *atom, int64_t instead,
                            int64_t *value);

#endif
