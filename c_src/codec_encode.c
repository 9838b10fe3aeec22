/* Owns the way from terms to values; knows no format's bytes. */
#include "codec_encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "tensor.h"
#include "term.h"

struct encoder {
    const struct smx_codec_writer *writer;
    struct smx_span term;
    size_t at;
    struct smx_buffer *out;
    struct smx_values *values;
    struct smx_error *why;
    uint8_t head; /* of the value that stays in the term; 0: there is none */
};

/* Where a value is: below `up`, by this key, or by this index when the key has no data. */
struct path {
    const struct path *up;
    struct smx_span key;
    size_t index;
    size_t depth; /* of the value: 1 is an argument itself */
};

enum { KEY_BINARY = 1, KEY_ATOM = 2, KEY_INTEGER = 4 };

/* A key of a map as text; that of an atom or an integer is in `space`. */
struct key {
    struct smx_span text;
    int kind;
    char space[SMX_TERM_ATOM_SIZE];
};

static void put_path(struct smx_buffer *out, const struct path *path)
{
    if (!path) {
        smx_buffer_append(out, "args", 4);
        return;
    }
    put_path(out, path->up);
    if (path->key.data) {
        smx_buffer_append(out, ".", 1);
        smx_buffer_append_text(out, path->key);
    } else {
        smx_buffer_printf(out, "[%zu]", path->index);
    }
}

enum { MAX_PATH = 500 }; /* bytes: what is wrong must stay readable behind it */

/* "args.items[3]: …" */
static bool refuse(const struct encoder *encoder, const struct path *path, const char *what, const char *advice)
{
    struct smx_buffer where = {0};
    put_path(&where, path);
    int len = where.len < MAX_PATH ? (int)where.len : MAX_PATH;
    smx_error_set(encoder->why, SMX_INVALID_ARGUMENT, "encode", "%.*s: %s%s", len, (const char *)where.data, what,
                  advice);
    smx_buffer_fini(&where);
    return false;
}

static void put(struct encoder *encoder, struct smx_value value)
{
    encoder->writer->put(encoder->out, &value);
}

static void put_mark(struct encoder *encoder, const char *mark)
{
    smx_buffer_append(encoder->out, mark, strlen(mark));
}

static bool put_text(struct encoder *encoder, const struct path *path, struct smx_span value)
{
    if (!smx_utf8_valid(value, true))
        return refuse(encoder, path, "a binary that is not valid UTF-8: wrap it in {bin, Binary}",
                      encoder->writer->has_bytes ? "" : " (for a MessagePack worker: JSON has no bytes)");
    put(encoder, (struct smx_value){SMX_VALUE_STRING, .span = value});
    return true;
}

static void put_atom(struct encoder *encoder, const char *name)
{
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0)
        put(encoder, (struct smx_value){SMX_VALUE_BOOL, .boolean = name[0] == 't'});
    else if (strcmp(name, "nil") == 0 || strcmp(name, "null") == 0 || strcmp(name, "undefined") == 0)
        put(encoder, (struct smx_value){.kind = SMX_VALUE_NULL});
    else
        put(encoder, (struct smx_value){SMX_VALUE_STRING, .span = smx_span_of(name)});
}

static bool put_tensor(struct encoder *encoder, const struct path *path, struct smx_tensor_places places)
{
    struct smx_npy array;
    char fault[SMX_NPY_FAULT_SIZE];
    if (!encoder->writer->has_bytes)
        return refuse(encoder, path, "a tensor can't be sent as JSON: the worker needs the codec msgpack",
                      " (in Python: pip install msgpack)");
    if (!smx_tensor_get(encoder->term, places, &array, fault))
        return refuse(encoder, path, fault, "");
    put(encoder, (struct smx_value){SMX_VALUE_ARRAY, .array = &array, .alone = path->depth == 1});
    return true;
}

/* The next element of a tuple; returns where it stands. */
static size_t skip(struct encoder *encoder)
{
    size_t place = encoder->at;
    smx_term_skip(encoder->term, &encoder->at);
    return place;
}

/* {bin, Binary} or {tensor, Type, Shape, Binary} */
static bool put_tuple(struct encoder *encoder, const struct path *path, size_t arity)
{
    char name[SMX_TERM_ATOM_SIZE];
    struct smx_span value;
    bool named = arity > 0 && smx_term_get_atom(encoder->term, &encoder->at, name);
    if (named && arity == 4 && strcmp(name, "tensor") == 0) {
        struct smx_tensor_places places = {.type = skip(encoder)};
        places.shape = skip(encoder);
        places.data = skip(encoder);
        return put_tensor(encoder, path, places);
    }
    if (!named || arity != 2 || strcmp(name, "bin") != 0 || !smx_term_get_binary(encoder->term, &encoder->at, &value))
        return refuse(encoder, path, "a tuple can't be sent: make it a list or a map", "");
    if (!encoder->writer->has_bytes)
        return refuse(encoder, path, "{bin, Binary} can't be sent as JSON, which has no bytes", "");
    put(encoder, (struct smx_value){SMX_VALUE_BYTES, .span = value});
    return true;
}

/* A list of integers 0..255 arrives as bytes. */
static void put_small_list(struct encoder *encoder, struct smx_span bytes)
{
    put(encoder, (struct smx_value){SMX_VALUE_LIST, .count = bytes.len});
    for (size_t i = 0; i < bytes.len; i++) {
        if (i > 0)
            put_mark(encoder, encoder->writer->comma);
        put(encoder, (struct smx_value){SMX_VALUE_INT, .number = bytes.data[i]});
    }
    put_mark(encoder, encoder->writer->end_list);
}

static bool put_value(struct encoder *encoder, const struct path *path);

static bool put_list(struct encoder *encoder, const struct path *path, size_t count)
{
    put(encoder, (struct smx_value){SMX_VALUE_LIST, .count = count});
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put_mark(encoder, encoder->writer->comma);
        if (!put_value(encoder, &(struct path){path, {0}, i, path->depth + 1}))
            return false;
    }
    if (count > 0 && !smx_term_get_nil(encoder->term, &encoder->at))
        return refuse(encoder, path, "an improper list can't be sent", "");
    put_mark(encoder, encoder->writer->end_list);
    return true;
}

static bool get_key(struct encoder *encoder, const struct path *path, struct key *key)
{
    int64_t number;
    uint64_t large;
    key->kind = KEY_BINARY;
    if (smx_term_get_binary(encoder->term, &encoder->at, &key->text))
        return smx_utf8_valid(key->text, true) || refuse(encoder, path, "it has a key that is not valid UTF-8", "");
    key->kind = KEY_INTEGER;
    if (smx_term_get_int(encoder->term, &encoder->at, &number))
        snprintf(key->space, sizeof(key->space), "%" PRId64, number);
    else if (smx_term_get_uint(encoder->term, &encoder->at, &large))
        snprintf(key->space, sizeof(key->space), "%" PRIu64, large);
    else if (smx_term_get_atom(encoder->term, &encoder->at, key->space))
        key->kind = KEY_ATOM;
    else
        return refuse(encoder, path, "the keys of a map are binaries, atoms or integers, not ",
                      smx_term_kind(encoder->term, encoder->at));
    key->text = smx_span_of(key->space);
    if (key->kind == KEY_ATOM && strcmp(key->space, "__struct__") == 0)
        return refuse(encoder, path, "a struct can't be sent: make it a plain map", "");
    return true;
}

/* The atom a and the binary "a" are two keys of a map, but one of an object. Of one kind no two are the same text. */
static bool keys_collide(struct encoder *encoder, size_t start, size_t count, const struct path *path)
{
    struct smx_table seen = {0};
    struct key key;
    uint8_t *copy;
    bool collide = false;
    encoder->at = start;
    for (; count > 0 && !collide && get_key(encoder, path, &key); count--) {
        collide = smx_table_get(&seen, key.text) != NULL;
        if (collide)
            break;
        copy = smx_alloc(key.text.len);
        memcpy(copy, key.text.data, key.text.len);
        smx_table_put(&seen, (struct smx_span){copy, key.text.len}, copy);
        smx_term_skip(encoder->term, &encoder->at);
    }
    for (size_t at = 0; (copy = smx_table_next(&seen, &at));)
        free(copy);
    smx_table_fini(&seen);
    if (collide)
        refuse(encoder, &(struct path){path, key.text, 0, 1}, "two keys are the same text", "");
    return collide;
}

/* After the pairs were read: `kinds` of keys among them. */
static bool check_keys(struct encoder *encoder, const struct path *path, size_t start, size_t count, int kinds)
{
    size_t end = encoder->at;
    if (kinds != KEY_BINARY && kinds != KEY_ATOM && kinds != KEY_INTEGER && count > 1 &&
        keys_collide(encoder, start, count, path))
        return false;
    encoder->at = end;
    return true;
}

static bool put_map(struct encoder *encoder, const struct path *path, size_t count)
{
    size_t start = encoder->at;
    int kinds = 0;
    struct smx_tensor_places places;
    if (smx_tensor_find(encoder->term, &encoder->at, count, &places))
        return put_tensor(encoder, path, places);
    put(encoder, (struct smx_value){SMX_VALUE_MAP, .count = count});
    for (size_t i = 0; i < count; i++) {
        struct key key;
        if (i > 0)
            put_mark(encoder, encoder->writer->comma);
        if (!get_key(encoder, path, &key))
            return false;
        kinds |= key.kind;
        put(encoder, (struct smx_value){SMX_VALUE_STRING, .span = key.text});
        put_mark(encoder, encoder->writer->colon);
        if (!put_value(encoder, &(struct path){path, key.text, 0, path->depth + 1}))
            return false;
    }
    put_mark(encoder, encoder->writer->end_map);
    return check_keys(encoder, path, start, count, kinds);
}

static bool refuse_kind(const struct encoder *encoder, const struct path *path)
{
    const char *kind = smx_term_kind(encoder->term, encoder->at);
    if (strcmp(kind, "an integer") == 0)
        return refuse(encoder, path, "an integer outside -2^63..2^64-1 can't be sent", "");
    return refuse(encoder, path, kind, " can't be sent");
}

/* The depth is bounded, and so is this recursion. */
static bool put_value(struct encoder *encoder, const struct path *path)
{
    struct smx_span term = encoder->term;
    size_t *at = &encoder->at;
    struct smx_span bytes;
    char name[SMX_TERM_ATOM_SIZE];
    int64_t number;
    uint64_t large;
    double fraction;
    size_t count = 0;
    if (smx_term_get_binary(term, at, &bytes))
        return put_text(encoder, path, bytes);
    if (smx_term_get_int(term, at, &number))
        put(encoder, (struct smx_value){SMX_VALUE_INT, .number = number});
    else if (smx_term_get_double(term, at, &fraction))
        put(encoder, (struct smx_value){SMX_VALUE_DOUBLE, .fraction = fraction});
    else if (smx_term_get_atom(term, at, name))
        put_atom(encoder, name);
    else if (smx_term_get_uint(term, at, &large))
        put(encoder, (struct smx_value){SMX_VALUE_UINT, .large = large});
    else if (smx_term_get_tuple(term, at, &count))
        return put_tuple(encoder, path, count);
    else if (path->depth > SMX_MAX_DEPTH)
        return refuse(encoder, path, "it is nested deeper than 64 levels", "");
    else if (smx_term_get_bytes(term, at, &bytes))
        put_small_list(encoder, bytes);
    else if (smx_term_get_list(term, at, &count) || smx_term_get_nil(term, at))
        return put_list(encoder, path, count);
    else if (smx_term_get_map(term, at, &count))
        return put_map(encoder, path, count);
    else
        return refuse_kind(encoder, path);
    return true;
}

/* Raw: keys and values are binaries, and stay where they are. */
static bool take_raw(struct encoder *encoder, const struct path *path, int kind, struct smx_span *value)
{
    if (kind != KEY_BINARY)
        return refuse(encoder, path, "with codec raw the name of an argument is a binary", "");
    if (smx_term_get_binary(encoder->term, &encoder->at, value))
        return true;
    return refuse(encoder, path, "codec raw takes binaries (codec terms takes terms), not ",
                  smx_term_kind(encoder->term, encoder->at));
}

enum { IN_PLACE_HEAD = 5 };

/*
 * A large text or {bin, Binary} with nothing around it: MessagePack has a byte and a length of four in front of it, as
 * the term has. So it is enough to change that byte, once all arguments are known to be good. One of them is.
 */
static bool take_in_place(struct encoder *encoder, struct smx_pair *pair)
{
    size_t at = encoder->at;
    size_t arity;
    char name[SMX_TERM_ATOM_SIZE];
    struct smx_span value;
    if (!encoder->values->memory || encoder->head != 0 || encoder->writer->text_head == 0)
        return false;
    bool wrapped = smx_term_get_tuple(encoder->term, &at, &arity);
    if ((wrapped && (arity != 2 || !smx_term_get_atom(encoder->term, &at, name) || strcmp(name, "bin") != 0)) ||
        !smx_term_get_binary(encoder->term, &at, &value) || value.len < SMX_LARGE ||
        (!wrapped && !smx_utf8_valid(value, true)))
        return false;
    encoder->head = wrapped ? encoder->writer->bytes_head : encoder->writer->text_head;
    pair->value = (struct smx_span){value.data - IN_PLACE_HEAD, value.len + IN_PLACE_HEAD};
    encoder->at = at;
    return true;
}

/* One argument. Keys and values in `bytes` have no data yet: it may move. */
static bool put_argument(struct encoder *encoder, struct smx_pair *pair, int *kinds)
{
    struct key key;
    if (!get_key(encoder, NULL, &key))
        return false;
    if (memchr(key.text.data, 0, key.text.len))
        return refuse(encoder, NULL, "the name of an argument has a NUL in it", "");
    *kinds |= key.kind;
    pair->key = key.text;
    struct path path = {NULL, key.text, 0, 1};
    if (!encoder->writer)
        return take_raw(encoder, &path, key.kind, &pair->value);
    if (key.kind != KEY_BINARY) {
        smx_buffer_append_span(encoder->out, key.text);
        pair->key.data = NULL;
    }
    size_t start = encoder->out->len;
    if (take_in_place(encoder, pair))
        return true;
    if (!put_value(encoder, &path))
        return false;
    pair->value.len = encoder->out->len - start;
    return true;
}

bool smx_codec_encode(const struct smx_codec_writer *writer, struct smx_span term, struct smx_values *values,
                      struct smx_error *why)
{
    struct encoder encoder = {writer, term, 0, &values->bytes, values, why, 0};
    size_t count;
    int kinds = 0;
    if (!smx_term_get_map(term, &encoder.at, &count))
        return refuse(&encoder, NULL, "it is a map, not ", smx_term_kind(term, 0));
    size_t start = encoder.at;
    values->items = smx_alloc(count * sizeof(struct smx_pair));
    for (; values->count < count; values->count++)
        if (!put_argument(&encoder, &values->items[values->count], &kinds))
            return false;
    if (!check_keys(&encoder, NULL, start, count, kinds))
        return false;
    /* Nothing was copied of an empty name whose value stays in place. */
    const uint8_t *at = values->bytes.data ? values->bytes.data : (const uint8_t *)"";
    for (size_t i = 0; writer && i < count; i++) {
        struct smx_pair *pair = &values->items[i];
        if (!pair->key.data) {
            pair->key.data = at;
            at += pair->key.len;
        }
        if (pair->value.data) {
            values->memory->data[pair->value.data - values->memory->data] = encoder.head;
            values->in_place = true;
            continue;
        }
        pair->value.data = at;
        at += pair->value.len;
    }
    return true;
}
