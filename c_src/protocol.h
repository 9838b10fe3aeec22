/*
 * The contract inside the port program: a front turns what the owner says into a smx_command, the bridge answers
 * with smx_events, and neither knows how the other works. The terms on the wire are in docs/PROTOCOL.md.
 */
#ifndef SMX_PROTOCOL_H
#define SMX_PROTOCOL_H

#include "util.h"

/* Bytes from which on a value stays where it is, instead of being copied once more. The fuzz targets have fewer. */
#ifndef SMX_LARGE
#define SMX_LARGE 65536
#endif

enum {
    SMX_PROTOCOL_VERSION = 1,
    SMX_MAX_TAG = 1024,   /* bytes, encoded */
    SMX_MAX_NAME = 1024,  /* bytes of a command, a session or a request id */
    SMX_MAX_WORKER = 255, /* bytes of a worker's id */
    SMX_MAX_DEPTH = 64,   /* of a term, of JSON, of MessagePack */
    SMX_PARTS_FRAMES = 2, /* commands in parts, all together: so many times max_frame */
    SMX_PARTS_TAG = 1024, /* bytes that each of them counts beside its own */
    SMX_DEFAULT_TIMEOUT_MS = 30000,
    SMX_DEFAULT_CREDIT = 16,
    SMX_DEFAULT_MAX_CONCURRENT = 100,
    SMX_DEFAULT_READY_TIMEOUT_MS = 5000,
    SMX_DEFAULT_HEALTH_INTERVAL_MS = 5000,
    SMX_DEFAULT_UNRESPONSIVE_AFTER_MS = 5000,
};
#define SMX_CREDIT_INFINITY UINT32_MAX
#define SMX_VERSION "0.1.0"

/* Command-line options, told in hello. Bytes, counts and milliseconds. */
struct smx_limits {
    size_t max_frame;
    size_t max_message;
    size_t max_buffered;
    size_t max_queue;
    size_t max_calls;
    size_t max_sessions;
    int64_t session_ttl_ms;
};

struct smx_pair {
    struct smx_span key;
    struct smx_span value;
};

/* Keys and bytes, borrowed. */
struct smx_pairs {
    const struct smx_pair *items;
    size_t count;
};

struct smx_list {
    const struct smx_span *items;
    size_t count;
};

/* The numbers are gRPC's status codes. */
enum smx_code {
    SMX_OK,
    SMX_CANCELLED,
    SMX_UNKNOWN,
    SMX_INVALID_ARGUMENT,
    SMX_DEADLINE_EXCEEDED,
    SMX_NOT_FOUND,
    SMX_ALREADY_EXISTS,
    SMX_PERMISSION_DENIED,
    SMX_RESOURCE_EXHAUSTED,
    SMX_FAILED_PRECONDITION,
    SMX_ABORTED,
    SMX_OUT_OF_RANGE,
    SMX_UNIMPLEMENTED,
    SMX_INTERNAL,
    SMX_UNAVAILABLE,
    SMX_DATA_LOSS,
    SMX_UNAUTHENTICATED,
};

/* The atom of a code: "ok", "cancelled", … "unknown" for a number outside 0..16. Static. */
const char *smx_code_name(int code);
/* The code of a name, in either case ("NOT_FOUND", "not_found"), or -1. */
int smx_code_of(struct smx_span name);

enum smx_origin {
    SMX_ORIGIN_MUX,       /* refused here */
    SMX_ORIGIN_TRANSPORT, /* no answer came */
    SMX_ORIGIN_WORKER,    /* it said no */
};

/*
 * Why a call ended badly. Zero is no error. Owns its buffers.
 * `reason` is the text of an atom and static; `details` is an encoded term (without the version byte), empty for #{}.
 */
struct smx_error {
    enum smx_code code;
    enum smx_origin origin;
    const char *reason;
    bool sent; /* false: provably never reached a handler */
    struct smx_buffer message;
    struct smx_buffer details;
};

/* Sets the error unless one is set already: the first one wins. Origin mux, not sent. Returns false, for `return`. */
bool smx_error_set(struct smx_error *error, enum smx_code code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void smx_error_fini(struct smx_error *error);

enum smx_codec {
    SMX_CODEC_RAW,     /* bytes, untouched */
    SMX_CODEC_TERMS,   /* of a call: whatever its worker's codec is */
    SMX_CODEC_JSON,    /* every value is JSON text */
    SMX_CODEC_MSGPACK, /* every value is MessagePack */
    SMX_CODEC_LENIENT, /* reading a first-generation worker: JSON if it parses, else text, else bytes */
    SMX_CODEC_AUTO,    /* of a connection: the first that the worker announces and we know, else JSON */
};

enum smx_null { SMX_NULL_NULL, SMX_NULL_NIL };

enum smx_tensors { SMX_TENSORS_TUPLE, SMX_TENSORS_STRUCT };

/* How what comes from a worker is written where terms have more than one way. */
struct smx_style {
    enum smx_null null;
    enum smx_tensors tensors;
};

enum smx_to { SMX_TO_ANY, SMX_TO_WORKER, SMX_TO_SESSION, SMX_TO_SESSION_WORKER };

enum smx_op {
    SMX_OP_CONNECT,
    SMX_OP_DISCONNECT,
    SMX_OP_EXECUTE,
    SMX_OP_EXECUTE_STREAM,
    SMX_OP_HEALTH,
    SMX_OP_INFO,
    SMX_OP_CREDIT,
    SMX_OP_CANCEL,
    SMX_OP_PIN,
    SMX_OP_END_SESSION,
    SMX_OP_STATS,
    SMX_OP_CALLS,
    SMX_OP_PING,
}; /* `options` concerns the front alone and never reaches the bridge. */

struct smx_call_options {
    int64_t timeout_ms; /* 0: none */
    uint32_t credit;    /* SMX_CREDIT_INFINITY: no limit */
    enum smx_codec codec;
    struct smx_style style;
    struct smx_pairs metadata;
    bool wait_for_ready; /* wait while a worker that takes it is connecting; else fail at once */
    bool move_lost_session;
    bool gzip;
    struct smx_span request_id; /* empty: generated */
};

struct smx_connect_options {
    uint32_t max_concurrent; /* 0: what the worker announces */
    uint32_t weight;         /* at least 1 */
    bool any_command;        /* commands => all */
    bool has_commands;       /* commands => [...]; neither: what the worker announces */
    struct smx_list commands;
    enum smx_codec codec; /* RAW is not one of a connection */
    struct smx_span incarnation;
    int64_t ready_timeout_ms;   /* how long a new connection is `connecting` before it is `unreachable` */
    int64_t keepalive_ms;       /* HTTP/2 pings to a worker that announces that it allows them; 0: none */
    int64_t health_interval_ms; /* between two looks at Health; 0: only when it connects */
    int64_t unresponsive_after_ms;
    bool bdp_probe;
    uint32_t stream_window;    /* bytes; 0: ours */
    struct smx_span ca_file;   /* TLS with these roots; empty: plain */
    struct smx_span authority; /* empty: from the target */
};

/*
 * One command. Everything in it is borrowed from the frame, and lives until handle returns; who keeps a command
 * for longer calls smx_command_keep.
 */
struct smx_command {
    enum smx_op op;
    struct smx_span tag; /* its encoding, without the version byte; empty where the command has none */
    enum smx_to to;
    struct smx_span worker;
    struct smx_span session;
    struct smx_span name;      /* of the command to execute */
    struct smx_span args;      /* an encoded map, without the version byte; checked, its values not yet */
    struct smx_buffer *memory; /* where args are, and may be taken; NULL: only lent */
    bool has_values;           /* instead of args: */
    struct smx_pairs values;   /* ready ones, by call.codec (JSON or MSGPACK). They go as they are to a worker that
                                  announces that codec, else transcoded; so the answer's codec may be another one too */
    struct smx_span target;    /* connect */
    struct smx_span incarnation;
    struct smx_call_options call;
    struct smx_connect_options connect;
    uint32_t credit;  /* credit */
    uint32_t limit;   /* calls */
    int64_t drain_ms; /* disconnect; -1: now */
};

/*
 * A copy of an execute command that outlives its frame: one block of memory, to be freed with free(). The spans and
 * the metadata point into it.
 */
struct smx_command *smx_command_keep(const struct smx_command *command);

/* What is known of an answer beside its values. Borrowed. */
struct smx_meta {
    struct smx_span worker;
    struct smx_span incarnation;
    struct smx_span request_id;
    int64_t timestamp; /* the worker's, nanoseconds since 1970; 0: none */
    int64_t duration_us;
    int64_t chunks; /* -1: not a stream */
    struct smx_pairs metadata;
};

enum smx_event_kind {
    SMX_EVENT_HELLO,          /* term: Info */
    SMX_EVENT_WORKER,         /* meta.worker, state, term: Info */
    SMX_EVENT_OK,             /* tag, term: Result (encoded already), meta: #{} */
    SMX_EVENT_RESULT,         /* tag, values by codec, meta: also {ok, Tag, Result, Meta} */
    SMX_EVENT_CHUNK,          /* tag, values by codec */
    SMX_EVENT_DONE,           /* tag, meta */
    SMX_EVENT_ERROR,          /* tag, error, meta, command, delivered */
    SMX_EVENT_PINNED,         /* session, meta.worker, meta.incarnation */
    SMX_EVENT_PROTOCOL_ERROR, /* error.reason and message, offset */
};

/* One event. Everything in it is borrowed for the time of the emit. */
struct smx_event {
    enum smx_event_kind kind;
    struct smx_span tag;
    struct smx_span term;
    const char *state; /* of a worker: the text of an atom */
    enum smx_codec codec;
    struct smx_style style;
    struct smx_pairs values;
    void **memory;      /* where values are, to be taken and freed with free(); NULL: only lent */
    size_t memory_size; /* bytes of it */
    struct smx_meta meta;
    const struct smx_error *error;
    struct smx_span session;
    struct smx_span command;
    int64_t delivered; /* chunks, of a stream's error; -1: not a stream */
    size_t offset;
};

/*
 * Where the bridge puts events: a front. False, with `why` set, when the values of a RESULT or a CHUNK could not be
 * read by their codec (reason `decode`); then nothing was emitted. Every other event is always taken.
 */
struct smx_sink {
    bool (*emit)(void *front, const struct smx_event *event, struct smx_error *why);
    void *front;
};

/* Where a front puts commands: the bridge. */
struct smx_handler {
    void (*handle)(void *bridge, const struct smx_command *command);
    /* Whether a request with this tag is running: a front must not answer a wrong message under the same tag. */
    bool (*is_live)(void *bridge, struct smx_span tag);
    void *bridge;
};

#endif
