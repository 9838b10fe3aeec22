/* parts.c: whose turn it is, what keeps its place, what is forgotten. */
#include "parts.h"

#include <string.h>

#include "support.h"

static const uint8_t A[] = {0x61, 1}, B[] = {0x61, 2};
#define TAG(name) ((struct smx_span){name, sizeof(name)})

static void add(struct smx_parts *parts, struct smx_span tag, const char *term)
{
    struct smx_buffer buffer = {0};
    smx_buffer_append(&buffer, term, strlen(term));
    smx_parts_add(parts, tag, (struct smx_whole){.term = buffer});
}

/* The bytes of the next frame that are the event's own: its last `len`. */
static void expect(struct smx_parts *parts, const char *kind, const uint8_t *tag, const char *bytes)
{
    struct smx_buffer out = {0};
    size_t len = strlen(bytes);
    assert_true(smx_parts_next(parts, 3, &out));
    assert_memory_equal(out.data + out.len - len, bytes, len);
    if (kind) {
        assert_memory_equal(out.data + 9, kind, 4); /* length, version, tuple of three, atom of four */
        assert_memory_equal(out.data + 13, tag, 2);
    } else {
        assert_int_equal(out.len, 4 + len);
    }
    smx_buffer_fini(&out);
}

static void tags_take_turns(void **state)
{
    (void)state;
    struct smx_parts parts = {0};
    add(&parts, TAG(A), "abcdefg");
    add(&parts, TAG(A), "hi");
    add(&parts, TAG(B), "123456");
    assert_int_equal(parts.held, 15);
    assert_true(smx_parts_has(&parts, TAG(A)));
    expect(&parts, "part", A, "abc");
    expect(&parts, "part", B, "123");
    expect(&parts, "part", A, "def");
    assert_int_equal(parts.held, 6);
    expect(&parts, "last", B, "456");
    assert_false(smx_parts_has(&parts, TAG(B)));
    expect(&parts, "last", A, "g");
    expect(&parts, NULL, A, "hi");
    assert_int_equal(parts.held, 0);
    assert_false(smx_parts_next(&parts, 3, &(struct smx_buffer){0}));
}

/* The event "ab" and "yz" around bytes that are lent, however the parts cut them. */
static void lent_bytes_go_out_in_their_place(void **state)
{
    (void)state;
    struct smx_parts parts = {0};
    struct smx_whole whole = {.lent.place = 2, .memory = smx_alloc(5)};
    memcpy(whole.memory, "12345", 5);
    whole.lent.span = (struct smx_span){whole.memory, 5};
    smx_buffer_append(&whole.term, "abyz", 4);
    smx_parts_add(&parts, TAG(A), whole);
    assert_int_equal(parts.held, 9);
    expect(&parts, "part", A, "ab1");
    expect(&parts, "part", A, "234");
    assert_int_equal(parts.held, 3);
    expect(&parts, "last", A, "5yz");
    assert_int_equal(parts.held, 0);
}

static void what_is_dropped_is_forgotten(void **state)
{
    (void)state;
    struct smx_parts parts = {0};
    add(&parts, TAG(A), "abcdefg");
    add(&parts, TAG(B), "123456");
    expect(&parts, "part", A, "abc");
    smx_parts_drop(&parts, TAG(A));
    smx_parts_drop(&parts, TAG(A));
    assert_int_equal(parts.held, 6);
    expect(&parts, "part", B, "123");
    smx_parts_fini(&parts);
    assert_int_equal(parts.held, 0);
    assert_null(parts.lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_take_turns),
        cmocka_unit_test(lent_bytes_go_out_in_their_place),
        cmocka_unit_test(what_is_dropped_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
