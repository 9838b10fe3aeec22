/* Small things everybody needs: memory that aborts when it ends, spans and buffers of bytes, the clock, the log. */
#ifndef SMX_UTIL_H
#define SMX_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed piece of memory; whoever hands it out says how long it lives. */
struct smx_span {
    const uint8_t *data;
    size_t len;
};

/* A growing piece of memory. All zero is an empty buffer; smx_buffer_fini frees it and makes it empty again. */
struct smx_buffer {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* Never NULL: out of memory ends the program with a line on stderr. The memory of smx_alloc is zeroed. */
void *smx_alloc(size_t size);
void *smx_realloc(void *memory, size_t size);

struct smx_span smx_span_of(const char *text);
bool smx_span_equal(struct smx_span a, struct smx_span b);
bool smx_span_is(struct smx_span span, const char *text);

/* Valid UTF-8 (no surrogates, nothing over U+10FFFF). With `allow_nul` false a NUL byte makes it invalid as well. */
bool smx_utf8_valid(struct smx_span span, bool allow_nul);

/* The value of four hexadecimal digits, or -1. */
int32_t smx_hex4(const uint8_t *digits);

void smx_buffer_fini(struct smx_buffer *buffer);
/* Room for `len` more bytes behind buffer->len; the length is unchanged. Returns where they start. */
uint8_t *smx_buffer_reserve(struct smx_buffer *buffer, size_t len);
void smx_buffer_append(struct smx_buffer *buffer, const void *data, size_t len);
void smx_buffer_append_span(struct smx_buffer *buffer, struct smx_span span);
/* Text from elsewhere: U+FFFD in place of every byte that is not part of valid UTF-8. */
void smx_buffer_append_text(struct smx_buffer *buffer, struct smx_span text);
void smx_buffer_printf(struct smx_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Removes the first `len` bytes. */
void smx_buffer_drop(struct smx_buffer *buffer, size_t len);
/* Borrowed from the buffer, until it changes. */
struct smx_span smx_buffer_span(const struct smx_buffer *buffer);

/* "64MiB" -> bytes: a number above 0, perhaps with KiB, MiB or GiB. False for anything else. */
bool smx_size_parse(const char *text, size_t *size);

/* Microseconds of the monotonic clock, and milliseconds of it. */
int64_t smx_now_us(void);
int64_t smx_now_ms(void);

/* One line on stderr, with the program's name in front. Never the values of arguments. */
void smx_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A broken invariant: a line on stderr, then abort; the supervisor starts the program again. */
_Noreturn void smx_abort(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
