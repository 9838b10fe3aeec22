/* How an RPC that went wrong becomes the error that the owner sees. */
#ifndef SMX_FAULT_H
#define SMX_FAULT_H

#include "call.h"
#include "protocol.h"

/* The worker said no in its answer (success = false, or a stream's error), with this text. */
void smx_fault_by_worker(struct smx_error *fault, struct smx_span text);
/* It ended with this status; OK is a fault here too: there was no answer. */
void smx_fault_by_status(struct smx_error *fault, const struct smx_outcome *outcome);
/* What the trailing metadata of a worker say of its error is more than the text: code, type, traceback, details. */
void smx_fault_refine(struct smx_error *fault, const struct smx_outcome *outcome, struct smx_style style);

#endif
