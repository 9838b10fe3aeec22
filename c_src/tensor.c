/* Owns what a tensor is as a term; knows nothing of the formats it travels in. */
#include "tensor.h"

#include <stdio.h>
#include <string.h>

#include "term.h"

static const char struct_name[] = "Elixir.Snakemux.Tensor";

bool smx_tensor_find(struct smx_span term, size_t *at, size_t count, struct smx_tensor_places *places)
{
    char key[SMX_TERM_ATOM_SIZE];
    char name[SMX_TERM_ATOM_SIZE];
    bool named = false;
    size_t end = *at;
    *places = (struct smx_tensor_places){0}; /* none stands there: that is a header's */
    if (count != 4)
        return false;
    for (; count > 0 && smx_term_get_atom(term, &end, key); count--) {
        size_t value = end;
        if (strcmp(key, "type") == 0)
            places->type = value;
        else if (strcmp(key, "shape") == 0)
            places->shape = value;
        else if (strcmp(key, "data") == 0)
            places->data = value;
        else if (strcmp(key, "__struct__") == 0 && smx_term_get_atom(term, &value, name))
            named = strcmp(name, struct_name) == 0;
        smx_term_skip(term, &end);
    }
    if (!named || !places->type || !places->shape || !places->data)
        return false;
    *at = end;
    return true;
}

static bool fail(char *fault, const char *text)
{
    snprintf(fault, SMX_NPY_FAULT_SIZE, "%s", text);
    return false;
}

static const struct smx_npy_type *get_type(struct smx_span term, size_t at)
{
    char kind[SMX_TERM_ATOM_SIZE];
    uint64_t bits;
    size_t arity;
    if (!smx_term_get_tuple(term, &at, &arity) || arity != 2 || !smx_term_get_atom(term, &at, kind) ||
        !smx_term_get_uint(term, &at, &bits))
        return NULL;
    return smx_npy_type_of(kind, bits);
}

/* A list of small integers arrives as bytes. */
static bool get_shape(struct smx_span term, size_t at, struct smx_npy *array)
{
    struct smx_span bytes;
    array->rank = 0;
    if (smx_term_get_bytes(term, &at, &bytes)) {
        for (; array->rank < bytes.len && array->rank < SMX_NPY_MAX_RANK; array->rank++)
            array->shape[array->rank] = bytes.data[array->rank];
        return array->rank == bytes.len;
    }
    size_t count = 0;
    bool is_list = smx_term_get_list(term, &at, &count);
    if ((!is_list && !smx_term_get_tuple(term, &at, &count)) || count > SMX_NPY_MAX_RANK)
        return smx_term_get_nil(term, &at);
    for (; array->rank < count; array->rank++)
        if (!smx_term_get_uint(term, &at, &array->shape[array->rank]))
            return false;
    return !is_list || smx_term_get_nil(term, &at);
}

bool smx_tensor_get(struct smx_span term, struct smx_tensor_places places, struct smx_npy *array,
                    char fault[SMX_NPY_FAULT_SIZE])
{
    array->type = get_type(term, places.type);
    if (!array->type)
        return fail(fault, "the type of a tensor is {s | u, 8 | 16 | 32 | 64}, {f, 16 | 32 | 64} or {c, 64 | 128}: "
                           "NumPy has no other");
    if (!get_shape(term, places.shape, array))
        return fail(fault, "the shape of a tensor is a list or a tuple of at most 64 integers from 0 on");
    if (!smx_term_get_binary(term, &places.data, &array->data))
        return fail(fault, "the data of a tensor are a binary");
    return smx_npy_check(array, fault);
}

static void put_shape(struct smx_buffer *out, const struct smx_npy *array, bool is_tuple)
{
    if (is_tuple)
        smx_term_put_tuple(out, array->rank);
    else if (array->rank > 0)
        smx_term_put_list(out, array->rank);
    for (size_t i = 0; i < array->rank; i++)
        smx_term_put_uint(out, array->shape[i]);
    if (!is_tuple)
        smx_term_put_nil(out);
}

void smx_tensor_put(struct smx_buffer *out, const struct smx_npy *array, enum smx_tensors form)
{
    bool is_struct = form == SMX_TENSORS_STRUCT;
    if (is_struct) {
        smx_term_put_map(out, 4);
        smx_term_put_atom(out, "__struct__");
        smx_term_put_atom(out, struct_name);
        smx_term_put_atom(out, "type");
    } else {
        smx_term_put_tuple(out, 4);
        smx_term_put_atom(out, "tensor");
    }
    smx_term_put_tuple(out, 2);
    smx_term_put_atom(out, array->type->kind);
    smx_term_put_int(out, array->type->bits);
    if (is_struct)
        smx_term_put_atom(out, "shape");
    put_shape(out, array, is_struct);
    if (is_struct)
        smx_term_put_atom(out, "data");
    smx_term_put_binary(out, array->data);
}
