/* What codec.c needs to write values in a format: one such table for each. */
#ifndef SMX_CODEC_WRITER_H
#define SMX_CODEC_WRITER_H

#include "util.h"

enum { SMX_CODEC_FAULT_SIZE = 128 }; /* of the text that says why a value can't be read */

struct smx_value {
    enum {
        SMX_VALUE_NULL,
        SMX_VALUE_BOOL,
        SMX_VALUE_INT,
        SMX_VALUE_UINT,
        SMX_VALUE_DOUBLE,
        SMX_VALUE_STRING, /* valid UTF-8 */
        SMX_VALUE_BYTES,
        SMX_VALUE_LIST, /* its head: `count` elements follow */
        SMX_VALUE_MAP,  /* its head: `count` pairs follow, the keys strings */
    } kind;
    union {
        bool boolean;
        int64_t number;
        uint64_t large;
        double fraction;
        struct smx_span span;
        size_t count;
    };
};

struct smx_codec_writer {
    void (*put)(struct smx_buffer *out, const struct smx_value *value);
    bool has_bytes;    /* else SMX_VALUE_BYTES is never put */
    const char *comma; /* between elements, and between pairs */
    const char *colon; /* between key and value */
    const char *end_list;
    const char *end_map;
};

#endif
