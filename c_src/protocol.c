/* Owns the names of the contract, errors and kept commands; knows neither terms nor gRPC. */
#include "protocol.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[] = {
    "ok",        "cancelled",       "unknown",           "invalid_argument",   "deadline_exceeded",
    "not_found", "already_exists",  "permission_denied", "resource_exhausted", "failed_precondition",
    "aborted",   "out_of_range",    "unimplemented",     "internal",           "unavailable",
    "data_loss", "unauthenticated",
};

enum { CODE_COUNT = sizeof(code_names) / sizeof(code_names[0]) };

const char *smx_code_name(int code)
{
    return code >= 0 && code < CODE_COUNT ? code_names[code] : "unknown";
}

int smx_code_of(struct smx_span name)
{
    for (int code = 0; code < CODE_COUNT; code++) {
        const char *known = code_names[code];
        size_t at = 0;
        while (at < name.len && known[at] && tolower(name.data[at]) == known[at])
            at++;
        if (at == name.len && known[at] == 0)
            return code;
    }
    return -1;
}

bool smx_error_set(struct smx_error *error, enum smx_code code, const char *reason, const char *format, ...)
{
    if (error->code != SMX_OK)
        return false;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    error->code = code;
    error->reason = reason;
    smx_buffer_append(&error->message, text, strlen(text));
    return false;
}

void smx_error_fini(struct smx_error *error)
{
    smx_buffer_fini(&error->message);
    smx_buffer_fini(&error->details);
    *error = (struct smx_error){0};
}

/* Copies the bytes to `*to`, moves it behind them, and lets the span point to the copy. */
static void keep(struct smx_span *span, uint8_t **to)
{
    if (span->len > 0)
        memcpy(*to, span->data, span->len);
    span->data = *to;
    *to += span->len;
}

static size_t size_of(const struct smx_pairs *pairs)
{
    size_t size = 0;
    for (size_t i = 0; i < pairs->count; i++)
        size += pairs->items[i].key.len + pairs->items[i].value.len;
    return size;
}

static void keep_pairs(struct smx_pairs *pairs, struct smx_pair *items, uint8_t **to)
{
    for (size_t i = 0; i < pairs->count; i++) {
        items[i] = pairs->items[i];
        keep(&items[i].key, to);
        keep(&items[i].value, to);
    }
    pairs->items = items;
}

struct smx_command *smx_command_keep(const struct smx_command *command)
{
    const struct smx_pairs *metadata = &command->call.metadata, *values = &command->values;
    size_t pairs = (metadata->count + values->count) * sizeof(struct smx_pair);
    size_t bytes = command->tag.len + command->worker.len + command->session.len + command->name.len +
                   command->args.len + command->call.request_id.len;
    bytes += size_of(metadata) + size_of(values);
    struct smx_command *kept = smx_realloc(NULL, sizeof(*kept) + pairs + bytes);
    struct smx_pair *items = (struct smx_pair *)(kept + 1);
    uint8_t *to = (uint8_t *)(items + metadata->count + values->count);
    *kept = *command;
    kept->memory = NULL;
    keep(&kept->tag, &to);
    keep(&kept->worker, &to);
    keep(&kept->session, &to);
    keep(&kept->name, &to);
    keep(&kept->args, &to);
    keep(&kept->call.request_id, &to);
    keep_pairs(&kept->call.metadata, items, &to);
    keep_pairs(&kept->values, items + metadata->count, &to);
    return kept;
}
