/* Owns the conversation with the worker; knows nothing of who asks. */
#include "legacy_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "legacy_frame.h"
#include "splice.h"

enum { NEGOTIATION_MS = 5000 };

extern char **environ;

static bool spawn(char **command, int in, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t child;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    errno = posix_spawnp(&child, command[0], &files, &attributes, command, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return errno == 0;
}

bool smx_legacy_worker_spawn(struct smx_legacy_worker *worker, char **command, size_t max_frame)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        return false;
    bool spawned = spawn(command, in[0], out[1]);
    int error = errno;
    close(in[0]);
    close(out[1]);
    smx_duplex_init(&worker->pipes, out[0], in[1], max_frame);
    errno = error;
    return spawned;
}

static void ping(struct smx_legacy_worker *worker, enum smx_codec codec)
{
    struct smx_buffer yes = {0}, name = {0};
    const struct smx_codec_writer *writer = smx_splice_writer(codec);
    writer->put(&yes, &(struct smx_value){SMX_VALUE_BOOL, .boolean = true});
    writer->put(&name, &(struct smx_value){SMX_VALUE_STRING, .span = smx_span_of("snakemux_wrap")});
    const struct smx_pair args[] = {{smx_span_of("initialization"), smx_buffer_span(&yes)},
                                    {smx_span_of("worker_id"), smx_buffer_span(&name)}};
    smx_timer_stop(worker->timers, &worker->patience);
    worker->codec = codec;
    worker->phase = SMX_LEGACY_IDLE;
    smx_legacy_worker_ask(worker, smx_span_of("ping"), (struct smx_pairs){args, 2});
    worker->phase = SMX_LEGACY_PINGING;
    smx_buffer_fini(&yes);
    smx_buffer_fini(&name);
}

static void on_silence(void *owner)
{
    ping(owner, SMX_CODEC_JSON);
}

void smx_legacy_worker_start(struct smx_legacy_worker *worker)
{
    if (worker->fixed != SMX_CODEC_AUTO) {
        ping(worker, worker->fixed);
        return;
    }
    worker->phase = SMX_LEGACY_NEGOTIATING;
    worker->patience = (struct smx_timer){.fire = on_silence, .owner = worker};
    smx_timer_set(worker->timers, &worker->patience, smx_now_ms() + NEGOTIATION_MS);
    smx_legacy_frame_negotiation(&worker->pipes.output);
}

void smx_legacy_worker_ask(struct smx_legacy_worker *worker, struct smx_span command, struct smx_pairs args)
{
    worker->phase = SMX_LEGACY_BUSY;
    smx_legacy_frame_request(&worker->pipes.output, worker->codec, ++worker->id, command, args);
}

/* ---- Answers ---- */

static void answer(struct smx_legacy_worker *worker, const struct smx_legacy_answer *answer)
{
    bool first = worker->phase == SMX_LEGACY_PINGING;
    worker->phase = SMX_LEGACY_IDLE;
    if (first)
        worker->events.ready(worker->events.owner);
    else
        worker->events.answered(worker->events.owner, answer);
}

static bool is_asked(const struct smx_legacy_worker *worker, enum smx_codec codec, struct smx_span id)
{
    struct smx_buffer wanted = {0};
    smx_splice_writer(codec)->put(&wanted, &(struct smx_value){SMX_VALUE_UINT, .large = worker->id});
    bool same = smx_span_equal(smx_buffer_span(&wanted), id);
    smx_buffer_fini(&wanted);
    return same && (worker->phase == SMX_LEGACY_BUSY || worker->phase == SMX_LEGACY_PINGING);
}

static void take_answer(struct smx_legacy_worker *worker, enum smx_codec codec, const struct smx_values *fields)
{
    struct smx_values values = {0};
    struct smx_buffer text = {0};
    struct smx_legacy_answer it = {.codec = codec};
    it.success = smx_splice_is_true(codec, smx_splice_find(fields, "success"));
    struct smx_span result = smx_splice_find(fields, it.success ? "result" : "error");
    if (it.success && result.len > 0)
        smx_splice_unwrap(codec, result, &values);
    else if (result.len > 0)
        smx_splice_text(codec, result, &text);
    it.values = (struct smx_pairs){values.items, values.count};
    it.text = smx_buffer_span(&text);
    answer(worker, &it);
    smx_buffer_fini(&text);
    smx_values_fini(&values);
}

static void fail(struct smx_legacy_worker *worker, const char *text)
{
    smx_log("wrap: %s", text);
    if (worker->phase == SMX_LEGACY_BUSY)
        answer(worker, &(struct smx_legacy_answer){.codec = worker->codec, .text = smx_span_of(text)});
}

/* An older worker answers the negotiation as if it were a command: then it speaks JSON. */
static void take_selection(struct smx_legacy_worker *worker, const struct smx_values *fields)
{
    bool msgpack = smx_span_is(smx_splice_find(fields, "type"), "\"protocol_selected\"") &&
                   smx_span_is(smx_splice_find(fields, "protocol"), "\"msgpack\"");
    ping(worker, msgpack ? SMX_CODEC_MSGPACK : SMX_CODEC_JSON);
}

static void take_frame(void *owner, struct smx_span frame, enum smx_frame_kind kind)
{
    struct smx_legacy_worker *worker = owner;
    enum smx_codec codec = smx_splice_codec(frame);
    struct smx_values fields;
    char text[128];
    if (kind != SMX_FRAME_WHOLE) {
        snprintf(text, sizeof(text), "the worker's answer is larger than --max-message (%zu bytes): raise it",
                 worker->pipes.reader.max_frame);
        fail(worker, text);
        return;
    }
    if (codec == SMX_CODEC_RAW || !smx_splice_map(codec, frame, &fields)) {
        fail(worker, "the worker's answer is neither JSON nor MessagePack (does it print to stdout?)");
        return;
    }
    if (worker->phase == SMX_LEGACY_NEGOTIATING)
        take_selection(worker, &fields);
    else if (is_asked(worker, codec, smx_splice_find(&fields, "id")))
        take_answer(worker, codec, &fields);
    else
        smx_log("wrap: the worker has answered what nobody asked");
    smx_values_fini(&fields);
}

bool smx_legacy_worker_read(struct smx_legacy_worker *worker)
{
    if (smx_duplex_read(&worker->pipes, take_frame, worker))
        return true;
    worker->phase = SMX_LEGACY_GONE;
    return false;
}

void smx_legacy_worker_fini(struct smx_legacy_worker *worker)
{
    close(worker->pipes.in);
    close(worker->pipes.out);
    smx_duplex_fini(&worker->pipes);
}
