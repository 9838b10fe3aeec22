/* One message of the owner, read: an encoded term -> smx_command. */
#ifndef SMX_COMMAND_H
#define SMX_COMMAND_H

#include "options.h"
#include "protocol.h"

/* What a message is. */
enum smx_command_kind {
    SMX_COMMAND_READ,    /* a command for the bridge, or a part of one */
    SMX_COMMAND_OPTIONS, /* {options, Tag, Map}: for the front */
    SMX_COMMAND_WRONG,   /* its tag could be read: {error, Tag, error} */
    SMX_COMMAND_LOST,    /* it has no tag of its own: {protocol_error, error} */
};

/* Whether a message is a piece of another one. */
enum smx_part {
    SMX_PART_NONE,
    SMX_PART_MORE, /* {part, Tag, Bin} */
    SMX_PART_LAST, /* {last, Tag, Bin} */
};

/* Zero before use, also between two messages (smx_command_reader_fini). Owns the arrays behind the command's lists. */
struct smx_command_reader {
    struct smx_command command;
    struct smx_front_options options;
    enum smx_part part;    /* known of a WRONG one too */
    struct smx_span bytes; /* of a part */
    struct smx_error error;
    size_t offset; /* where the fault is */
    void *array;
};

/*
 * Reads the message that starts at `at` of `frame`, ends with it, and was accepted by smx_term_check. The command
 * borrows from `frame` and from the reader. With WRONG and LOST, reader->error says why.
 */
enum smx_command_kind smx_command_read(struct smx_command_reader *reader, struct smx_span frame, size_t at);
/* The head of a message that can't be read as a whole (cut, broken, too deep): finds its tag. WRONG or LOST. */
enum smx_command_kind smx_command_read_head(struct smx_command_reader *reader, struct smx_span frame, size_t at);
void smx_command_reader_fini(struct smx_command_reader *reader);

#endif
