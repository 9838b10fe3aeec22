/* One HTTP/2 connection to one worker: its state, what the worker announced of itself, and whether it still answers. */
#ifndef SMX_CONN_H
#define SMX_CONN_H

#include "call.h"
#include "completion.h"
#include "protocol.h"
#include "timer.h"

struct smx_conn;

enum smx_conn_state {
    SMX_CONN_CONNECTING,   /* not connected yet, or lost a moment ago: calls wait for it */
    SMX_CONN_READY,        /* connected, and it answered */
    SMX_CONN_UNRESPONSIVE, /* connected, but it says it is unhealthy or says nothing: no new calls */
    SMX_CONN_UNREACHABLE,  /* not connected; gRPC keeps trying, calls do not wait */
    SMX_CONN_DRAINING,     /* running calls end, new ones go elsewhere */
    SMX_CONN_GONE,         /* disconnected; only its memory waits for the last completions */
};

/* The text of an atom; static. */
const char *smx_conn_state_name(enum smx_conn_state state);

struct smx_conn_events {
    void (*changed)(void *owner, struct smx_conn *conn); /* its state, reason or announcement */
    void *owner;
};

struct smx_request; /* of the pool */

struct smx_conn {
    struct smx_buffer id;
    struct smx_buffer target;
    enum smx_conn_state state;
    const char *reason; /* of the state: the text of an atom; static */
    int64_t since_ms;
    uint32_t in_flight; /* calls that count against max_concurrent */
    uint32_t requests;  /* all that point to it, looks at its health asked for by the owner too */
    bool pumping;       /* the bridge is starting queued calls on it */
    uint32_t weight;
    uint32_t max_concurrent;
    uint64_t calls; /* ever started on it */

    struct smx_buffer incarnation; /* one life of the worker's process */
    bool any_command;
    struct smx_buffer command_names; /* each ends with a NUL */
    bool announces_sessions;
    bool announces_codecs;
    bool has_json;
    bool has_msgpack;
    enum smx_codec codec;   /* JSON or MSGPACK */
    struct smx_reply about; /* what GetInfo said */

    struct grpc_channel *channel;
    /* Takes the place of `channel` once the worker has announced that it allows HTTP/2 pings; or NULL. */
    struct grpc_channel *pinging;
    bool allows_pings;
    struct smx_gate *gate;
    struct smx_timers *timers;
    struct smx_conn_events events;
    struct smx_connect_options options; /* its numbers and flags; what its spans said is taken at the start */
    bool given_incarnation;
    bool connected;
    bool ever_ready;
    int channel_state;
    bool watching;
    struct smx_completion watch;
    struct smx_timer grace;    /* how long a connection may be missing before it is unreachable */
    struct smx_timer probe;    /* the next look at its health */
    struct smx_timer patience; /* with the present one */
    struct smx_call health;
    struct smx_call info;
    bool fresh;       /* connected, and its life not yet identified */
    uint32_t looking; /* RPCs running: health, info */
    uint32_t telling; /* RPCs running: end_session */
    bool info_known;
    int health_status; /* gRPC's, of the last look */
    bool healthy;
    bool in_doubt;                  /* the last look failed as of a lost connection */
    struct smx_conn *next;          /* in the pool's list */
    struct smx_request *queue_head; /* the pool's: calls that only this worker may take */
    struct smx_request *queue_tail;
    size_t queue_count;
    struct smx_request *leaver; /* the disconnect that waits until it is drained */
};

/* Starts to connect. The command is a connect. NULL with `why` set when ca_file can't be read. */
struct smx_conn *smx_conn_new(const struct smx_command *connect, struct smx_gate *gate, struct smx_timers *timers,
                              struct smx_conn_events events, struct smx_error *why);
/* Draining: no new calls. */
void smx_conn_drain(struct smx_conn *conn);
/* Gone: the channel is destroyed, `changed` says so. Its calls must be cancelled by their owner. */
void smx_conn_close(struct smx_conn *conn);
/* Frees a gone connection once nothing of gRPC points to it: true when it did. */
bool smx_conn_reap(struct smx_conn *conn);

bool smx_conn_takes(const struct smx_conn *conn, struct smx_span command);
/* Ready and below max_concurrent. */
bool smx_conn_has_room(const struct smx_conn *conn);
/* It may become ready: a call can wait for it. */
bool smx_conn_is_coming(const struct smx_conn *conn);
/* The same life of the worker's process? Start times count as equal within a second. */
bool smx_conn_is_incarnation(const struct smx_conn *conn, struct smx_span incarnation);

#endif
