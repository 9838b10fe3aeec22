/* Owns nothing; knows the fields of HealthResponse and InfoResponse. */
#include "info.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const uint8_t grpc_prefix[5] = {0};

void smx_info_fini(struct smx_info *info)
{
    smx_buffer_fini(&info->base);
    smx_buffer_fini(&info->capabilities);
    smx_buffer_fini(&info->version);
}

bool smx_info_health(const struct smx_info *info, struct smx_exchange *exchange, struct smx_span request,
                     struct smx_buffer *out)
{
    struct smx_span worker_id;
    if (!smx_read_health(request, &worker_id))
        return false;
    smx_buffer_append(out, grpc_prefix, sizeof(grpc_prefix));
    smx_put_number(out, 1, smx_exchange_is_healthy(exchange));
    smx_put_bytes(out, 2, worker_id);
    smx_put_number(out, 3, (smx_now_us() - info->started_us) / 1000);
    struct smx_counts counts = smx_exchange_counts(exchange);
    smx_put_number(out, 4, counts.requests);
    smx_put_number(out, 5, counts.errors);
    smx_put_bytes(out, 6, smx_buffer_span(&info->version));
    return true;
}

/* Resident bytes of this process; 0 where that can't be read. */
static int64_t memory_usage(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    int64_t size = 0, resident = 0;
    if (statm && fscanf(statm, "%" SCNd64 " %" SCNd64, &size, &resident) != 2)
        resident = 0;
    if (statm)
        fclose(statm);
    return resident * sysconf(_SC_PAGESIZE);
}

static double cpu_percent(int64_t uptime_us)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    double used_us = (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
    return uptime_us > 0 ? 100.0 * used_us / (double)uptime_us : 0;
}

bool smx_info_tell(const struct smx_info *info, struct smx_exchange *exchange, struct smx_span request,
                   struct smx_buffer *out)
{
    bool wants_capabilities, wants_stats;
    if (!smx_read_info(request, &wants_capabilities, &wants_stats))
        return false;
    smx_buffer_append(out, grpc_prefix, sizeof(grpc_prefix));
    smx_buffer_append_span(out, smx_buffer_span(&info->base));
    if (wants_capabilities)
        smx_buffer_append_span(out, smx_buffer_span(&info->capabilities));
    if (wants_stats) {
        struct smx_counts counts = smx_exchange_counts(exchange);
        struct smx_buffer stats = {0};
        int64_t uptime_us = smx_now_us() - info->started_us;
        smx_put_number(&stats, 1, counts.requests);
        smx_put_number(&stats, 2, counts.errors);
        smx_put_number(&stats, 3, uptime_us / 1000);
        smx_put_number(&stats, 4, memory_usage());
        smx_put_double(&stats, 5, cpu_percent(uptime_us));
        smx_put_number(&stats, 6, counts.sessions);
        smx_put_bytes(out, 5, smx_buffer_span(&stats));
        smx_buffer_fini(&stats);
    }
    return true;
}
