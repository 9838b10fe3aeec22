/* The Python face: types Server and Call. Only these files know Python; they never block while they hold the GIL. */
#ifndef SMX_FACE_H
#define SMX_FACE_H

/* The slots of a type hold functions as `void *`. */
#pragma GCC diagnostic ignored "-Wpedantic"

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "exchange.h"
#include "info.h"
#include "transport.h"

struct smx_commands {
    struct smx_table table;
    struct smx_command *list;
    size_t count;
};

struct smx_server {
    PyObject_HEAD struct smx_exchange exchange;
    struct smx_transport transport;
    struct smx_info info;
    struct smx_commands commands; /* like info under the lock of the transport, once it has started */
    int loop_fd;
    int io_fd;
    bool is_open;            /* the parts above are to be undone */
    bool is_child;           /* of a fork: nobody else is here */
    struct smx_server *next; /* for fork */
};

struct smx_call_face {
    PyObject_HEAD struct smx_server *server; /* a reference */
    struct smx_call *call;
    PyObject *owner; /* whatever Python wants to find again */
};

extern PyTypeObject *smx_call_type;

bool smx_call_type_init(PyObject *module);

/* The face of a call, the same one as long as it lives; a new reference, NULL with an exception. */
PyObject *smx_call_face(struct smx_server *server, struct smx_call *call);

/*
 * Appends map entries with the values of a dict: bytes-like, or lists and tuples of these. Large ones are not copied:
 * the answer holds views on them. False with an exception.
 */
bool smx_reply_add_values(struct smx_answer *answer, unsigned field, PyObject *values);
/* Releases the views; then the answer is freed. */
void smx_reply_free(struct smx_answer *answer);

#endif
