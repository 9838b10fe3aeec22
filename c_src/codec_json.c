/* Owns the bytes of JSON (yajl reads them); knows neither terms nor the mapping. */
#include "codec_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

struct reader {
    struct smx_build *build;
    char *fault;
};

static int fail(const struct reader *reader, const char *text)
{
    snprintf(reader->fault, SMX_CODEC_FAULT_SIZE, "%s", text);
    return 0;
}

static int on_null(void *self)
{
    struct reader *reader = self;
    smx_build_null(reader->build);
    return 1;
}

static int on_boolean(void *self, int value)
{
    struct reader *reader = self;
    smx_build_bool(reader->build, value != 0);
    return 1;
}

static int on_integer(const struct reader *reader, struct smx_span text)
{
    bool negative = text.data[0] == '-';
    uint64_t magnitude = 0;
    for (size_t i = negative; i < text.len; i++) {
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (magnitude > (UINT64_MAX - digit) / 10)
            return fail(reader, "an integer is outside -2^63..2^64-1");
        magnitude = magnitude * 10 + digit;
    }
    if (!negative)
        smx_build_uint(reader->build, magnitude);
    else if (magnitude <= (uint64_t)INT64_MAX + 1)
        smx_build_int(reader->build, (int64_t)-magnitude);
    else
        return fail(reader, "an integer is outside -2^63..2^64-1");
    return 1;
}

static int on_double(const struct reader *reader, struct smx_span text)
{
    char few[64];
    char *copy = text.len < sizeof(few) ? few : smx_realloc(NULL, text.len + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    double value = strtod(copy, NULL);
    if (copy != few)
        free(copy);
    if (!isfinite(value))
        return fail(reader, "a number is outside the range of a double");
    smx_build_double(reader->build, value);
    return 1;
}

static int on_number(void *self, const char *data, size_t len)
{
    struct smx_span text = {(const uint8_t *)data, len};
    for (size_t i = 0; i < len; i++)
        if (data[i] == '.' || data[i] == 'e' || data[i] == 'E')
            return on_double(self, text);
    return on_integer(self, text);
}

static int on_string(void *self, const unsigned char *data, size_t len)
{
    struct reader *reader = self;
    smx_build_binary(reader->build, (struct smx_span){data, len});
    return 1;
}

static int on_key(void *self, const unsigned char *data, size_t len)
{
    struct reader *reader = self;
    smx_build_key(reader->build);
    return on_string(self, data, len);
}

static int on_open_map(void *self)
{
    struct reader *reader = self;
    return smx_build_map(reader->build) || fail(reader, "nested deeper than 64 levels");
}

static int on_open_list(void *self)
{
    struct reader *reader = self;
    return smx_build_list(reader->build) || fail(reader, "nested deeper than 64 levels");
}

static int on_end(void *self)
{
    struct reader *reader = self;
    smx_build_end(reader->build);
    return 1;
}

static void *allocate(void *self, size_t size)
{
    (void)self;
    return smx_realloc(NULL, size);
}

static void *reallocate(void *self, void *memory, size_t size)
{
    (void)self;
    return smx_realloc(memory, size);
}

static void release(void *self, void *memory)
{
    (void)self;
    free(memory);
}

/* The code unit of a \u escape that starts here, or -1. */
static int32_t unit_at(struct smx_span text, size_t at)
{
    if (text.len - at < 6 || text.data[at] != '\\' || text.data[at + 1] != 'u')
        return -1;
    return smx_hex4(text.data + at + 2);
}

/* yajl reads half a surrogate pair as '?'. A backslash stands in strings only, else yajl refuses the text. */
static bool surrogates_are_paired(struct smx_span text)
{
    const uint8_t *end = text.data + text.len;
    const uint8_t *found = text.data;
    while (found < end && (found = memchr(found, '\\', (size_t)(end - found)))) {
        size_t at = (size_t)(found - text.data);
        int32_t unit = unit_at(text, at);
        found += 2;
        if (unit < 0xd800 || unit > 0xdfff)
            continue;
        int32_t low = unit <= 0xdbff ? unit_at(text, at + 6) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        found += 10;
    }
    return true;
}

static void copy_fault(yajl_handle handle, char *fault)
{
    unsigned char *text = yajl_get_error(handle, 0, NULL, 0);
    size_t len = strcspn((const char *)text, "\n");
    snprintf(fault, SMX_CODEC_FAULT_SIZE, "%.*s", (int)len, (const char *)text);
    yajl_free_error(handle, text);
}

bool smx_codec_json_read(struct smx_span text, struct smx_build *build, char fault[SMX_CODEC_FAULT_SIZE])
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_open_list,
        .yajl_end_array = on_end,
    };
    yajl_alloc_funcs memory = {allocate, reallocate, release, NULL};
    struct reader reader = {build, fault};
    if (text.len == 0)
        return fail(&reader, "it is empty");
    if (!smx_utf8_valid(text, true))
        return fail(&reader, "a string is not valid UTF-8");
    if (!surrogates_are_paired(text))
        return fail(&reader, "a string has half a surrogate pair");
    fault[0] = 0;
    yajl_handle handle = yajl_alloc(&callbacks, &memory, &reader);
    yajl_config(handle, yajl_dont_validate_strings, 1); /* it is done above */
    bool read =
        yajl_parse(handle, text.data, text.len) == yajl_status_ok && yajl_complete_parse(handle) == yajl_status_ok;
    if (!read && !fault[0])
        copy_fault(handle, fault);
    /* yajl says nothing of an open string behind the value; only such a string takes one more byte without an error. */
    if (read && yajl_parse(handle, (const uint8_t *)"]", 1) == yajl_status_ok)
        read = fail(&reader, "there is an open string behind the value");
    yajl_free(handle);
    return read;
}

/* The shortest text that reads as the same double, and never as an integer. */
static void put_double(struct smx_buffer *out, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (digits == 17 || strtod(text, NULL) == value)
            break;
    }
    smx_buffer_append(out, text, strlen(text));
    if (!strpbrk(text, ".e"))
        smx_buffer_append(out, ".0", 2);
}

static void put_string(struct smx_buffer *out, struct smx_span value)
{
    size_t start = 0;
    smx_buffer_append(out, "\"", 1);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        smx_buffer_append(out, value.data + start, i - start);
        start = i + 1;
        if (byte < 0x20)
            smx_buffer_printf(out, "\\u%04x", byte);
        else
            smx_buffer_append(out, (const uint8_t[]){'\\', byte}, 2);
    }
    smx_buffer_append(out, value.data + start, value.len - start);
    smx_buffer_append(out, "\"", 1);
}

static void put_digits(struct smx_buffer *out, uint64_t number)
{
    char text[20];
    size_t at = sizeof(text);
    do
        text[--at] = (char)('0' + number % 10);
    while (number /= 10);
    smx_buffer_append(out, text + at, sizeof(text) - at);
}

static void put_int(struct smx_buffer *out, int64_t number)
{
    if (number < 0)
        smx_buffer_append(out, "-", 1);
    put_digits(out, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void put(struct smx_buffer *out, const struct smx_value *value)
{
    switch (value->kind) {
    case SMX_VALUE_NULL:
        smx_buffer_append(out, "null", 4);
        break;
    case SMX_VALUE_BOOL:
        smx_buffer_append_span(out, smx_span_of(value->boolean ? "true" : "false"));
        break;
    case SMX_VALUE_INT:
        put_int(out, value->number);
        break;
    case SMX_VALUE_UINT:
        put_digits(out, value->large);
        break;
    case SMX_VALUE_DOUBLE:
        put_double(out, value->fraction);
        break;
    case SMX_VALUE_STRING:
        put_string(out, value->span);
        break;
    case SMX_VALUE_BYTES:
    case SMX_VALUE_ARRAY:
        smx_abort("JSON has no bytes");
    case SMX_VALUE_LIST:
        smx_buffer_append(out, "[", 1);
        break;
    case SMX_VALUE_MAP:
        smx_buffer_append(out, "{", 1);
        break;
    }
}

const struct smx_codec_writer smx_codec_json_writer = {
    .put = put,
    .comma = ",",
    .colon = ":",
    .end_list = "]",
    .end_map = "}",
};
