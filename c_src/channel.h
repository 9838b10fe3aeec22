/* Makes the gRPC channel of a connection: its arguments, each with its reason, and its credentials. */
#ifndef SMX_CHANNEL_H
#define SMX_CHANNEL_H

#include "protocol.h"

struct grpc_channel;

/* The caller's, for grpc_channel_destroy. `target` ends with a NUL. NULL with `why` set when ca_file can't be read. */
struct grpc_channel *smx_channel_new(const char *target, const struct smx_connect_options *options, size_t max_message,
                                     struct smx_error *why);

#endif
