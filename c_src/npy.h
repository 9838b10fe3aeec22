/* Arrays of numbers as .npy files, NumPy's own: version 1.0, little-endian, in C order. */
#ifndef SMX_NPY_H
#define SMX_NPY_H

#include "util.h"

enum {
    SMX_NPY_MAX_RANK = 64, /* NumPy's */
    SMX_NPY_FAULT_SIZE = 128,
};

/* What the numbers are. `kind` is s (signed), u, f or c (complex), as in Nx. */
struct smx_npy_type {
    const char *dtype;
    const char *kind;
    uint8_t bits;
};

struct smx_npy {
    const struct smx_npy_type *type;
    size_t rank;
    uint64_t shape[SMX_NPY_MAX_RANK];
    struct smx_span data;
};

/* Static; NULL where NumPy has no such numbers. */
const struct smx_npy_type *smx_npy_type_of(const char *kind, uint64_t bits);
/* Whether the data are as many bytes as type and shape make. False with `fault` set. */
bool smx_npy_check(const struct smx_npy *array, char fault[SMX_NPY_FAULT_SIZE]);
/* The array in `file`, which it borrows; booleans are numbers, u of 8 bits. False with `fault` set: it isn't one. */
bool smx_npy_read(struct smx_span file, struct smx_npy *array, char fault[SMX_NPY_FAULT_SIZE]);
/* Appends the file. Its data begin at a multiple of 64 bytes of what a reader gets, where `offset` bytes precede it. */
void smx_npy_write(const struct smx_npy *array, size_t offset, struct smx_buffer *out);

#endif
