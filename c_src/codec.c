/* Owns the mapping between terms and values; knows nothing of calls, nor of the bytes of JSON and MessagePack. */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "codec_encode.h"
#include "codec_json.h"
#include "codec_msgpack.h"
#include "term.h"

void smx_values_fini(struct smx_values *values)
{
    free(values->items);
    smx_buffer_fini(&values->bytes);
    *values = (struct smx_values){0};
}

bool smx_codec_encode_args(enum smx_codec codec, struct smx_span term, struct smx_values *values, struct smx_error *why)
{
    switch (codec) {
    case SMX_CODEC_RAW:
        return smx_codec_encode(NULL, term, values, why);
    case SMX_CODEC_JSON:
        return smx_codec_encode(&smx_codec_json_writer, term, values, why);
    case SMX_CODEC_MSGPACK:
        return smx_codec_encode(&smx_codec_msgpack_writer, term, values, why);
    case SMX_CODEC_TERMS:
    case SMX_CODEC_LENIENT:
    case SMX_CODEC_AUTO:
        break;
    }
    smx_abort("codec %d writes nothing", (int)codec);
}

/* What a first-generation worker wrote: JSON if it parses, else text or bytes, which is a binary. */
static bool read_lenient(struct smx_span bytes, struct smx_build *build)
{
    char fault[SMX_CODEC_FAULT_SIZE];
    size_t len = build->out->len;
    size_t depth = build->depth;
    size_t keys = build->key_count;
    if (smx_codec_json_read(bytes, build, fault))
        return true;
    build->out->len = len;
    build->depth = depth;
    build->key_count = keys;
    smx_build_binary(build, bytes);
    return true;
}

static bool read_value(enum smx_codec codec, struct smx_span bytes, struct smx_build *build, char *fault)
{
    switch (codec) {
    case SMX_CODEC_RAW:
        smx_build_binary(build, bytes);
        return true;
    case SMX_CODEC_JSON:
        return smx_codec_json_read(bytes, build, fault);
    case SMX_CODEC_MSGPACK:
        return smx_codec_msgpack_read(bytes, build, fault);
    case SMX_CODEC_LENIENT:
        return read_lenient(bytes, build);
    case SMX_CODEC_TERMS:
    case SMX_CODEC_AUTO:
        break;
    }
    smx_abort("codec %d reads nothing", (int)codec);
}

static bool read_pair(enum smx_codec codec, const struct smx_pair *pair, struct smx_build *build, struct smx_error *why)
{
    char fault[SMX_CODEC_FAULT_SIZE] = "its name is not valid UTF-8";
    if (smx_utf8_valid(pair->key, false)) {
        smx_build_key(build);
        smx_build_binary(build, pair->key);
        if (read_value(codec, pair->value, build, fault))
            return true;
    }
    smx_error_set(why, SMX_INTERNAL, "decode", "the worker's value \"%.*s\" can't be read: %s",
                  pair->key.len < 100 ? (int)pair->key.len : 100, (const char *)pair->key.data, fault);
    why->origin = SMX_ORIGIN_WORKER;
    why->sent = true;
    return false;
}

bool smx_codec_decode_pairs(enum smx_codec codec, struct smx_pairs pairs, struct smx_style style,
                            struct smx_buffer *out, struct smx_lent *lent, struct smx_error *why)
{
    size_t start = out->len;
    bool read = true;
    bool stays = pairs.count == 1 && (codec == SMX_CODEC_RAW || codec == SMX_CODEC_MSGPACK); /* text is unescaped */
    struct smx_build build = {.out = out, .style = style, .lent = stays ? lent : NULL};
    smx_build_map(&build);
    for (size_t i = 0; i < pairs.count && read; i++)
        read = read_pair(codec, &pairs.items[i], &build, why);
    if (read)
        smx_build_end(&build);
    else
        out->len = start;
    smx_build_fini(&build);
    return read;
}

/* Appends one value. What a first-generation worker wrote that is no JSON is text or bytes. */
static bool transcode_value(enum smx_codec from, const struct smx_pair *pair, const struct smx_codec_writer *to,
                            struct smx_buffer *out, struct smx_error *why)
{
    char fault[SMX_CODEC_FAULT_SIZE] = "JSON has no bytes";
    struct smx_buffer term = {0};
    struct smx_build build = {.out = &term};
    struct smx_values values = {0};
    enum smx_codec strict = from == SMX_CODEC_LENIENT ? SMX_CODEC_JSON : from;
    smx_build_map(&build);
    smx_build_key(&build);
    smx_build_binary(&build, pair->key);
    bool good = read_value(strict, pair->value, &build, fault);
    if (good) {
        smx_build_end(&build);
        good = smx_codec_encode(to, smx_buffer_span(&term), &values, why);
        smx_buffer_append_span(out, smx_buffer_span(&values.bytes));
    } else if (from == SMX_CODEC_LENIENT) {
        bool text = smx_utf8_valid(pair->value, true);
        good = text || to->has_bytes;
        if (good)
            to->put(out, &(struct smx_value){text ? SMX_VALUE_STRING : SMX_VALUE_BYTES, .span = pair->value});
    }
    if (!good)
        smx_error_set(why, SMX_INVALID_ARGUMENT, "encode", "the value \"%.*s\" can't be carried by another codec: %s",
                      pair->key.len < 100 ? (int)pair->key.len : 100, (const char *)pair->key.data, fault);
    smx_values_fini(&values);
    smx_build_fini(&build);
    smx_buffer_fini(&term);
    return good;
}

bool smx_codec_transcode(enum smx_codec from, struct smx_pairs pairs, enum smx_codec to, struct smx_values *values,
                         struct smx_error *why)
{
    const struct smx_codec_writer *writer = to == SMX_CODEC_JSON ? &smx_codec_json_writer : &smx_codec_msgpack_writer;
    values->items = smx_alloc(pairs.count * sizeof(*values->items));
    for (; values->count < pairs.count; values->count++) {
        struct smx_pair *pair = &values->items[values->count];
        size_t start = values->bytes.len;
        if (!transcode_value(from, &pairs.items[values->count], writer, &values->bytes, why))
            return false;
        *pair = (struct smx_pair){pairs.items[values->count].key, {NULL, values->bytes.len - start}};
    }
    const uint8_t *at = values->bytes.data;
    for (size_t i = 0; i < values->count; i++) { /* now that it moves no more */
        values->items[i].value.data = at;
        at += values->items[i].value.len;
    }
    return true;
}

/* One pair of an error's map; `term` at `*at` is its key. */
static void read_error_pair(struct smx_span term, size_t *at, struct smx_error *error, size_t *details)
{
    struct smx_span key;
    struct smx_span text;
    int64_t number;
    size_t start = *at;
    bool named = smx_term_get_binary(term, at, &key);
    if (named && smx_span_is(key, "code") && smx_term_get_binary(term, at, &text)) {
        int code = smx_code_of(text);
        if (code > SMX_OK)
            error->code = (enum smx_code)code;
    } else if (named && smx_span_is(key, "code") && smx_term_get_int(term, at, &number)) {
        if (number > SMX_OK && number <= SMX_UNAUTHENTICATED)
            error->code = (enum smx_code)number;
    } else if (named && smx_span_is(key, "message") && smx_term_get_binary(term, at, &text)) {
        smx_buffer_append_text(&error->message, text);
    } else {
        *at = start;
        smx_term_skip(term, at);
        smx_term_skip(term, at);
        if (!named)
            return; /* an integer */
        smx_buffer_append(&error->details, term.data + start, *at - start);
        ++*details;
    }
}

bool smx_codec_read_error(struct smx_span bytes, struct smx_style style, struct smx_error *error)
{
    char fault[SMX_CODEC_FAULT_SIZE];
    struct smx_buffer out = {0};
    struct smx_build build = {.out = &out, .style = style};
    size_t at = 0;
    size_t count;
    size_t details = 0;
    bool read = smx_codec_msgpack_read(bytes, &build, fault) && smx_term_get_map(smx_buffer_span(&out), &at, &count);
    if (read) {
        error->code = SMX_UNKNOWN;
        smx_term_put_map(&error->details, 0);
        for (; count > 0; count--)
            read_error_pair(smx_buffer_span(&out), &at, error, &details);
        smx_term_set_count(&error->details, 0, details);
    }
    smx_build_fini(&build);
    smx_buffer_fini(&out);
    return read;
}
