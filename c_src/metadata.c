/* Owns the rules for request metadata; knows nothing of calls. */
#include "metadata.h"

#include <stdlib.h>
#include <string.h>

#include "term.h"

/* Of keys and values: many servers refuse headers over 8 KiB, some with the whole connection. */
enum { MAX_SIZE = 8 * 1024 };

/* Headers that are gRPC's, HTTP/2's or ours; those that end with '-' are prefixes. */
static const char *const reserved[] = {
    "grpc-",          "snakemux-",  "te",      "host",    "content-type",     "user-agent",        "connection",
    "content-length", "keep-alive", "upgrade", "trailer", "proxy-connection", "transfer-encoding",
};

static bool is_reserved(struct smx_span key)
{
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        size_t len = strlen(reserved[i]);
        bool prefix = reserved[i][len - 1] == '-';
        if ((prefix ? key.len >= len : key.len == len) && memcmp(key.data, reserved[i], len) == 0)
            return true;
    }
    return false;
}

static bool is_legal_key(struct smx_span key)
{
    for (size_t i = 0; i < key.len; i++)
        if (!key.data[i] || !strchr("abcdefghijklmnopqrstuvwxyz0123456789_.-", key.data[i]))
            return false;
    return key.len > 0;
}

static bool is_legal_value(const struct smx_pair *pair)
{
    if (pair->key.len > 4 && memcmp(pair->key.data + pair->key.len - 4, "-bin", 4) == 0)
        return true;
    for (size_t i = 0; i < pair->value.len; i++)
        if (pair->value.data[i] < ' ' || pair->value.data[i] > '~')
            return false;
    return true;
}

static bool check(const struct smx_pair *pair, struct smx_error *why)
{
    const char *fault = NULL;
    if (!is_legal_key(pair->key))
        fault = "a key is made of a-z, 0-9, _, . and - only";
    else if (is_reserved(pair->key))
        fault = "this key is reserved";
    else if (!is_legal_value(pair))
        fault = "its value is not printable ASCII (a key that ends with -bin takes any bytes)";
    if (fault)
        return smx_error_set(why, SMX_INVALID_ARGUMENT, "bad_option", "option metadata: \"%.*s\": %s",
                             pair->key.len < 100 ? (int)pair->key.len : 100, (const char *)pair->key.data, fault);
    return true;
}

static bool read_pair(struct smx_span term, size_t *at, bool tuple, struct smx_pair *pair)
{
    size_t count = 2;
    return (!tuple || (smx_term_get_tuple(term, at, &count) && count == 2)) &&
           smx_term_get_binary(term, at, &pair->key) && smx_term_get_binary(term, at, &pair->value);
}

bool smx_metadata_read(struct smx_span term, size_t *at, struct smx_pairs *pairs, void **array, struct smx_error *why)
{
    size_t count;
    if (smx_term_get_nil(term, at))
        return true;
    bool list = smx_term_get_list(term, at, &count);
    if (!list && !smx_term_get_map(term, at, &count))
        return false;
    struct smx_pair *items = NULL;
    size_t size = count; /* so that a giant map is refused before there is memory for it */
    if (count <= MAX_SIZE)
        *array = items = smx_realloc(*array, count * sizeof(*items));
    for (size_t i = 0; i < count && size <= MAX_SIZE; i++) {
        if (!read_pair(term, at, list, &items[i]) || !check(&items[i], why))
            return false;
        size += items[i].key.len + items[i].value.len - 1;
    }
    if (size > MAX_SIZE)
        return smx_error_set(why, SMX_INVALID_ARGUMENT, "bad_option", "option metadata: over %d bytes", MAX_SIZE);
    *pairs = (struct smx_pairs){items, count};
    return !list || smx_term_get_nil(term, at);
}
