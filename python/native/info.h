/* What Health and GetInfo say, without Python: most of it was made beforehand. */
#ifndef SMX_INFO_H
#define SMX_INFO_H

#include "exchange.h"

struct smx_info {
    struct smx_buffer base;         /* of InfoResponse, what the worker says */
    struct smx_buffer capabilities; /* and what is told to those who ask for it */
    struct smx_buffer version;      /* of the library */
    int64_t started_us;
};

void smx_info_fini(struct smx_info *info);
/* The five bytes of gRPC and a HealthResponse. False if the request can't be read. */
bool smx_info_health(const struct smx_info *info, struct smx_exchange *exchange, struct smx_span request,
                     struct smx_buffer *out);
/* The same with an InfoResponse. */
bool smx_info_tell(const struct smx_info *info, struct smx_exchange *exchange, struct smx_span request,
                   struct smx_buffer *out);

#endif
