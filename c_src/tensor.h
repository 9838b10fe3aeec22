/* Tensors: arrays as terms, {tensor, {f, 32}, [2, 3], Binary} or Elixir's %Snakemux.Tensor{}. */
#ifndef SMX_TENSOR_H
#define SMX_TENSOR_H

#include "npy.h"
#include "protocol.h"

/* Where its parts stand in a term. */
struct smx_tensor_places {
    size_t type;
    size_t shape;
    size_t data;
};

/* The places in the struct whose `count` pairs begin at `*at`, which moves behind it. False, and `*at` stays: another
 * map. */
bool smx_tensor_find(struct smx_span term, size_t *at, size_t count, struct smx_tensor_places *places);
/* False with `fault` set: the parts are not what they should be. `array` borrows from `term`. */
bool smx_tensor_get(struct smx_span term, struct smx_tensor_places places, struct smx_npy *array,
                    char fault[SMX_NPY_FAULT_SIZE]);
void smx_tensor_put(struct smx_buffer *out, const struct smx_npy *array, enum smx_tensors form);

#endif
