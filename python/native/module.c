/* The module and the type Server: what python/snakemux/native.py drives. */
#include "face.h"

#include "signal_fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct smx_server *servers; /* for fork; changes under the GIL */

/* The locks are held across a fork, so that the child finds everything in order. */
static void before_fork(void)
{
    for (struct smx_server *at = servers; at; at = at->next) {
        pthread_mutex_lock(&at->transport.lock);
        pthread_mutex_lock(&at->exchange.lock);
    }
}

static void unlock_all(void)
{
    for (struct smx_server *at = servers; at; at = at->next) {
        pthread_mutex_unlock(&at->exchange.lock);
        pthread_mutex_unlock(&at->transport.lock);
    }
}

/* The sockets are the parent's: while a child had them open, peers would not see the parent's end. */
static void in_child(void)
{
    for (struct smx_server *at = servers; at; at = at->next) {
        at->is_child = true;
        at->exchange.is_closed = true;
        smx_transport_abandon(&at->transport);
    }
    unlock_all();
}

static void collect(struct smx_server *server)
{
    for (struct smx_answer *at = smx_exchange_garbage(&server->exchange), *next; at; at = next) {
        next = at->next;
        smx_reply_free(at);
    }
}

static PyObject *server_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"address", "threads", "max_concurrent", "max_message", "stuck_grace", "stall_after", NULL};
    const char *address;
    Py_ssize_t threads, max_concurrent, max_message;
    double stuck_grace, stall_after;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "snnndd", names, &address, &threads, &max_concurrent, &max_message,
                                     &stuck_grace, &stall_after))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct smx_server *server = (struct smx_server *)allocate(type, 0);
    if (!server)
        return NULL;
    struct smx_exchange_options options = {
        .threads = (size_t)threads,
        .max_concurrent = (size_t)max_concurrent,
        .stuck_grace_us = (int64_t)(stuck_grace * 1e6),
        .stall_after_us = (int64_t)(stall_after * 1e6),
    };
    struct smx_buffer why = {0};
    server->loop_fd = smx_signal_fd_new();
    server->io_fd = smx_signal_fd_new();
    server->info.started_us = smx_now_us();
    smx_exchange_init(&server->exchange, &options, server->loop_fd, server->io_fd);
    server->exchange.commands = &server->commands.table;
    bool ok =
        smx_transport_init(&server->transport, &server->exchange, &server->info, (size_t)max_message, address, &why);
    server->is_open = true;
    server->next = servers;
    servers = server;
    if (!ok || server->loop_fd < 0 || server->io_fd < 0) {
        smx_buffer_append(&why, "", 1);
        PyErr_SetString(PyExc_OSError, (const char *)why.data);
        Py_CLEAR(server);
    }
    smx_buffer_fini(&why);
    return (PyObject *)server;
}

static void shut(struct smx_server *server)
{
    if (!server->is_open)
        return;
    server->is_open = false;
    for (struct smx_server **at = &servers; *at; at = &(*at)->next)
        if (*at == server) {
            *at = server->next;
            break;
        }
    smx_exchange_close(&server->exchange);
    Py_BEGIN_ALLOW_THREADS smx_transport_fini(&server->transport, server->is_child);
    Py_END_ALLOW_THREADS collect(server);
}

static void free_commands(struct smx_commands *commands)
{
    smx_table_fini(&commands->table);
    for (size_t i = 0; i < commands->count; i++)
        free((void *)commands->list[i].name.data);
    free(commands->list);
}

static void server_free(PyObject *self)
{
    struct smx_server *server = (struct smx_server *)self;
    PyTypeObject *type = Py_TYPE(self);
    shut(server);
    collect(server);
    smx_exchange_fini(&server->exchange);
    smx_info_fini(&server->info);
    free_commands(&server->commands);
    for (int i = 0; i < 2; i++) {
        int fd = i ? server->io_fd : server->loop_fd;
        if (fd >= 0)
            close(fd);
    }
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static bool take_commands(struct smx_commands *commands, PyObject *given)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, len;
    commands->list = smx_alloc((size_t)PyDict_Size(given) * sizeof(*commands->list));
    while (PyDict_Next(given, &at, &key, &value)) {
        const char *name = PyUnicode_AsUTF8AndSize(key, &len);
        if (!name)
            return false;
        struct smx_command *command = &commands->list[commands->count++];
        uint8_t *copy = smx_alloc((size_t)len);
        memcpy(copy, name, (size_t)len);
        *command = (struct smx_command){{copy, (size_t)len}, PyObject_IsTrue(value) == 1};
        smx_table_put(&commands->table, command->name, command);
    }
    return true;
}

static PyObject *server_tell(PyObject *self, PyObject *args)
{
    struct smx_server *server = (struct smx_server *)self;
    struct smx_commands commands = {0}, old;
    PyObject *given;
    const char *base, *capabilities;
    Py_ssize_t base_len, capabilities_len;
    if (!PyArg_ParseTuple(args, "O!y#y#", &PyDict_Type, &given, &base, &base_len, &capabilities, &capabilities_len))
        return NULL;
    if (!take_commands(&commands, given)) {
        free_commands(&commands);
        return NULL;
    }
    /* With the GIL, so that nobody closes the server meanwhile; the lock's holders never wait for it. */
    bool is_shared = server->is_open;
    if (is_shared)
        pthread_mutex_lock(&server->transport.lock);
    old = server->commands;
    server->commands = commands;
    server->info.base.len = server->info.capabilities.len = 0;
    smx_buffer_append(&server->info.base, base, (size_t)base_len);
    smx_buffer_append(&server->info.capabilities, capabilities, (size_t)capabilities_len);
    if (is_shared)
        pthread_mutex_unlock(&server->transport.lock);
    free_commands(&old);
    Py_RETURN_NONE;
}

static PyObject *server_start(PyObject *self, PyObject *args)
{
    struct smx_server *server = (struct smx_server *)self;
    const char *version;
    Py_ssize_t version_len;
    if (!PyArg_ParseTuple(args, "s#", &version, &version_len))
        return NULL;
    smx_buffer_append(&server->info.version, version, (size_t)version_len);
    if (!smx_transport_start(&server->transport))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *server_take(PyObject *self, PyObject *none)
{
    struct smx_server *server = (struct smx_server *)self;
    struct smx_call *call;
    (void)none;
    if (server->is_child) /* what waits is the parent's to be run */
        Py_RETURN_NONE;
    while (!(call = smx_exchange_next(&server->exchange))) {
        bool goes_on;
        collect(server);
        Py_BEGIN_ALLOW_THREADS smx_transport_flush(&server->transport);
        goes_on = smx_exchange_wait(&server->exchange);
        Py_END_ALLOW_THREADS if (!goes_on) Py_RETURN_NONE;
        smx_exchange_stand_in(&server->exchange);
    }
    PyObject *face = smx_call_face(server, call);
    smx_call_release(call);
    return face;
}

static PyObject *event_of(struct smx_server *server, const struct smx_event *event)
{
    static const char *const names[] = {"start", "route", "room", "end", "idle"};
    PyObject *face = event->call ? smx_call_face(server, event->call) : Py_NewRef(Py_None);
    if (!face)
        return NULL;
    return Py_BuildValue("sNOO", names[event->kind], face, event->is_running ? Py_True : Py_False,
                         event->end == SMX_END_DEADLINE ? Py_True : Py_False);
}

static PyObject *server_events(PyObject *self, PyObject *none)
{
    struct smx_server *server = (struct smx_server *)self;
    struct smx_event *events;
    (void)none;
    collect(server);
    size_t count = smx_exchange_events(&server->exchange, &events);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; i < count; i++) {
        PyObject *event = list ? event_of(server, &events[i]) : NULL;
        if (event)
            PyList_SetItem(list, (Py_ssize_t)i, event);
        else
            Py_CLEAR(list);
        if (events[i].call)
            smx_call_release(events[i].call);
    }
    free(events);
    return list;
}

static PyObject *server_drain(PyObject *self, PyObject *none)
{
    (void)none;
    Py_BEGIN_ALLOW_THREADS smx_transport_drain(&((struct smx_server *)self)->transport);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *server_cancel(PyObject *self, PyObject *none)
{
    (void)none;
    Py_BEGIN_ALLOW_THREADS smx_transport_cancel(&((struct smx_server *)self)->transport);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *server_close(PyObject *self, PyObject *none)
{
    (void)none;
    shut((struct smx_server *)self);
    Py_RETURN_NONE;
}

static PyObject *server_fileno(PyObject *self, PyObject *none)
{
    (void)none;
    return PyLong_FromLong(((struct smx_server *)self)->loop_fd);
}

static PyObject *server_set_sessions(PyObject *self, PyObject *count)
{
    long number = PyLong_AsLong(count);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    smx_exchange_set_sessions(&((struct smx_server *)self)->exchange, number);
    Py_RETURN_NONE;
}

static PyObject *get_port(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromLong(((struct smx_server *)self)->transport.listener.port);
}

static PyObject *get_counts(PyObject *self, void *closure)
{
    (void)closure;
    struct smx_counts counts = smx_exchange_counts(&((struct smx_server *)self)->exchange);
    return Py_BuildValue("LL", (long long)counts.requests, (long long)counts.errors);
}

static PyGetSetDef properties[] = {
    {"port", get_port, NULL, "0 for a unix socket.", NULL},
    {"counts", get_counts, NULL, "(requests, errors) so far.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"tell", server_tell, METH_VARARGS,
     "What there is, in the place of what was told before: commands (name -> is it async), info, capabilities."},
    {"start", server_start, METH_VARARGS, "Begins to serve: the version of the library."},
    {"take", server_take, METH_NOARGS, "The next call for a thread; waits for it. None: the end."},
    {"events", server_events, METH_NOARGS, "What the event loop is told: (kind, call, is it running, is it late)."},
    {"fileno", server_fileno, METH_NOARGS, "Readable when there are events."},
    {"drain", server_drain, METH_NOARGS, "Takes no more calls; the event `idle` tells that none is left."},
    {"cancel", server_cancel, METH_NOARGS, "Ends all calls."},
    {"close", server_close, METH_NOARGS, "Closes all connections, once what is ready is sent."},
    {"set_sessions", server_set_sessions, METH_O, "How many sessions GetInfo tells."},
    {0},
};

static PyType_Slot server_slots[] = {{Py_tp_new, server_new},         {Py_tp_dealloc, server_free},
                                     {Py_tp_getset, properties},      {Py_tp_methods, methods},
                                     {Py_tp_doc, "Serves a worker."}, {0, NULL}};
static PyType_Spec server_spec = {"snakemux._native.Server", sizeof(struct smx_server), 0, Py_TPFLAGS_DEFAULT,
                                  server_slots};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "snakemux._native", .m_doc = "The native server.", .m_size = -1};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = PyType_FromSpec(&server_spec);
    if (!module || !type || !smx_call_type_init(module) || PyModule_AddObjectRef(module, "Server", type) != 0 ||
        pthread_atfork(before_fork, unlock_all, in_child) != 0) {
        Py_XDECREF(type);
        Py_XDECREF(module);
        return NULL;
    }
    Py_DECREF(type);
    return module;
}
