/* inlet.c: header blocks are measured, however their bytes come; all else passes. */
#include "inlet.h"

#include <string.h>

#include "support.h"

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PUSH_PROMISE = 5, CONTINUATION = 9 };

static void put_frame(struct smx_buffer *out, uint8_t kind, uint32_t len)
{
    uint8_t head[] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, kind, 0, 0, 0, 0, 1};
    smx_buffer_append(out, head, sizeof(head));
    memset(smx_buffer_reserve(out, len), 0xff, len);
    out->len += len;
}

/* A block of so many frames of 15 KiB, each of which costs 16. */
static void put_block(struct smx_buffer *out, uint8_t kind, int frames)
{
    put_frame(out, kind, 15 * 1024);
    for (int i = 1; i < frames; i++)
        put_frame(out, CONTINUATION, 15 * 1024);
}

/* Whether it all passes, in pieces of `step` bytes; takes the buffer. */
static bool passes(struct smx_buffer *bytes, size_t step)
{
    struct smx_inlet inlet = {0};
    bool good = true;
    for (size_t at = 0; at < bytes->len; at += step)
        good = smx_inlet_take(&inlet, bytes->data + at, bytes->len - at < step ? bytes->len - at : step);
    smx_buffer_fini(bytes);
    return good;
}

static void a_block_up_to_the_limit_passes(void **state)
{
    (void)state;
    for (size_t step = 1; step < 1 << 24; step *= 7) {
        struct smx_buffer bytes = {0};
        put_frame(&bytes, SETTINGS, 0);
        put_block(&bytes, HEADERS, 32);
        put_block(&bytes, HEADERS, 32);
        put_frame(&bytes, DATA, 100000);
        put_block(&bytes, PUSH_PROMISE, 32);
        assert_true(passes(&bytes, step));
    }
}

static void a_block_over_the_limit_ends_it(void **state)
{
    (void)state;
    for (size_t step = 1; step < 1 << 24; step *= 7) {
        for (int with_more = 0; with_more < 2; with_more++) {
            struct smx_buffer bytes = {0};
            put_frame(&bytes, SETTINGS, 0);
            put_block(&bytes, HEADERS, 33);
            if (with_more)
                put_frame(&bytes, HEADERS, 0); /* nothing heals it */
            assert_false(passes(&bytes, step));
        }
    }
}

static void empty_frames_count_too(void **state)
{
    (void)state;
    struct smx_buffer bytes = {0};
    for (int i = 0; i < SMX_INLET_MAX_BLOCK / SMX_INLET_FRAME_COST; i++)
        put_frame(&bytes, CONTINUATION, 0);
    struct smx_inlet inlet = {0};
    assert_true(smx_inlet_take(&inlet, bytes.data, bytes.len));
    assert_false(smx_inlet_take(&inlet, bytes.data, SMX_INLET_HEAD));
    smx_buffer_fini(&bytes);
}

static void data_without_end_pass(void **state)
{
    (void)state;
    struct smx_buffer bytes = {0};
    for (int i = 0; i < 300; i++)
        put_frame(&bytes, DATA, 16384);
    assert_true(passes(&bytes, 1000));
}

static void what_is_encrypted_passes(void **state)
{
    (void)state;
    struct smx_buffer bytes = {0};
    smx_buffer_append(&bytes, "\x16\x03\x01\x02", 4);
    put_block(&bytes, HEADERS, 1000);
    assert_true(passes(&bytes, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_up_to_the_limit_passes), cmocka_unit_test(a_block_over_the_limit_ends_it),
        cmocka_unit_test(empty_frames_count_too),         cmocka_unit_test(data_without_end_pass),
        cmocka_unit_test(what_is_encrypted_passes),
    };
    return cmocka_run_group_tests_name("inlet", tests, NULL, NULL);
}
