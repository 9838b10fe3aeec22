/*
 * `snakemux legacy`: serves the owner of stdin/stdout workers from a gRPC worker that it starts or attaches to.
 */
#ifndef SMX_LEGACY_H
#define SMX_LEGACY_H

/* argv[0] is the name; frames go to `out`. Returns the exit code: never because of the worker's trouble. */
int smx_legacy_main(int argc, char **argv, int out);

#endif
