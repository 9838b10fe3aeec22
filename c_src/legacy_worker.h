/* One legacy stdin/stdout worker: its start, the negotiation, and one request at a time. No gRPC. */
#ifndef SMX_LEGACY_WORKER_H
#define SMX_LEGACY_WORKER_H

#include "duplex.h"
#include "protocol.h"
#include "timer.h"

enum smx_legacy_phase {
    SMX_LEGACY_NEGOTIATING, /* which codec? Silence for 5 s, or any other answer, means JSON */
    SMX_LEGACY_PINGING,     /* the first ping: it may still be loading */
    SMX_LEGACY_IDLE,
    SMX_LEGACY_BUSY, /* with one request, wanted or not: it can't be cancelled */
    SMX_LEGACY_GONE,
};

/* An answer. Borrowed for the time of the event. `text` says why where it is none. */
struct smx_legacy_answer {
    bool success;
    enum smx_codec codec;
    struct smx_pairs values;
    struct smx_span text;
};

struct smx_legacy_worker_events {
    void (*ready)(void *owner); /* once: it is idle for the first time */
    /* It is idle again: the answer to the last request. */
    void (*answered)(void *owner, const struct smx_legacy_answer *answer);
    void *owner;
};

/* Zero but for events, fixed and timers before start. */
struct smx_legacy_worker {
    struct smx_legacy_worker_events events;
    enum smx_codec fixed; /* --protocol: no negotiation; AUTO: negotiate */
    struct smx_timers *timers;
    struct smx_duplex pipes;
    enum smx_legacy_phase phase;
    enum smx_codec codec;
    uint64_t id;               /* of the last request */
    struct smx_timer patience; /* with the negotiation */
};

/* Starts the command with pipes as stdin and stdout. False with errno set when there are none to be had. */
bool smx_legacy_worker_spawn(struct smx_legacy_worker *worker, char **command, size_t max_frame);
/* Says the first word. */
void smx_legacy_worker_start(struct smx_legacy_worker *worker);
/* What can be read; false when the worker has ended: it is GONE. */
bool smx_legacy_worker_read(struct smx_legacy_worker *worker);
/* Only while IDLE. `args` by worker->codec. */
void smx_legacy_worker_ask(struct smx_legacy_worker *worker, struct smx_span command, struct smx_pairs args);
void smx_legacy_worker_fini(struct smx_legacy_worker *worker);

#endif
