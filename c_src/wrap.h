/*
 * `snakemux wrap`: makes one legacy stdin/stdout worker a gRPC worker: one request at a time, JSON or MessagePack by
 * negotiation, no streams. Under a guardian, its own one where nobody else is: see guardian.h.
 */
#ifndef SMX_WRAP_H
#define SMX_WRAP_H

/* Returns the exit code. */
int smx_wrap_main(int argc, char **argv);

#endif
