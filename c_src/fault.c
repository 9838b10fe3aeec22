/* Owns nothing; knows statuses and the workers' error metadata, not requests. */
#include "fault.h"

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

static const char *reason_of(const struct smx_outcome *outcome)
{
    switch (outcome->status) {
    case SMX_DEADLINE_EXCEEDED:
        return "deadline";
    case SMX_CANCELLED:
        return outcome->from_worker ? "application" : "cancelled";
    case SMX_RESOURCE_EXHAUSTED:
        return outcome->from_worker ? "application" : "too_large";
    case SMX_UNAVAILABLE:
        return outcome->from_worker ? "application" : "worker_down";
    default:
        return outcome->from_worker ? "application" : "transport";
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
    fault->origin = outcome->from_worker ? SMX_ORIGIN_WORKER : SMX_ORIGIN_TRANSPORT;
    fault->reason = reason_of(outcome);
    smx_buffer_append_span(&fault->message, outcome->message);
    if (!known)
        smx_buffer_printf(&fault->message, " (the worker's status was %d)", status);
}

void smx_fault_refine(struct smx_error *fault, const struct smx_outcome *outcome, enum smx_null null)
{
    for (size_t i = 0; fault->origin == SMX_ORIGIN_WORKER && i < outcome->trailing.count; i++) {
        struct smx_error full = {0};
        if (!smx_span_is(outcome->trailing.items[i].key, "snakemux-error-bin") ||
            !smx_codec_read_error(outcome->trailing.items[i].value, null, &full))
            continue;
        full.origin = fault->origin;
        full.reason = fault->reason;
        full.sent = fault->sent;
        if (full.message.len == 0)
            smx_buffer_append_span(&full.message, smx_buffer_span(&fault->message));
        smx_error_fini(fault);
        *fault = full;
    }
}
