/* Owns nothing; knows how the values of a result become parts of an answer. */
#include "face.h"

#include <stdlib.h>

/*
 * Less is copied: that costs less than to come back under the GIL. And only `bytes`, which never change, are sent from
 * where they are: a handler may write again into whatever else it returned or yielded, while it is still on its way.
 */
enum { COPIED_BYTES = 16 * 1024 };

struct entry {
    struct smx_answer *answer;
    unsigned field;
};

/* Under the GIL. The view is the answer's, or released. */
static bool get_view(struct smx_answer *answer, PyObject *value, Py_buffer **view)
{
    Py_buffer *views = smx_realloc(answer->views, (answer->view_count + 1) * sizeof(*views));
    answer->views = views;
    *view = &views[answer->view_count];
    if (PyObject_GetBuffer(value, *view, PyBUF_SIMPLE) != 0)
        return false;
    answer->view_count++;
    return true;
}

static void release_last_view(struct smx_answer *answer)
{
    Py_buffer *views = answer->views;
    PyBuffer_Release(&views[--answer->view_count]);
}

static void add_bytes(struct smx_answer *answer, Py_buffer *view)
{
    if (view->len < COPIED_BYTES || !PyBytes_Check(view->obj)) {
        smx_buffer_append(&answer->head, view->buf, (size_t)view->len);
        release_last_view(answer);
    } else {
        smx_answer_add_part(answer, view->buf, (size_t)view->len);
    }
}

static bool add_single(const struct entry *entry, struct smx_span key, PyObject *value)
{
    Py_buffer *view;
    if (!get_view(entry->answer, value, &view))
        return false;
    smx_put_entry(&entry->answer->head, entry->field, key, (size_t)view->len);
    add_bytes(entry->answer, view);
    return true;
}

/* Their length comes before them: all views are taken first, so that no code of Python can change it in between. */
static bool add_sequence(const struct entry *entry, struct smx_span key, PyObject *values)
{
    struct smx_answer *answer = entry->answer;
    struct smx_answer *many = smx_answer_new(answer->call, answer->kind);
    size_t len = 0;
    bool ok = true;
    for (Py_ssize_t i = 0; ok && i < PySequence_Size(values); i++) {
        PyObject *item = PySequence_GetItem(values, i);
        Py_buffer *view = NULL;
        ok = item && get_view(many, item, &view);
        len += ok ? (size_t)view->len : 0;
        Py_XDECREF(item);
    }
    if (ok) {
        Py_buffer *views = many->views, *own = NULL;
        smx_put_entry(&answer->head, entry->field, key, len);
        for (size_t i = 0; i < many->view_count; i++) {
            answer->views = smx_realloc(answer->views, (answer->view_count + 1) * sizeof(*own));
            own = (Py_buffer *)answer->views + answer->view_count++;
            *own = views[i];
            add_bytes(answer, own);
        }
        many->view_count = 0;
    }
    smx_reply_free(many);
    return ok;
}

static bool add_value(const struct entry *entry, PyObject *key, PyObject *value)
{
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(key, &len);
    if (!text)
        return false;
    struct smx_span name = {(const uint8_t *)text, (size_t)len};
    if (PyBytes_Check(value) && PyBytes_Size(value) < COPIED_BYTES) {
        size_t size = (size_t)PyBytes_Size(value);
        smx_put_entry(&entry->answer->head, entry->field, name, size);
        smx_buffer_append(&entry->answer->head, PyBytes_AsString(value), size);
        return true;
    }
    if (PyList_Check(value) || PyTuple_Check(value))
        return add_sequence(entry, name, value);
    return add_single(entry, name, value);
}

bool smx_reply_add_values(struct smx_answer *answer, unsigned field, PyObject *values)
{
    struct entry entry = {answer, field};
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(values, &at, &key, &value))
        if (!add_value(&entry, key, value))
            return false;
    return true;
}

void smx_reply_free(struct smx_answer *answer)
{
    while (answer->view_count > 0)
        release_last_view(answer);
    smx_answer_free(answer);
}
