/* Owns nothing; knows statuses and the workers' error metadata, not requests. */
#include "fault.h"

#include <string.h>

#include "codec.h"

void smx_fault_by_worker(struct smx_error *fault, struct smx_span text)
{
    if (fault->code != SMX_OK)
        return;
    *fault = (struct smx_error){
        .code = SMX_UNKNOWN,
        .origin = SMX_ORIGIN_WORKER,
        .reason = "application",
        .sent = true,
    };
    smx_buffer_append_span(&fault->message, text);
    if (text.len == 0)
        smx_buffer_printf(&fault->message, "the worker said success = false, and nothing more");
}

/*
 * The library gives a call that it ends itself a status that looks like a worker's, and the public API has no mark
 * of who spoke; its words have. A worker that says the same ones is taken for the transport, which does no harm.
 */
static const struct {
    const char *text; /* how the message starts */
    const char *reason;
    bool unsent; /* it provably never reached a handler */
} library_words[] = {
    {"Received message larger than max", "too_large", false},
    {"Buffers full", "too_large", false}, /* more on its way than the quota of the channel */
    {"Sent message larger than max", "too_large", true},
    {"Received RST_STREAM with error code 7", "transport", true}, /* REFUSED_STREAM: not processed, HTTP/2 says */
    {"Received RST_STREAM", "transport", false},
    {"RST_STREAM", "transport", false},
    {"Received http2 header with status", "transport", false},
    {"No status received", "transport", false},
    {"Stream removed", "transport", false},
    {"frame of size", "transport", false}, /* more than the flow-control window allows */
    {"received initial metadata size exceeds", "transport", false},
    {"received trailing metadata size exceeds", "transport", false},
    {"failed to connect to all addresses", "worker_down", true},
    {"connections to all backends failing", "worker_down", true},
    {"empty address list", "worker_down", true},
    {"DNS resolution failed", "worker_down", true},
    {"GOAWAY received", "worker_down", true}, /* it has not looked at this stream; a lost connection says otherwise */
    {"Socket closed", "worker_down", false},
    {"Endpoint read failed", "worker_down", false},
    {"Connection reset by peer", "worker_down", false},
    {"recvmsg:", "worker_down", false}, /* and what the system says */
    {"Broken pipe", "worker_down", false},
    {"keepalive watchdog timeout", "worker_down", false},
    {"ping timeout", "worker_down", false},
    {"Transport closed", "worker_down", false},
    {"Channel is shutdown", "worker_down", false},
    {"Channel Destroyed", "worker_down", false},
};

/*
 * A server that is being stopped says so to calls that have just come in: no handler of ours, and no caller, cancelled
 * anything, for a call that we cancel has its fault before. To the caller it is a worker that went away.
 */
static bool is_turned_away(const struct smx_outcome *outcome)
{
    return outcome->status == SMX_CANCELLED &&
           (smx_span_is(outcome->message, "CANCELLED") || smx_span_is(outcome->message, "Cancelled"));
}

static void name_speaker(struct smx_error *fault, const struct smx_outcome *outcome)
{
    fault->origin = SMX_ORIGIN_WORKER;
    fault->reason = "application";
    if (outcome->status == SMX_DEADLINE_EXCEEDED && outcome->overdue) {
        fault->origin = SMX_ORIGIN_TRANSPORT;
        fault->reason = "deadline";
        return;
    }
    if (is_turned_away(outcome)) {
        fault->code = SMX_UNAVAILABLE;
        fault->origin = SMX_ORIGIN_TRANSPORT;
        fault->reason = "worker_down";
        return;
    }
    for (size_t i = 0; i < sizeof(library_words) / sizeof(library_words[0]); i++) {
        size_t len = strlen(library_words[i].text);
        if (outcome->message.len < len || memcmp(outcome->message.data, library_words[i].text, len) != 0)
            continue;
        fault->origin = SMX_ORIGIN_TRANSPORT;
        fault->reason = library_words[i].reason;
        fault->sent = outcome->answered || !library_words[i].unsent;
        return;
    }
}

void smx_fault_by_status(struct smx_error *fault, const struct smx_outcome *outcome)
{
    int status = outcome->status;
    fault->sent = true;
    if (status == SMX_OK) {
        smx_error_set(fault, SMX_INTERNAL, "decode", "the worker ended the call with OK but without an answer");
        fault->origin = SMX_ORIGIN_WORKER;
        return;
    }
    bool known = status > 0 && status <= SMX_UNAUTHENTICATED;
    fault->code = known ? (enum smx_code)status : SMX_UNKNOWN;
    name_speaker(fault, outcome);
    if (is_turned_away(outcome))
        smx_buffer_printf(&fault->message, "the worker is being stopped and turned the call away: ");
    smx_buffer_append_span(&fault->message, outcome->message);
    if (fault->origin == SMX_ORIGIN_TRANSPORT && strcmp(fault->reason, "too_large") == 0)
        smx_buffer_printf(&fault->message,
                          ": raise max_message, here and in the worker, or send smaller messages, as a stream");
    if (!known)
        smx_buffer_printf(&fault->message, " (the worker's status was %d)", status);
}

void smx_fault_refine(struct smx_error *fault, const struct smx_outcome *outcome, struct smx_style style)
{
    /* The deadline cut off the trailing metadata, which would have told the code of the worker's error. */
    if (fault->code == SMX_UNKNOWN && outcome->status == SMX_DEADLINE_EXCEEDED && outcome->overdue) {
        fault->code = SMX_DEADLINE_EXCEEDED;
        fault->origin = SMX_ORIGIN_TRANSPORT;
        fault->reason = "deadline";
    }
    for (size_t i = 0; fault->origin == SMX_ORIGIN_WORKER && i < outcome->trailing.count; i++) {
        struct smx_error full = {0};
        if (!smx_span_is(outcome->trailing.items[i].key, "snakemux-error-bin") ||
            !smx_codec_read_error(outcome->trailing.items[i].value, style, &full))
            continue;
        full.origin = fault->origin;
        /* Whose clock was first, the worker's or gRPC's, makes no difference to the caller. */
        full.reason = full.code == SMX_DEADLINE_EXCEEDED ? "deadline" : fault->reason;
        full.sent = fault->sent;
        if (full.message.len == 0)
            smx_buffer_append_span(&full.message, smx_buffer_span(&fault->message));
        smx_error_fini(fault);
        *fault = full;
    }
}
