/*
 * Values of JSON and MessagePack as the bytes they are: found, cut out and put together, never decoded. What passes
 * through here comes out unchanged, whatever its numbers, strings and depth.
 */
#ifndef SMX_SPLICE_H
#define SMX_SPLICE_H

#include "codec.h"
#include "codec_writer.h"

/* The key that carries what is no map with text keys. */
#define SMX_VALUE_KEY "snakemux.value"

/* The codec that a legacy frame tells by its first byte, or RAW for one that is neither. */
enum smx_codec smx_splice_codec(struct smx_span frame);

/*
 * Moves `*at` behind the value that starts there. False when there is none: JSON is strict (RFC 8259: no NaN, valid
 * UTF-8, no half surrogate pair, at most SMX_SPLICE_LEVELS deep), MessagePack is well-formed.
 */
enum { SMX_SPLICE_LEVELS = 4096 };
bool smx_splice_skip(enum smx_codec codec, struct smx_span bytes, size_t *at);
/* One value and nothing else. */
bool smx_splice_is_value(enum smx_codec codec, struct smx_span bytes);

/*
 * The pairs of one value that is a map with text keys, without NUL: keys as plain text, values as they are. False
 * when the value is something else, or when there is something behind it; `pairs` is empty then.
 */
bool smx_splice_map(enum smx_codec codec, struct smx_span value, struct smx_values *pairs);
/* Its pairs, or the value itself under SMX_VALUE_KEY. */
void smx_splice_unwrap(enum smx_codec codec, struct smx_span value, struct smx_values *pairs);
/* The opposite: appends the map of the pairs, or what stands under SMX_VALUE_KEY alone. */
void smx_splice_wrap(enum smx_codec codec, struct smx_pairs pairs, struct smx_buffer *out);

/* The value under a key, empty when there is none. */
struct smx_span smx_splice_find(const struct smx_values *pairs, const char *key);
/* Appends the plain text of a string; of any other value what it looks like. */
void smx_splice_text(enum smx_codec codec, struct smx_span value, struct smx_buffer *out);
bool smx_splice_is_true(enum smx_codec codec, struct smx_span value);
bool smx_splice_is_integer(enum smx_codec codec, struct smx_span value);

/* How this codec writes; NULL for RAW. Borrowed, static. */
const struct smx_codec_writer *smx_splice_writer(enum smx_codec codec);

/* Of the old side's MessagePack: text that is no UTF-8 becomes bytes, as its workers took it. True if there was any. */
bool smx_splice_mend(struct smx_span value, struct smx_buffer *out);

/* Whether there is an extension of MessagePack in it, an array for one: the old side has no such values. */
bool smx_splice_has_extension(enum smx_codec codec, struct smx_span value);

/* For splice.c, in the files of the two formats. */
bool smx_splice_json_skip(struct smx_span text, size_t *at);
bool smx_splice_json_map(struct smx_span text, struct smx_values *pairs);
bool smx_splice_json_text(struct smx_span value, struct smx_buffer *out);
bool smx_splice_msgpack_skip(struct smx_span bytes, size_t *at);
bool smx_splice_msgpack_map(struct smx_span bytes, struct smx_values *pairs);
bool smx_splice_msgpack_text(struct smx_span value, struct smx_buffer *out);

#endif
