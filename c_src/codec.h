/* Values: terms <-> JSON, MessagePack, bytes. No I/O, no gRPC. The mapping: docs/PROTOCOL.md. */
#ifndef SMX_CODEC_H
#define SMX_CODEC_H

#include "protocol.h"

struct smx_lent;

/* Encoded arguments; all zero is empty. The pairs point into `bytes`, or (raw, keys, in place) into the term they came
 * from. */
struct smx_values {
    struct smx_pair *items;
    size_t count;
    struct smx_buffer bytes;
    struct smx_buffer *memory; /* given: where the term is, if it may be made a value; NULL: all are copies */
    bool in_place;             /* a large value is there, and the term is none any more */
};

void smx_values_fini(struct smx_values *values);

/*
 * `term`: an encoded map (checked by smx_term_check) of binary keys (for JSON and MessagePack also atom or integer
 * keys). `codec`: RAW (values must be binaries), JSON or MSGPACK. False with `why` set: invalid_argument, reason
 * `encode`, its message naming the path of the value ("args.items[3]") and what to do. `values` borrows from `term`.
 */
bool smx_codec_encode_args(enum smx_codec codec, struct smx_span term, struct smx_values *values,
                           struct smx_error *why);

/*
 * Appends the map of `pairs` as an encoded term. `codec`: RAW, JSON, MSGPACK or LENIENT. False with `why` set
 * (internal, reason `decode`, origin worker, sent, naming the key) and `out` unchanged when a key is not valid UTF-8 or
 * a value can't be read. `lent`: takes the value if it is the only one and a large binary, which `out` then lacks;
 * NULL: none.
 */
bool smx_codec_decode_pairs(enum smx_codec codec, struct smx_pairs pairs, struct smx_style style,
                            struct smx_buffer *out, struct smx_lent *lent, struct smx_error *why);

/*
 * Values of one codec (JSON, MSGPACK or LENIENT) as values of another (JSON or MSGPACK), within what terms can say:
 * docs/ PROTOCOL.md, "Values". False with `why` set: invalid_argument, reason `encode`. `values` borrows the keys.
 */
bool smx_codec_transcode(enum smx_codec from, struct smx_pairs pairs, enum smx_codec to, struct smx_values *values,
                         struct smx_error *why);

/*
 * Reads the trailing metadata snakemux-error-bin: a MessagePack map of code (a name or a number), message, and more
 * (type, traceback, details), which become `error->details`, a map with binary keys. Sets code, message and details of
 * `error` (a fresh one). False when it can't be read; then `error` is untouched.
 */
bool smx_codec_read_error(struct smx_span bytes, struct smx_style style, struct smx_error *error);

#endif
