/* Owns nothing; knows the C library only. */
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *smx_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        smx_abort("out of memory: %zu bytes", size);
    return memory;
}

void *smx_realloc(void *memory, size_t size)
{
    memory = realloc(memory, size ? size : 1);
    if (!memory)
        smx_abort("out of memory: %zu bytes", size);
    return memory;
}

struct smx_span smx_span_of(const char *text)
{
    return (struct smx_span){(const uint8_t *)text, text ? strlen(text) : 0};
}

bool smx_span_equal(struct smx_span a, struct smx_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool smx_span_is(struct smx_span span, const char *text)
{
    return smx_span_equal(span, smx_span_of(text));
}

/* The length of the sequence that starts here, 0 when it is not valid (RFC 3629, table 3-7 of Unicode). */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || len > left)
        return 0;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Most text is ASCII: eight bytes of it, none of them NUL. */
static bool is_plain(const uint8_t *at)
{
    uint64_t bytes;
    memcpy(&bytes, at, sizeof(bytes));
    return ((bytes | (bytes - 0x0101010101010101)) & 0x8080808080808080) == 0;
}

bool smx_utf8_valid(struct smx_span span, bool allow_nul)
{
    for (size_t at = 0; at < span.len;) {
        if (span.len - at >= 8 && is_plain(span.data + at)) {
            at += 8;
            continue;
        }
        size_t len = utf8_sequence(span.data + at, span.len - at);
        if (len == 0 || (!allow_nul && span.data[at] == 0))
            return false;
        at += len;
    }
    return true;
}

int32_t smx_hex4(const uint8_t *digits)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t lower = digits[i] | 0x20;
        if (digits[i] >= '0' && digits[i] <= '9')
            value = value * 16 + digits[i] - '0';
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + lower - 'a' + 10;
        else
            return -1;
    }
    return value;
}

void smx_buffer_fini(struct smx_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct smx_buffer){0};
}

uint8_t *smx_buffer_reserve(struct smx_buffer *buffer, size_t len)
{
    if (buffer->cap - buffer->len < len) {
        size_t cap = buffer->cap ? buffer->cap : 256;
        while (cap - buffer->len < len)
            cap *= 2;
        buffer->data = smx_realloc(buffer->data, cap);
        buffer->cap = cap;
    }
    return buffer->data + buffer->len;
}

void smx_buffer_append(struct smx_buffer *buffer, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(smx_buffer_reserve(buffer, len), data, len);
    buffer->len += len;
}

void smx_buffer_append_span(struct smx_buffer *buffer, struct smx_span span)
{
    smx_buffer_append(buffer, span.data, span.len);
}

void smx_buffer_append_text(struct smx_buffer *buffer, struct smx_span text)
{
    for (size_t at = 0; at < text.len;) {
        size_t len = utf8_sequence(text.data + at, text.len - at);
        if (len > 0)
            smx_buffer_append(buffer, text.data + at, len);
        else
            smx_buffer_append(buffer, "\xef\xbf\xbd", 3);
        at += len > 0 ? len : 1;
    }
}

void smx_buffer_printf(struct smx_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len > 0) {
        char *at = (char *)smx_buffer_reserve(buffer, (size_t)len + 1);
        vsnprintf(at, (size_t)len + 1, format, again);
        buffer->len += (size_t)len;
    }
    va_end(again);
}

void smx_buffer_drop(struct smx_buffer *buffer, size_t len)
{
    buffer->len -= len;
    if (buffer->len > 0)
        memmove(buffer->data, buffer->data + len, buffer->len);
}

struct smx_span smx_buffer_span(const struct smx_buffer *buffer)
{
    return (struct smx_span){buffer->data, buffer->len};
}

bool smx_size_parse(const char *text, size_t *size)
{
    static const struct {
        const char *suffix;
        size_t factor;
    } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (end == text || text[0] == '-' || errno != 0 || strcmp(end, units[i].suffix) != 0 || number == 0 ||
            number > SIZE_MAX / 2 / units[i].factor)
            continue;
        *size = (size_t)number * units[i].factor;
        return true;
    }
    return false;
}

int64_t smx_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t smx_now_ms(void)
{
    return smx_now_us() / 1000;
}

__attribute__((format(printf, 1, 0))) static void log_line(const char *format, va_list args)
{
    char line[2048];
    int len = snprintf(line, sizeof(line), "snakemux: ");
    vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
    fprintf(stderr, "%s\n", line);
}

void smx_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(format, args);
    va_end(args);
}

_Noreturn void smx_abort(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(format, args);
    va_end(args);
    abort();
}
