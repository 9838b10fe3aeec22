/*
 * `snakemux exec -- CMD…` runs a command so that it and all its descendants die with their owner, who is whoever
 * holds the other end of stdin.
 *
 *     owner ── stdin, stdout ── outer ── inner ── CMD ── its children, and theirs
 *
 * CMD stops when stdin ends, when the owner no longer reads stdout, or when the parent process ends: SIGTERM to all of
 * them, SIGKILL 1 s later. The line `stop Ms` on stdin is SIGTERM, then SIGKILL after Ms milliseconds; SIGTERM, SIGINT
 * or SIGHUP to the guardian is `stop 5000`. When CMD has ended by itself, what is left of its children gets SIGKILL.
 * The guardian ends when all of them have, so the end of its stdout means that nothing is left.
 *
 * CMD has /dev/null as stdin, no other open file descriptor, default signals, and leads a session of its own. Its
 * output comes unchanged: stdout on stdout, stderr on stderr, in one pipe (so in order) when these two are the same
 * file.
 *
 * Outer and inner are subreapers and watch each other: whichever is killed, the other one kills all that is left.
 * What Linux can't give is written at the head of guardian.c.
 */
#ifndef SMX_GUARDIAN_H
#define SMX_GUARDIAN_H

/*
 * Runs argv = `exec [--] CMD…` to its end. Returns the exit code: CMD's own, 128 + N when signal N
 * ended it, 127 when there is no such program, 126 when it can't be executed, 125 when the guardian itself has failed.
 */
int smx_guardian_main(int argc, char **argv);

#endif
