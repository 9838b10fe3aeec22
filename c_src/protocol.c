/* Owns the names of the contract and the errors; knows neither terms nor gRPC. */
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
