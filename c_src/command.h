/* One message of the owner, read: an encoded term -> smx_command. */
#ifndef SMX_COMMAND_H
#define SMX_COMMAND_H

#include "protocol.h"

/* What command_read made of a message. */
enum smx_command_kind {
    SMX_COMMAND_READ,    /* a command for the bridge */
    SMX_COMMAND_OPTIONS, /* {options, Tag, Map}: for the front */
    SMX_COMMAND_WRONG,   /* its tag could be read: {error, Tag, why} */
    SMX_COMMAND_LOST,    /* no tag: protocol_error, why */
};

/* The options of {options, Tag, Map}. */
struct smx_front_options {
    bool has_batch;
    bool batch;
};

/* Zero before use. Owns the arrays behind the command's lists. */
struct smx_command_reader {
    struct smx_command command;
    struct smx_front_options options;
    struct smx_error error;
    size_t offset; /* where the fault is */
    void *arrays;
};

/*
 * Reads the message that starts at `*at` of `frame` and moves `*at` behind it. The message was accepted by
 * smx_term_check. The command borrows from `frame` and from the reader.
 */
enum smx_command_kind smx_command_read(struct smx_command_reader *reader, struct smx_span frame, size_t *at);
/* An oversized frame's first bytes: finds command and tag if they are there. WRONG or LOST. */
enum smx_command_kind smx_command_read_head(struct smx_command_reader *reader, struct smx_span head, size_t max_frame);
void smx_command_reader_fini(struct smx_command_reader *reader);

/*
 * A copy of an execute command that outlives its frame: one block of memory, to be freed with free(). The spans and
 * the metadata point into it.
 */
struct smx_command *smx_command_keep(const struct smx_command *command);

#endif
