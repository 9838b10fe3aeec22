/* What codec.c needs to write values in a format: one such table for each. */
#ifndef SMX_CODEC_WRITER_H
#define SMX_CODEC_WRITER_H

#include "npy.h"
#include "util.h"

enum { SMX_CODEC_FAULT_SIZE = SMX_NPY_FAULT_SIZE }; /* of the text that says why a value can't be read */

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
        SMX_VALUE_ARRAY,
    } kind;
    union {
        bool boolean;
        int64_t number;
        uint64_t large;
        double fraction;
        struct smx_span span;
        size_t count;
        struct {
            const struct smx_npy *array;
            bool alone; /* it is all of the value, not in a list or a map */
        };
    };
};

struct smx_codec_writer {
    void (*put)(struct smx_buffer *out, const struct smx_value *value);
    uint8_t text_head;  /* of more than 64 KiB: this byte and four of the length, as a term has it; 0: not so */
    uint8_t bytes_head; /* the same */
    bool has_bytes;     /* else SMX_VALUE_BYTES and SMX_VALUE_ARRAY are never put */
    const char *comma;  /* between elements, and between pairs */
    const char *colon;  /* between key and value */
    const char *end_list;
    const char *end_map;
};

#endif
