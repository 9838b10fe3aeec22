/* What codec.c needs to write values in a format: one such table for each. */
#ifndef SMX_CODEC_WRITER_H
#define SMX_CODEC_WRITER_H

#include "util.h"

enum { SMX_CODEC_FAULT_SIZE = 128 }; /* of the text that says why a value can't be read */

struct smx_codec_writer {
    void (*put_null)(struct smx_buffer *out);
    void (*put_bool)(struct smx_buffer *out, bool value);
    void (*put_int)(struct smx_buffer *out, int64_t value);
    void (*put_uint)(struct smx_buffer *out, uint64_t value);
    void (*put_double)(struct smx_buffer *out, double value);
    void (*put_string)(struct smx_buffer *out, struct smx_span value); /* valid UTF-8 */
    void (*put_bytes)(struct smx_buffer *out, struct smx_span value);  /* NULL: the format has none */
    void (*open_list)(struct smx_buffer *out, size_t count);
    void (*open_map)(struct smx_buffer *out, size_t count);
    const char *comma; /* between elements, and between pairs */
    const char *colon; /* between key and value */
    const char *end_list;
    const char *end_map;
};

#endif
