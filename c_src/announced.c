/* Owns nothing: reads what a worker says of itself into its connection; knows neither channels nor calls. */
#include "announced.h"

#include <stdlib.h>
#include <string.h>

static bool list_has(struct smx_span list, const char *word)
{
    size_t len = strlen(word);
    for (size_t at = 0; at + len <= list.len; at++) {
        bool starts = at == 0 || list.data[at - 1] == ',' || list.data[at - 1] == ' ';
        bool ends = at + len == list.len || list.data[at + len] == ',' || list.data[at + len] == ' ';
        if (starts && ends && memcmp(list.data + at, word, len) == 0)
            return true;
    }
    return false;
}

static bool is_on(struct smx_span value)
{
    return value.len > 0 && !smx_span_is(value, "0") && !smx_span_is(value, "false");
}

static void choose_codec(struct smx_conn *conn, struct smx_span codecs)
{
    conn->announces_codecs = codecs.len > 0;
    conn->has_json = list_has(codecs, "json");
    conn->has_msgpack = list_has(codecs, "msgpack");
    if (conn->options.codec == SMX_CODEC_JSON || conn->options.codec == SMX_CODEC_MSGPACK)
        conn->codec = conn->options.codec;
    else if (conn->has_msgpack && (!conn->has_json || (codecs.data && codecs.data[0] == 'm')))
        conn->codec = SMX_CODEC_MSGPACK;
    else
        conn->codec = SMX_CODEC_JSON;
}

static void take_commands(struct smx_conn *conn, struct smx_list commands)
{
    conn->command_names.len = 0;
    conn->any_command = commands.count == 0;
    for (size_t i = 0; i < commands.count; i++) {
        smx_buffer_append_span(&conn->command_names, commands.items[i]);
        smx_buffer_append(&conn->command_names, "", 1);
    }
}

void smx_announced_nothing(struct smx_conn *conn)
{
    take_commands(conn, conn->options.commands);
    choose_codec(conn, (struct smx_span){0});
}

void smx_announced_take(struct smx_conn *conn)
{
    const struct smx_reply *about = &conn->about;
    struct smx_span codecs = {0};
    uint32_t max_concurrent = 0;
    for (size_t i = 0; i < about->capabilities.count; i++) {
        const struct smx_pair *pair = &about->capabilities.items[i];
        if (smx_span_is(pair->key, "codecs"))
            codecs = pair->value;
        else if (smx_span_is(pair->key, "max_concurrent"))
            max_concurrent = (uint32_t)strtoul((const char *)pair->value.data, NULL, 10);
        else if (smx_span_is(pair->key, "sessions"))
            conn->announces_sessions = is_on(pair->value);
        else if (smx_span_is(pair->key, "keepalive"))
            conn->allows_pings = is_on(pair->value);
    }
    choose_codec(conn, codecs);
    if (conn->options.max_concurrent == 0 && max_concurrent > 0)
        conn->max_concurrent = max_concurrent;
    if (!conn->options.has_commands && !conn->options.any_command)
        take_commands(conn, about->commands);
}
