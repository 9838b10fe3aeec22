/* Owns the grammar of what is said to the owner; knows nothing of when it is said. */
#include "event.h"

#include "codec.h"
#include "term.h"

/* A map that is being written; its count is known when it is closed. */
struct map {
    struct smx_buffer *out;
    size_t place;
    size_t count;
};

static struct map map_open(struct smx_buffer *out)
{
    struct map map = {out, out->len, 0};
    smx_term_put_map(out, 0);
    return map;
}

static void map_close(const struct map *map)
{
    smx_term_set_count(map->out, map->place, map->count);
}

static void put_key(struct map *map, const char *key)
{
    smx_term_put_atom(map->out, key);
    map->count++;
}

static void put_int(struct map *map, const char *key, int64_t value)
{
    put_key(map, key);
    smx_term_put_int(map->out, value);
}

/* What is not known is left out. */
static void put_name(struct map *map, const char *key, struct smx_span value)
{
    if (value.len == 0)
        return;
    put_key(map, key);
    smx_term_put_binary(map->out, value);
}

static void put_term(struct smx_buffer *out, struct smx_span term)
{
    if (term.len > 0)
        smx_buffer_append_span(out, term);
    else
        smx_term_put_map(out, 0);
}

static bool seen_before(struct smx_pairs pairs, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (smx_span_equal(pairs.items[i].key, pairs.items[at].key))
            return true;
    return false;
}

/* Metadata may repeat a key: the values are joined with commas, as gRPC says; a map can't repeat one. */
static void put_metadata(struct smx_buffer *out, struct smx_pairs pairs)
{
    struct smx_buffer value = {0};
    struct map map = map_open(out);
    for (size_t i = 0; i < pairs.count; i++) {
        if (seen_before(pairs, i))
            continue;
        value.len = 0;
        smx_buffer_append_span(&value, pairs.items[i].value);
        for (size_t j = i + 1; j < pairs.count; j++) {
            if (smx_span_equal(pairs.items[j].key, pairs.items[i].key)) {
                smx_buffer_append(&value, ",", 1);
                smx_buffer_append_span(&value, pairs.items[j].value);
            }
        }
        smx_term_put_binary(out, pairs.items[i].key);
        smx_term_put_binary(out, smx_buffer_span(&value));
        map.count++;
    }
    map_close(&map);
    smx_buffer_fini(&value);
}

static void put_meta(struct smx_buffer *out, const struct smx_meta *meta)
{
    struct map map = map_open(out);
    put_name(&map, "worker", meta->worker);
    put_name(&map, "incarnation", meta->incarnation);
    put_name(&map, "request_id", meta->request_id);
    if (meta->timestamp != 0)
        put_int(&map, "timestamp", meta->timestamp);
    put_int(&map, "duration_us", meta->duration_us);
    if (meta->chunks >= 0)
        put_int(&map, "chunks", meta->chunks);
    put_key(&map, "metadata");
    put_metadata(out, meta->metadata);
    map_close(&map);
}

static const char *reason_of(const struct smx_error *error)
{
    return error->reason ? error->reason : smx_code_name((int)error->code);
}

static void put_message(struct map *map, const struct smx_error *error)
{
    struct smx_buffer text = {0};
    smx_buffer_append_text(&text, smx_buffer_span(&error->message));
    put_key(map, "message");
    smx_term_put_binary(map->out, smx_buffer_span(&text));
    smx_buffer_fini(&text);
}

static void put_error(struct smx_buffer *out, const struct smx_event *event)
{
    static const char *const origins[] = {
        [SMX_ORIGIN_MUX] = "mux", [SMX_ORIGIN_TRANSPORT] = "transport", [SMX_ORIGIN_WORKER] = "worker"};
    const struct smx_error *error = event->error;
    struct map map = map_open(out);
    put_key(&map, "code");
    smx_term_put_atom(out, smx_code_name((int)error->code));
    put_message(&map, error);
    put_key(&map, "origin");
    smx_term_put_atom(out, origins[error->origin]);
    put_key(&map, "reason");
    smx_term_put_atom(out, reason_of(error));
    put_key(&map, "sent");
    smx_term_put_bool(out, error->sent);
    put_name(&map, "worker", event->meta.worker);
    put_name(&map, "command", event->command);
    put_name(&map, "request_id", event->meta.request_id);
    put_key(&map, "details");
    put_term(out, smx_buffer_span(&error->details));
    if (event->delivered >= 0)
        put_int(&map, "delivered", event->delivered);
    map_close(&map);
}

static void put_protocol_error(struct smx_buffer *out, const struct smx_event *event)
{
    struct map map = map_open(out);
    put_key(&map, "reason");
    smx_term_put_atom(out, reason_of(event->error));
    put_message(&map, event->error);
    put_int(&map, "offset", (int64_t)event->offset);
    map_close(&map);
}

/* {name, …} of `count` elements; the tag is one of them if there is one. */
static void put_head(struct smx_buffer *out, size_t count, const char *name, struct smx_span tag)
{
    smx_term_put_tuple(out, count);
    smx_term_put_atom(out, name);
    smx_buffer_append_span(out, tag);
}

bool smx_event_write(const struct smx_event *event, bool meta, struct smx_buffer *out, struct smx_lent *lent,
                     struct smx_error *why)
{
    size_t start = out->len;
    bool written = true;
    switch (event->kind) {
    case SMX_EVENT_HELLO:
        put_head(out, 3, "hello", event->tag);
        smx_term_put_int(out, SMX_PROTOCOL_VERSION);
        put_term(out, event->term);
        break;
    case SMX_EVENT_WORKER:
        put_head(out, 4, "worker", event->tag);
        smx_term_put_binary(out, event->meta.worker);
        smx_term_put_atom(out, event->state);
        put_term(out, event->term);
        break;
    case SMX_EVENT_OK:
        put_head(out, 4, "ok", event->tag);
        put_term(out, event->term);
        smx_term_put_map(out, 0);
        break;
    case SMX_EVENT_RESULT:
        put_head(out, 4, "ok", event->tag);
        written = smx_codec_decode_pairs(event->codec, event->values, event->style, out, lent, why);
        if (meta)
            put_meta(out, &event->meta);
        else
            smx_term_put_map(out, 0);
        break;
    case SMX_EVENT_CHUNK:
        put_head(out, 3, "chunk", event->tag);
        written = smx_codec_decode_pairs(event->codec, event->values, event->style, out, lent, why);
        break;
    case SMX_EVENT_DONE:
        put_head(out, 3, "done", event->tag);
        put_meta(out, &event->meta);
        break;
    case SMX_EVENT_ERROR:
        put_head(out, 3, "error", event->tag);
        put_error(out, event);
        break;
    case SMX_EVENT_PINNED:
        put_head(out, 4, "pinned", event->tag);
        smx_term_put_binary(out, event->session);
        smx_term_put_binary(out, event->meta.worker);
        smx_term_put_binary(out, event->meta.incarnation);
        break;
    case SMX_EVENT_PROTOCOL_ERROR:
        put_head(out, 2, "protocol_error", (struct smx_span){0});
        put_protocol_error(out, event);
        break;
    }
    if (!written)
        out->len = start;
    return written;
}
