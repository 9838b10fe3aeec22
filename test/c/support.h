/* What the tests share: golden vectors, terms and commands as text, a front with nothing behind it. */
#ifndef SMX_TEST_SUPPORT_H
#define SMX_TEST_SUPPORT_H

/* cmocka wants these in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* And then itself. */
#include <cmocka.h>

#include "front_ei.h"
#include "protocol.h"

/* One entry of test/vectors. */
struct vector {
    char name[64];
    char direction[16];
    char *text;              /* of a command: what is read, or what is answered; else NULL */
    struct smx_buffer frame; /* its bytes, without the length */
};

/* Calls `each` for every vector of that direction in protocol.terms. Fails when there is none. */
void test_vectors(const char *direction, void (*each)(const struct vector *vector));

/* "83680261…" -> bytes, appended. */
void test_put_hex(struct smx_buffer *out, const char *hex);

/*
 * Erlang's text of a term, read: atoms, integers up to 64 bits, floats, "small lists", <<"binaries\xff">>, lists,
 * tuples and maps, without spaces. Returns where it ends.
 */
const char *test_put_term(struct smx_buffer *out, const char *text);

/* A term as Erlang would print it, its end in `*at`; strings in binaries are escaped where they are not ASCII. */
void test_print_term(struct smx_buffer *out, struct smx_span term, size_t *at);
/* As a C string, borrowed until the next call. The term has a version byte, or not. */
const char *test_term_text(struct smx_span term);

/* A command in one line: its name, then what is not a default. */
void test_print_command(struct smx_buffer *out, const struct smx_command *command);

/* A front whose commands and events become lines of text. */
struct test_front {
    struct smx_front_ei front;
    struct smx_buffer commands; /* lines */
    struct smx_buffer out;      /* frames */
    struct smx_span live;       /* a tag that is */
};

void test_front_init(struct test_front *test);
void test_front_fini(struct test_front *test);
/* What came out since the last call, a line for each event, as a C string borrowed until the next call. */
const char *test_front_events(struct test_front *test);
/* The commands since the last call, likewise. */
const char *test_front_commands(struct test_front *test);

/* The text of a buffer, which gets a NUL behind its end. */
const char *test_text(struct smx_buffer *buffer);

#endif
