/* What the completion queue hands back: every gRPC tag of this program points to one, embedded in its owner. */
#ifndef SMX_COMPLETION_H
#define SMX_COMPLETION_H

#include <stdbool.h>

struct smx_completion {
    void (*run)(void *owner, bool ok);
    void *owner;
};

#endif
