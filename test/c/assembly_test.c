/* assembly.c: what is whole, what is too much, what is forgotten. */
#include "assembly.h"

#include <string.h>

#include "support.h"

enum { MAX_FRAME = 4096 };

static const uint8_t A[] = {0x61, 1}, B[] = {0x61, 2};
#define TAG(name) ((struct smx_span){name, sizeof(name)})

static bool add(struct smx_assembly *assembly, struct smx_span tag, const char *bytes)
{
    struct smx_error why = {0};
    bool added = smx_assembly_add(assembly, tag, smx_span_of(bytes), MAX_FRAME, &why);
    assert_int_equal(why.code, SMX_OK);
    return added;
}

/* It is too much, for that reason. */
static void refused(struct smx_assembly *assembly, struct smx_span tag, size_t len, const char *reason)
{
    static const uint8_t zeros[2 * MAX_FRAME];
    struct smx_error why = {0};
    assert_false(smx_assembly_add(assembly, tag, (struct smx_span){zeros, len}, MAX_FRAME, &why));
    assert_string_equal(why.reason, reason);
    smx_error_fini(&why);
}

static void fill(struct smx_assembly *assembly, struct smx_span tag, size_t len)
{
    static const uint8_t zeros[MAX_FRAME];
    struct smx_error why = {0};
    assert_true(smx_assembly_add(assembly, tag, (struct smx_span){zeros, len}, MAX_FRAME, &why));
}

static void expect(struct smx_assembly *assembly, struct smx_span tag, const char *bytes)
{
    struct smx_buffer whole = {0};
    assert_true(smx_assembly_take(assembly, tag, &whole));
    assert_int_equal(whole.len, strlen(bytes));
    assert_memory_equal(whole.data, bytes, whole.len);
    smx_buffer_fini(&whole);
}

static void parts_of_tags_are_kept_apart(void **state)
{
    (void)state;
    struct smx_assembly assembly = {0};
    assert_true(add(&assembly, TAG(A), "abc"));
    assert_true(add(&assembly, TAG(B), "12"));
    assert_true(add(&assembly, TAG(A), "de"));
    assert_true(smx_assembly_has(&assembly, TAG(A)));
    assert_int_equal(assembly.held, 7 + 2 * SMX_PARTS_TAG);
    expect(&assembly, TAG(A), "abcde");
    assert_false(smx_assembly_has(&assembly, TAG(A)));
    expect(&assembly, TAG(B), "12");
    assert_int_equal(assembly.held, 0);
    smx_assembly_fini(&assembly);
}

static void a_command_over_max_frame_is_too_large(void **state)
{
    (void)state;
    struct smx_assembly assembly = {0};
    fill(&assembly, TAG(A), MAX_FRAME);
    refused(&assembly, TAG(A), 1, "too_large");
    refused(&assembly, TAG(B), MAX_FRAME + 1, "too_large");
    smx_assembly_fini(&assembly);
}

static void all_together_have_a_bound(void **state)
{
    (void)state;
    static const uint8_t c[] = {0x61, 3};
    struct smx_assembly assembly = {0};
    fill(&assembly, TAG(A), MAX_FRAME);
    fill(&assembly, TAG(B), MAX_FRAME - 3 * SMX_PARTS_TAG);
    refused(&assembly, TAG(c), 1, "too_many_parts"); /* the third tag itself, and then nothing */
    assert_true(smx_assembly_refuse(&assembly, TAG(c), MAX_FRAME));
    assert_int_equal(assembly.held, SMX_PARTS_FRAMES * MAX_FRAME);
    assert_true(smx_assembly_refuse(&assembly, (struct smx_span){(const uint8_t *)"x", 1}, MAX_FRAME)); /* no room */
    assert_false(smx_assembly_has(&assembly, (struct smx_span){(const uint8_t *)"x", 1}));
    assert_true(smx_assembly_drop(&assembly, TAG(A)));
    assert_false(smx_assembly_drop(&assembly, TAG(A)));
    fill(&assembly, TAG(A), MAX_FRAME);
    smx_assembly_fini(&assembly);
    assert_int_equal(assembly.held, 0);
}

static void what_is_refused_is_swallowed_until_its_last_part(void **state)
{
    (void)state;
    struct smx_assembly assembly = {0};
    struct smx_buffer whole = {0};
    assert_true(add(&assembly, TAG(A), "abc"));
    assert_true(smx_assembly_refuse(&assembly, TAG(A), MAX_FRAME));
    assert_int_equal(assembly.held, SMX_PARTS_TAG);
    assert_false(smx_assembly_has(&assembly, TAG(A)));
    assert_false(add(&assembly, TAG(A), "de"));
    assert_false(smx_assembly_refuse(&assembly, TAG(A), MAX_FRAME));
    assert_false(smx_assembly_take(&assembly, TAG(A), &whole));
    assert_true(add(&assembly, TAG(A), "fgh"));
    expect(&assembly, TAG(A), "fgh");
    assert_int_equal(assembly.held, 0);
    smx_assembly_fini(&assembly);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_tags_are_kept_apart),
        cmocka_unit_test(a_command_over_max_frame_is_too_large),
        cmocka_unit_test(all_together_have_a_bound),
        cmocka_unit_test(what_is_refused_is_swallowed_until_its_last_part),
    };
    return cmocka_run_group_tests_name("assembly", tests, NULL, NULL);
}
