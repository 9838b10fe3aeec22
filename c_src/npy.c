/* Owns the .npy format; knows neither terms nor codecs. */
#include "npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};

enum { HEAD = sizeof(magic) + 2 }; /* and the length of the header */

static const struct smx_npy_type types[] = {
    {"|i1", "s", 8},  {"<i2", "s", 16}, {"<i4", "s", 32}, {"<i8", "s", 64},   {"|u1", "u", 8},
    {"<u2", "u", 16}, {"<u4", "u", 32}, {"<u8", "u", 64}, {"<f2", "f", 16},   {"<f4", "f", 32},
    {"<f8", "f", 64}, {"<c8", "c", 64}, {"|b1", "u", 8},  {"<c16", "c", 128},
};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

const struct smx_npy_type *smx_npy_type_of(const char *kind, uint64_t bits)
{
    for (size_t i = 0; i < TYPES; i++)
        if (strcmp(types[i].kind, kind) == 0 && types[i].bits == bits)
            return &types[i];
    return NULL;
}

/* As NumPy counts: a shape of nothing has bounds as well. */
bool smx_npy_check(const struct smx_npy *array, char fault[SMX_NPY_FAULT_SIZE])
{
    int64_t size = array->type->bits / 8;
    bool empty = false;
    for (size_t i = 0; i < array->rank; i++) {
        empty |= array->shape[i] == 0;
        if (array->shape[i] > 0 && __builtin_mul_overflow(size, array->shape[i], &size)) {
            snprintf(fault, SMX_NPY_FAULT_SIZE, "an array has a shape of more than 2^63 bytes");
            return false;
        }
    }
    size = empty ? 0 : size;
    if ((uint64_t)size == array->data.len)
        return true;
    snprintf(fault, SMX_NPY_FAULT_SIZE, "an array has %zu bytes, but its type and shape make %" PRId64, array->data.len,
             size);
    return false;
}

struct reader {
    struct smx_span text;
    size_t at;
};

/* What is to stand there; a blank in it may also be missing. */
static bool take(struct reader *reader, const char *expected)
{
    for (; *expected; expected++) {
        if (reader->at < reader->text.len && reader->text.data[reader->at] == (uint8_t)*expected)
            reader->at++;
        else if (*expected != ' ')
            return false;
    }
    return true;
}

enum { DTYPE_SIZE = 8 };

static void take_dtype(struct reader *reader, char dtype[DTYPE_SIZE])
{
    size_t len = 0;
    while (reader->at < reader->text.len && reader->text.data[reader->at] != '\'' && len < DTYPE_SIZE - 1)
        dtype[len++] = (char)reader->text.data[reader->at++];
    dtype[len] = 0;
}

static bool take_number(struct reader *reader, uint64_t *number)
{
    size_t start = reader->at;
    *number = 0;
    for (; reader->at < reader->text.len; reader->at++) {
        uint8_t digit = (uint8_t)(reader->text.data[reader->at] - '0');
        if (digit > 9)
            break;
        if (*number > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return reader->at > start;
}

/* "(2, 3)", "(2,)", "()" */
static bool take_shape(struct reader *reader, struct smx_npy *array)
{
    if (!take(reader, "("))
        return false;
    while (!take(reader, ")")) {
        if (array->rank == SMX_NPY_MAX_RANK || !take_number(reader, &array->shape[array->rank++]))
            return false;
        if (!take(reader, ", "))
            return take(reader, ")");
    }
    return true;
}

static bool take_end(struct reader *reader)
{
    take(reader, ",");
    if (!take(reader, " }"))
        return false;
    while (reader->at < reader->text.len && reader->text.data[reader->at] == ' ')
        reader->at++;
    return take(reader, "\n") && reader->at == reader->text.len;
}

/* As NumPy writes it, give or take a blank: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } */
static bool read_header(struct smx_span text, struct smx_npy *array, char *fault)
{
    struct reader reader = {text, 0};
    char dtype[DTYPE_SIZE];
    snprintf(fault, SMX_NPY_FAULT_SIZE, "an array's .npy header doesn't describe plain numbers");
    if (!take(&reader, "{ 'descr': '"))
        return false;
    take_dtype(&reader, dtype);
    if (!take(&reader, "', 'fortran_order': "))
        return false;
    bool fortran = take(&reader, "True");
    if ((!fortran && !take(&reader, "False")) || !take(&reader, ", 'shape': ") || !take_shape(&reader, array) ||
        !take_end(&reader))
        return false;
    for (size_t i = 0; i < TYPES && !fortran; i++)
        if (strcmp(types[i].dtype, dtype) == 0)
            array->type = &types[i];
    if (!array->type)
        snprintf(fault, SMX_NPY_FAULT_SIZE, "an array of dtype %s%s isn't little-endian numbers in C order", dtype,
                 fortran ? " in Fortran order" : "");
    return array->type != NULL;
}

bool smx_npy_read(struct smx_span file, struct smx_npy *array, char fault[SMX_NPY_FAULT_SIZE])
{
    array->type = NULL;
    array->rank = 0;
    if (file.len < HEAD || memcmp(file.data, magic, sizeof(magic)) != 0) {
        snprintf(fault, SMX_NPY_FAULT_SIZE, "an array isn't a .npy file of version 1.0");
        return false;
    }
    size_t len = file.data[HEAD - 2] | (size_t)file.data[HEAD - 1] << 8;
    if (len > file.len - HEAD)
        len = file.len - HEAD; /* and then it has no end */
    if (!read_header((struct smx_span){file.data + HEAD, len}, array, fault))
        return false;
    array->data = (struct smx_span){file.data + HEAD + len, file.len - HEAD - len};
    return smx_npy_check(array, fault);
}

void smx_npy_write(const struct smx_npy *array, size_t offset, struct smx_buffer *out)
{
    enum { MOST = 80 + 22 * SMX_NPY_MAX_RANK + ALIGNMENT }; /* of the header: a number has at most 20 digits */
    smx_buffer_reserve(out, HEAD + MOST + array->data.len);
    size_t place = out->len;
    smx_buffer_append(out, magic, sizeof(magic));
    smx_buffer_append(out, "\0", 2);
    smx_buffer_printf(out, "{'descr': '%s', 'fortran_order': False, 'shape': (", array->type->dtype);
    for (size_t i = 0; i < array->rank; i++)
        smx_buffer_printf(out, "%s%" PRIu64 "%s", i > 0 ? " " : "", array->shape[i],
                          i + 1 < array->rank || i == 0 ? "," : "");
    smx_buffer_printf(out, "), }");
    while ((offset + out->len - place + 1) % ALIGNMENT != 0)
        smx_buffer_append(out, " ", 1);
    smx_buffer_append(out, "\n", 1);
    size_t len = out->len - place - HEAD;
    out->data[place + HEAD - 2] = (uint8_t)len;
    out->data[place + HEAD - 1] = (uint8_t)(len >> 8);
    smx_buffer_append_span(out, array->data);
}
