/* Owns nothing; knows gRPC over HTTP/2 as far as it is text, not sessions or streams. */
#include "headers.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void append_span(struct smx_buffer *out, struct smx_span span)
{
    uint32_t len = (uint32_t)span.len;
    smx_buffer_append(out, &len, sizeof(len));
    smx_buffer_append_span(out, span);
}

static struct smx_span take_span(const struct smx_buffer *entries, size_t *at)
{
    uint32_t len;
    memcpy(&len, entries->data + *at, sizeof(len));
    struct smx_span span = {entries->data + *at + sizeof(len), len};
    *at += sizeof(len) + len;
    return span;
}

bool smx_metadata_add(struct smx_metadata *metadata, struct smx_span key, struct smx_span value)
{
    if (key.len + value.len + 32 > SMX_MAX_METADATA - metadata->entries.len)
        return false;
    append_span(&metadata->entries, key);
    if (!smx_header_is_binary(key)) {
        append_span(&metadata->entries, value);
        return true;
    }
    struct smx_buffer decoded = {0};
    bool ok = smx_base64_decode(&decoded, value);
    append_span(&metadata->entries, smx_buffer_span(&decoded));
    smx_buffer_fini(&decoded);
    return ok;
}

bool smx_metadata_next(const struct smx_metadata *metadata, size_t *at, struct smx_span *key, struct smx_span *value)
{
    if (*at >= metadata->entries.len)
        return false;
    *key = take_span(&metadata->entries, at);
    *value = take_span(&metadata->entries, at);
    return true;
}

bool smx_metadata_find(const struct smx_metadata *metadata, const char *key, struct smx_span *value)
{
    struct smx_span name, found;
    bool is_there = false;
    for (size_t at = 0; smx_metadata_next(metadata, &at, &name, &found);)
        if (smx_span_is(name, key)) {
            *value = found;
            is_there = true;
        }
    return is_there;
}

bool smx_header_is_reserved(struct smx_span name)
{
    return (name.len > 0 && name.data[0] == ':') || (name.len >= 5 && memcmp(name.data, "grpc-", 5) == 0) ||
           smx_span_is(name, "te") || smx_span_is(name, "content-type") || smx_span_is(name, "host") ||
           smx_span_is(name, "content-length") || smx_span_is(name, "accept-encoding");
}

bool smx_header_is_binary(struct smx_span name)
{
    return name.len > 4 && memcmp(name.data + name.len - 4, "-bin", 4) == 0;
}

bool smx_timeout_parse(struct smx_span text, int64_t *us)
{
    static const struct {
        char unit;
        int64_t us;
    } units[] = {{'H', 3600000000}, {'M', 60000000}, {'S', 1000000}, {'m', 1000}, {'u', 1}};
    int64_t number = 0;
    if (text.len < 2 || text.len > 9)
        return false;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (text.data[i] - '0');
    }
    char unit = (char)text.data[text.len - 1];
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (unit == units[i].unit) {
            *us = number * units[i].us;
            return true;
        }
    *us = number / 1000;
    return unit == 'n';
}

void smx_percent_encode(struct smx_buffer *out, struct smx_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte >= ' ' && byte <= '~' && byte != '%')
            smx_buffer_append(out, &byte, 1);
        else
            smx_buffer_printf(out, "%%%02X", byte);
    }
}

void smx_base64_encode(struct smx_buffer *out, struct smx_span bytes)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= count > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= count > 2 ? bytes.data[i + 2] : 0;
        for (size_t j = 0; j <= count; j++)
            smx_buffer_append(out, &alphabet[bits >> (18 - 6 * j) & 63], 1);
    }
}

bool smx_base64_decode(struct smx_buffer *out, struct smx_span text)
{
    uint32_t bits = 0;
    unsigned have = 0;
    while (text.len > 0 && text.data[text.len - 1] == '=')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        const char *found = text.data[i] ? strchr(alphabet, text.data[i]) : NULL;
        if (!found)
            return false;
        bits = bits << 6 | (uint32_t)(found - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            smx_buffer_append(out, &(uint8_t){(uint8_t)(bits >> have)}, 1);
        }
    }
    return text.len % 4 != 1;
}
