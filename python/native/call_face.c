/* The type Call: a request as Python sees it, and how Python answers it. */
#include "face.h"

#include <string.h>
#include <time.h>

/* Arguments at least so long are views on the message. */
enum { VIEWED_BYTES = 4096 };

/* Field numbers of ExecuteResponse and StreamResponse; both have `error`, `timestamp` and `request_id` in common. */
enum { IS_GOOD = 1, IS_FINAL = 1, VALUES = 2, ERROR = 3, TIMESTAMP = 4, REQUEST_ID = 5, CHUNK_INDEX = 6 };

PyTypeObject *smx_call_type;
static PyTypeObject *memory_type;

/* What a memoryview on an argument keeps: the call, whose message it is in. */
struct memory {
    PyObject_HEAD struct smx_call *call;
    struct smx_span span;
};

static int memory_get(PyObject *self, Py_buffer *view, int flags)
{
    struct smx_span span = ((struct memory *)self)->span;
    return PyBuffer_FillInfo(view, self, (void *)span.data, (Py_ssize_t)span.len, 1, flags);
}

static void memory_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    smx_call_release(((struct memory *)self)->call);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, memory_free}, {Py_bf_getbuffer, memory_get}, {Py_tp_doc, "A part of a request."}, {0, NULL}};
static PyType_Spec memory_spec = {"snakemux._native.Memory", sizeof(struct memory), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, memory_slots};

static PyObject *text_of(struct smx_span span)
{
    return PyUnicode_DecodeUTF8((const char *)span.data, (Py_ssize_t)span.len, "replace");
}

static PyObject *value_of(struct smx_call *call, struct smx_span span)
{
    if (span.len < VIEWED_BYTES)
        return PyBytes_FromStringAndSize((const char *)span.data, (Py_ssize_t)span.len);
    struct memory *memory = PyObject_New(struct memory, memory_type);
    if (!memory)
        return NULL;
    memory->call = smx_call_keep(call);
    memory->span = span;
    PyObject *view = PyMemoryView_FromObject((PyObject *)memory);
    Py_DECREF(memory);
    return view;
}

static bool put(PyObject *dict, PyObject *key, PyObject *value)
{
    bool ok = key && value && PyDict_SetItem(dict, key, value) == 0;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return ok;
}

static struct smx_call *call_of(PyObject *self)
{
    return ((struct smx_call_face *)self)->call;
}

static struct smx_exchange *exchange_of(PyObject *self)
{
    return &((struct smx_call_face *)self)->server->exchange;
}

static PyObject *get_args(PyObject *self, void *closure)
{
    struct smx_call *call = call_of(self);
    struct smx_span key, value, rest = smx_buffer_span(&call->message);
    PyObject *args = PyDict_New();
    (void)closure;
    while (args && smx_next_arg(&rest, call->kind, &key, &value))
        if (!put(args, text_of(key), value_of(call, value)))
            Py_CLEAR(args);
    return args;
}

static PyObject *get_metadata(PyObject *self, void *closure)
{
    struct smx_call *call = call_of(self);
    struct smx_span key, value;
    PyObject *metadata = PyDict_New();
    (void)closure;
    for (size_t at = 0; metadata && smx_metadata_next(&call->metadata, &at, &key, &value);) {
        PyObject *item = smx_header_is_binary(key)
                             ? PyBytes_FromStringAndSize((const char *)value.data, (Py_ssize_t)value.len)
                             : text_of(value);
        if (!put(metadata, text_of(key), item))
            Py_CLEAR(metadata);
    }
    return metadata;
}

static PyObject *get_command(PyObject *self, void *closure)
{
    (void)closure;
    return text_of(call_of(self)->request.command);
}

static PyObject *get_request_id(PyObject *self, void *closure)
{
    (void)closure;
    return text_of(call_of(self)->request.request_id);
}

static PyObject *get_session_id(PyObject *self, void *closure)
{
    (void)closure;
    if (call_of(self)->request.session.len == 0)
        Py_RETURN_NONE;
    return text_of(call_of(self)->request.session);
}

static PyObject *get_codec(PyObject *self, void *closure)
{
    struct smx_span value;
    (void)closure;
    if (!smx_metadata_find(&call_of(self)->metadata, "snakemux-codec", &value))
        Py_RETURN_NONE;
    return text_of(value);
}

static PyObject *get_timeout(PyObject *self, void *closure)
{
    (void)closure;
    int64_t deadline_us = call_of(self)->deadline_us;
    if (deadline_us == INT64_MAX)
        Py_RETURN_NONE;
    int64_t left_us = deadline_us - smx_now_us();
    return PyFloat_FromDouble(left_us > 0 ? (double)left_us / 1e6 : 0.0);
}

static PyObject *get_is_stream(PyObject *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(call_of(self)->is_stream);
}

static PyObject *get_has_ended(PyObject *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(smx_exchange_has_ended(exchange_of(self), call_of(self)));
}

static PyObject *get_owner(PyObject *self, void *closure)
{
    PyObject *owner = ((struct smx_call_face *)self)->owner;
    (void)closure;
    return Py_NewRef(owner ? owner : Py_None);
}

static int set_owner(PyObject *self, PyObject *value, void *closure)
{
    struct smx_call_face *face = (struct smx_call_face *)self;
    PyObject *old = face->owner;
    (void)closure;
    face->owner = Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

static void put_common(struct smx_answer *answer)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    smx_put_number(&answer->head, TIMESTAMP, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
    smx_put_bytes(&answer->head, REQUEST_ID, answer->call->request.request_id);
}

static struct smx_answer *begin(PyObject *self, enum smx_answer_kind kind)
{
    static const uint8_t grpc_prefix[5] = {0};
    struct smx_answer *answer = smx_answer_new(call_of(self), kind);
    smx_buffer_append(&answer->head, grpc_prefix, sizeof(grpc_prefix));
    return answer;
}

static bool push(PyObject *self, struct smx_answer *answer, bool is_error)
{
    bool ok = smx_answer_finish(answer) && smx_exchange_push(exchange_of(self), answer, is_error);
    if (!ok)
        smx_reply_free(answer);
    return ok;
}

/* The handler has ended. Whatever Python kept with the call may go. */
static PyObject *done(PyObject *self)
{
    bool had_ended = smx_exchange_done(exchange_of(self), call_of(self));
    set_owner(self, NULL, NULL);
    return PyBool_FromLong(had_ended);
}

static PyObject *finish(PyObject *self, PyObject *values)
{
    struct smx_answer *answer = begin(self, SMX_ANSWER_LAST);
    struct smx_call *call = call_of(self);
    smx_put_number(&answer->head, call->is_stream ? IS_FINAL : IS_GOOD, 1);
    if (!call->is_stream && !smx_reply_add_values(answer, VALUES, values)) {
        smx_reply_free(answer);
        return NULL;
    }
    put_common(answer);
    if (call->is_stream)
        smx_put_number(&answer->head, CHUNK_INDEX, call->chunks);
    push(self, answer, false);
    return done(self);
}

static PyObject *send(PyObject *self, PyObject *values)
{
    struct smx_answer *answer = begin(self, SMX_ANSWER_CHUNK);
    if (!smx_reply_add_values(answer, VALUES, values)) {
        smx_reply_free(answer);
        return NULL;
    }
    put_common(answer);
    smx_put_number(&answer->head, CHUNK_INDEX, call_of(self)->chunks);
    call_of(self)->chunks += push(self, answer, false); /* one that is dropped leaves no gap */
    return PyBool_FromLong(smx_exchange_has_room(exchange_of(self), call_of(self)));
}

static PyObject *wait_room(PyObject *self, PyObject *none)
{
    bool goes_on;
    (void)none;
    Py_BEGIN_ALLOW_THREADS goes_on = smx_exchange_wait_room(exchange_of(self), call_of(self));
    Py_END_ALLOW_THREADS return PyBool_FromLong(goes_on);
}

/* The answer that says (status, text, story) in the message and behind it. */
static struct smx_answer *failure(PyObject *self, PyObject *args, enum smx_answer_kind kind)
{
    int status;
    struct smx_span text, story;
    const char *text_data, *story_data;
    Py_ssize_t text_len, story_len;
    if (!PyArg_ParseTuple(args, "is#y#", &status, &text_data, &text_len, &story_data, &story_len))
        return NULL;
    text = (struct smx_span){(const uint8_t *)text_data, (size_t)text_len};
    story = (struct smx_span){(const uint8_t *)story_data, (size_t)story_len};
    struct smx_answer *answer = begin(self, kind);
    struct smx_call *call = call_of(self);
    if (call->is_stream)
        smx_put_number(&answer->head, IS_FINAL, 1);
    smx_put_bytes(&answer->head, ERROR, text);
    put_common(answer);
    if (call->is_stream)
        smx_put_number(&answer->head, CHUNK_INDEX, call->chunks);
    answer->status = status;
    smx_percent_encode(&answer->text, text.len > 1024 ? (struct smx_span){text.data, 1024} : text);
    smx_base64_encode(&answer->story, story);
    return answer;
}

static PyObject *fail(PyObject *self, PyObject *args)
{
    struct smx_answer *answer = failure(self, args, SMX_ANSWER_LAST);
    if (!answer)
        return NULL;
    push(self, answer, true);
    return done(self);
}

static PyObject *expire(PyObject *self, PyObject *args)
{
    struct smx_answer *answer = failure(self, args, SMX_ANSWER_EXPIRE);
    if (!answer)
        return NULL;
    push(self, answer, true);
    Py_RETURN_NONE;
}

static PyObject *route(PyObject *self, PyObject *is_async)
{
    smx_exchange_route(exchange_of(self), call_of(self), PyObject_IsTrue(is_async) == 1);
    Py_RETURN_NONE;
}

static void face_free(PyObject *self)
{
    struct smx_call_face *face = (struct smx_call_face *)self;
    PyTypeObject *type = Py_TYPE(self);
    face->call->face = NULL;
    smx_call_release(face->call);
    Py_XDECREF(face->owner);
    Py_DECREF((PyObject *)face->server);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyGetSetDef properties[] = {
    {"command", get_command, NULL, NULL, NULL},
    {"args", get_args, NULL, "A new dict with bytes, or with views on the message.", NULL},
    {"request_id", get_request_id, NULL, NULL, NULL},
    {"session_id", get_session_id, NULL, "None outside a session.", NULL},
    {"metadata", get_metadata, NULL, "A new dict.", NULL},
    {"codec", get_codec, NULL, "The codec that the caller asks for, or None.", NULL},
    {"timeout", get_timeout, NULL, "Seconds that are left, or None.", NULL},
    {"is_stream", get_is_stream, NULL, "Called as a stream.", NULL},
    {"has_ended", get_has_ended, NULL, "Nobody waits for the answer any more.", NULL},
    {"owner", get_owner, set_owner, "Whatever Python wants to find again; forgotten when the handler has ended.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"finish", finish, METH_O, "Answers with a dict of values, or ends a stream. True if the call had ended before."},
    {"fail", fail, METH_VARARGS, "Answers (status, text, story). True if the call had ended before."},
    {"expire", expire, METH_VARARGS, "Answers (status, text, story) while the handler may still run."},
    {"send", send, METH_O, "Sends a chunk. False if more must wait for room."},
    {"wait_room", wait_room, METH_NOARGS, "Waits in a thread for room. False if the call has ended."},
    {"route", route, METH_O, "Queues a call whose command only Python knows: True for the event loop."},
    {0},
};

static PyType_Slot face_slots[] = {{Py_tp_dealloc, face_free},
                                   {Py_tp_getset, properties},
                                   {Py_tp_methods, methods},
                                   {Py_tp_doc, "One call."},
                                   {0, NULL}};
static PyType_Spec face_spec = {"snakemux._native.Call", sizeof(struct smx_call_face), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, face_slots};

PyObject *smx_call_face(struct smx_server *server, struct smx_call *call)
{
    if (call->face)
        return Py_NewRef((PyObject *)call->face);
    struct smx_call_face *face = PyObject_New(struct smx_call_face, smx_call_type);
    if (!face)
        return NULL;
    face->server = (struct smx_server *)Py_NewRef((PyObject *)server);
    face->call = smx_call_keep(call);
    face->owner = NULL;
    call->face = face;
    return (PyObject *)face;
}

bool smx_call_type_init(PyObject *module)
{
    memory_type = (PyTypeObject *)PyType_FromSpec(&memory_spec);
    smx_call_type = (PyTypeObject *)PyType_FromSpec(&face_spec);
    return memory_type && smx_call_type && PyModule_AddObjectRef(module, "Call", (PyObject *)smx_call_type) == 0;
}
