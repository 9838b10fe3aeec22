/* Terms -> values in a format. */
#ifndef SMX_CODEC_ENCODE_H
#define SMX_CODEC_ENCODE_H

#include "codec.h"
#include "codec_writer.h"

/* As smx_codec_encode_args, by this writer; NULL: raw. */
bool smx_codec_encode(const struct smx_codec_writer *writer, struct smx_span term, struct smx_values *values,
                      struct smx_error *why);

#endif
