/* Owns nothing but the knowledge of gRPC's channel arguments. */
#include "channel.h"

#include <errno.h>
#if __has_include(<grpc/credentials.h>) /* newer cores moved the credentials there */
#include <grpc/credentials.h>
#endif
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ARGS = 32,
    MESSAGES_AT_ONCE = 4, /* of the largest size */
    MANY_STREAMS = 1000,
    USUAL_WINDOW = 64 * 1024,
};

struct args {
    grpc_arg items[MAX_ARGS];
    size_t count;
};

static void add_int(struct args *args, const char *key, int64_t value)
{
    if (args->count == MAX_ARGS)
        smx_abort("too many channel arguments");
    grpc_arg *arg = &args->items[args->count++];
    arg->type = GRPC_ARG_INTEGER;
    arg->key = (char *)key;
    arg->value.integer = value > INT_MAX ? INT_MAX : (int)value;
}

static void add_text(struct args *args, const char *key, char *value)
{
    grpc_arg *arg = &args->items[args->count++];
    arg->type = GRPC_ARG_STRING;
    arg->key = (char *)key;
    arg->value.string = value;
}

static void add_pointer(struct args *args, const char *key, void *value, const grpc_arg_pointer_vtable *table)
{
    grpc_arg *arg = &args->items[args->count++];
    arg->type = GRPC_ARG_POINTER;
    arg->key = (char *)key;
    arg->value.pointer.p = value;
    arg->value.pointer.vtable = table;
}

/* Keys as strings where a newer core has dropped or moved the macro. */
static void add_fixed(struct args *args, const struct smx_connect_options *options, size_t max_message)
{
    /* With retries on, a stream that ends without a status aborts the client (grpc#34683), and a call costs a third
       more memory. */
    add_int(args, "grpc.enable_retries", 0);
    /* Channels to one address would share a connection; each of ours is one worker with its own fate. */
    add_int(args, "grpc.use_local_subchannel_pool", 1);
    /* The proxy variables of the environment would catch loopback targets too. */
    add_int(args, "grpc.enable_http_proxy", 0);
    /* A worker that comes back is found within a second; the first tries are faster. */
    add_int(args, "grpc.initial_reconnect_backoff_ms", 100);
    add_int(args, "grpc.min_reconnect_backoff_ms", 500);
    add_int(args, "grpc.max_reconnect_backoff_ms", 800);
    /* An idle connection stays: the first call after a quiet hour must not pay for a handshake. */
    add_int(args, "grpc.client_idle_timeout_ms", INT_MAX);
    add_int(args, "grpc.max_receive_message_length", (int64_t)max_message);
    add_int(args, "grpc.max_send_message_length", (int64_t)max_message);
    /* Over 8 KiB of metadata in one answer would end every call of the connection. */
    add_int(args, "grpc.max_metadata_size", 65536);
    /* gRPC's inflating has no bound; message.c does it, within max_message. */
    add_int(args, "grpc.per_message_decompression", 0);
    /* Statistics nobody reads. */
    add_int(args, "grpc.enable_channelz", 0);
    /* With probing, a stalled stream's window grows to megabytes. */
    add_int(args, "grpc.http2.bdp_probe", options->bdp_probe);
    /* No service config from DNS: its policies could crash the core. */
    add_int(args, "grpc.service_config_disable_resolution", 1);
}

static void add_chosen(struct args *args, const struct smx_connect_options *options)
{
    if (options->stream_window > 0)
        add_int(args, "grpc.http2.lookahead_bytes", options->stream_window);
    if (options->keepalive_ms > 0) {
        add_int(args, "grpc.keepalive_time_ms", options->keepalive_ms);
        add_int(args, "grpc.keepalive_timeout_ms", options->unresponsive_after_ms);
        add_int(args, "grpc.keepalive_permit_without_calls", 1);
        /* Else keepalive stops after two pings without data. */
        add_int(args, "grpc.http2.max_pings_without_data", 0);
    }
}

static grpc_channel_credentials *read_roots(struct smx_span file, struct smx_error *why)
{
    char path[4096];
    snprintf(path, sizeof(path), "%.*s", (int)file.len, (const char *)file.data);
    FILE *in = fopen(path, "re");
    if (!in) {
        smx_error_set(why, SMX_INVALID_ARGUMENT, "bad_option", "ca_file %s: %s", path, strerror(errno));
        return NULL;
    }
    struct smx_buffer roots = {0};
    size_t len;
    while ((len = fread(smx_buffer_reserve(&roots, 65536), 1, 65535, in)) > 0)
        roots.len += len;
    fclose(in);
    smx_buffer_append(&roots, "", 1);
    grpc_channel_credentials *credentials = grpc_ssl_credentials_create((const char *)roots.data, NULL, NULL, NULL);
    smx_buffer_fini(&roots);
    return credentials;
}

/*
 * What is being received has no other bound: a message over the limit is refused when all of it is here. Each channel
 * has its own, because under pressure gRPC ends streams of it at random. It has room for the full windows of all
 * streams that are to be expected, so that slow consumers alone are no pressure.
 */
static grpc_resource_quota *new_quota(const struct smx_connect_options *options, size_t max_message)
{
    size_t streams = options->max_concurrent > MANY_STREAMS ? options->max_concurrent : MANY_STREAMS;
    size_t window = options->stream_window > USUAL_WINDOW ? options->stream_window : USUAL_WINDOW;
    grpc_resource_quota *quota = grpc_resource_quota_create(NULL);
    grpc_resource_quota_resize(quota, MESSAGES_AT_ONCE * max_message + streams * window);
    return quota;
}

struct grpc_channel *smx_channel_new(const char *target, const struct smx_connect_options *options, size_t max_message,
                                     struct smx_error *why)
{
    struct args args = {0};
    grpc_resource_quota *quota = new_quota(options, max_message);
    add_pointer(&args, "grpc.resource_quota", quota, grpc_resource_quota_arg_vtable());
    add_fixed(&args, options, max_message);
    add_chosen(&args, options);
    char authority[1024];
    if (options->authority.len > 0) {
        snprintf(authority, sizeof(authority), "%.*s", (int)options->authority.len,
                 (const char *)options->authority.data);
        add_text(&args, "grpc.default_authority", authority);
    }
    struct grpc_channel *channel = NULL;
    grpc_channel_credentials *credentials =
        options->ca_file.len > 0 ? read_roots(options->ca_file, why) : grpc_insecure_credentials_create();
    if (credentials) {
        grpc_channel_args list = {args.count, args.items};
        channel = grpc_channel_create(target, credentials, &list);
        grpc_channel_credentials_release(credentials);
    }
    grpc_resource_quota_unref(quota);
    return channel;
}
