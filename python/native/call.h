/* One call, shared by the I/O thread and the threads of Python, and one answer of it on its way out. */
#ifndef SMX_CALL_H
#define SMX_CALL_H

#include "headers.h"
#include "snakepit.h"
#include "timer.h"

#include <pthread.h>
#include <stdatomic.h>

struct smx_stream;
struct smx_exchange;

enum smx_call_state {
    SMX_CALL_WAITING, /* in a queue, or just taken out of it */
    SMX_CALL_RUNNING, /* its handler was given to Python, and holds a slot */
    SMX_CALL_DONE,    /* its handler has ended, or never ran */
};

/* Why nobody waits for the answer any more. */
enum smx_call_end { SMX_END_NONE, SMX_END_DEADLINE, SMX_END_GONE };

struct smx_call {
    atomic_uint references;

    /* The request, which does not change any more. */
    enum smx_request_kind kind;
    bool is_stream;
    struct smx_buffer message; /* the parts of `request` point into it */
    struct smx_execute_request request;
    struct smx_metadata metadata;
    int64_t deadline_us; /* of smx_now_us; INT64_MAX: none */

    /* Guarded by the lock of the exchange. */
    enum smx_call_state state;
    enum smx_call_end end;
    bool is_async;
    bool is_answered; /* no more answers are taken */
    bool wants_room;  /* somebody waits until less is pending */
    size_t pending_bytes;
    size_t pending_count;
    int64_t began_us;
    int64_t ended_us;
    pthread_cond_t room;
    struct smx_call *next; /* in its queue, or among the running */
    struct smx_call *previous;

    /* Guarded by the GIL. */
    void *face;     /* what Python sees of it, borrowed */
    int32_t chunks; /* sent so far */

    /* Of the I/O thread; NULL when the stream has closed. */
    struct smx_stream *stream;
    struct smx_timer deadline;
};

/* With one reference. Takes message and metadata. */
struct smx_call *smx_call_new(enum smx_request_kind kind, bool is_stream, struct smx_buffer *message,
                              struct smx_metadata *metadata);
struct smx_call *smx_call_keep(struct smx_call *call);
/* May be called in any thread. */
void smx_call_release(struct smx_call *call);

/* Bytes of a message: in the head of its answer, or elsewhere. */
struct smx_part {
    const uint8_t *data; /* NULL: in the head, from `offset` */
    size_t offset;
    size_t len;
};

enum smx_answer_kind {
    SMX_ANSWER_CHUNK,  /* a message, and more follows */
    SMX_ANSWER_LAST,   /* a message, and the status */
    SMX_ANSWER_CUT,    /* the status instead of all that is still on its way */
    SMX_ANSWER_EXPIRE, /* LAST if nothing is on its way, else CUT */
};

struct smx_answer {
    struct smx_answer *next;
    unsigned references; /* of the I/O thread */
    struct smx_call *call;
    enum smx_answer_kind kind;
    int status;              /* of CUT */
    struct smx_buffer text;  /* grpc-message of CUT, encoded */
    struct smx_buffer story; /* snakemux-error-bin, encoded; empty: none */

    struct smx_buffer head; /* starts with the five bytes of gRPC, when there is a message */
    struct smx_part *parts;
    size_t part_count;
    size_t len;
    size_t part; /* the next bytes to be sent: in this part */
    size_t sent; /* and so many of it are sent */
    size_t left; /* bytes to be sent yet */

    void *views; /* buffers of Python that parts point into, to be released under the GIL */
    size_t view_count;
};

struct smx_answer *smx_answer_new(struct smx_call *call, enum smx_answer_kind kind);
/* The bytes of the head that are in no part yet become one. */
void smx_answer_seal_head(struct smx_answer *answer);
void smx_answer_add_part(struct smx_answer *answer, const uint8_t *data, size_t len);
/* Writes the length of the message in front of it; it is complete. False if that is over 4 GiB. */
bool smx_answer_finish(struct smx_answer *answer);
/* Must hold no views any more. */
void smx_answer_free(struct smx_answer *answer);

#endif
