/* MessagePack: read into a term that is being built, and how values are written. */
#ifndef SMX_CODEC_MSGPACK_H
#define SMX_CODEC_MSGPACK_H

#include "build.h"
#include "codec_writer.h"

/* One value, all of `bytes`. False with `fault` set: it can't be a term, and `build` may be half way. */
bool smx_codec_msgpack_read(struct smx_span bytes, struct smx_build *build, char fault[SMX_CODEC_FAULT_SIZE]);

extern const struct smx_codec_writer smx_codec_msgpack_writer;

#endif
