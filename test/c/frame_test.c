/* frame.c: frames come out whole, however their bytes arrive. */
#include "frame.h"

#include <string.h>

#include "support.h"

enum { MAX_FRAME = 100 * 1000 };

static void put_frame(struct smx_buffer *out, uint8_t fill, size_t len)
{
    size_t place = smx_frame_open(out);
    memset(smx_buffer_reserve(out, len), fill, len);
    out->len += len;
    smx_frame_seal(out, place);
}

/* Feeds all of `in` in pieces; counts frames, and checks that each has the bytes and the size that it should. */
static size_t feed(struct smx_frame_reader *reader, const struct smx_buffer *in, size_t piece, const size_t *sizes)
{
    size_t count = 0;
    for (size_t at = 0; at < in->len;) {
        size_t space;
        struct smx_span frame;
        enum smx_frame_kind kind;
        uint8_t *to = smx_frame_reader_space(reader, &space);
        size_t len = in->len - at < piece ? in->len - at : piece;
        len = len < space ? len : space;
        memcpy(to, in->data + at, len);
        smx_frame_reader_fed(reader, len);
        at += len;
        while ((kind = smx_frame_reader_next(reader, &frame)) != SMX_FRAME_NONE) {
            size_t whole = sizes[count];
            assert_int_equal(kind, whole > MAX_FRAME ? SMX_FRAME_HEAD : SMX_FRAME_WHOLE);
            assert_int_equal(frame.len, whole > MAX_FRAME ? 4096 : whole);
            for (size_t i = 0; i < frame.len; i++)
                assert_int_equal(frame.data[i], (uint8_t)count);
            count++;
        }
    }
    return count;
}

static void the_tail_of_an_oversized_frame_comes_where_it_is_wanted(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 4096, 65536, SIZE_MAX};
    struct smx_buffer in = {0};
    put_frame(&in, 1, MAX_FRAME + 10);
    memcpy(in.data + in.len - 4, "tail", 4);
    put_frame(&in, 2, 3);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        enum smx_frame_kind kinds[4] = {0};
        size_t count = 0, at = 0;
        struct smx_frame_reader reader;
        smx_frame_reader_init(&reader, MAX_FRAME);
        reader.tail_size = 16;
        while (at < in.len) {
            size_t space;
            struct smx_span frame;
            uint8_t *to = smx_frame_reader_space(&reader, &space);
            size_t len = in.len - at < pieces[i] ? in.len - at : pieces[i];
            len = len < space ? len : space;
            memcpy(to, in.data + at, len);
            smx_frame_reader_fed(&reader, len);
            at += len;
            while ((kinds[count] = smx_frame_reader_next(&reader, &frame)) != SMX_FRAME_NONE) {
                if (kinds[count++] == SMX_FRAME_TAIL) {
                    assert_int_equal(frame.len, 16);
                    assert_memory_equal(frame.data + 12, "tail", 4);
                }
            }
        }
        assert_int_equal(count, 3);
        assert_int_equal(kinds[0], SMX_FRAME_HEAD);
        assert_int_equal(kinds[1], SMX_FRAME_TAIL);
        assert_int_equal(kinds[2], SMX_FRAME_WHOLE);
        smx_frame_reader_fini(&reader);
    }
    smx_buffer_fini(&in);
}

static void frames_come_out_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 0, 5, 4096, MAX_FRAME, 3, MAX_FRAME + 1, 1, 3 * MAX_FRAME, 2, 70000, 7};
    static const size_t pieces[] = {1, 2, 3, 4, 5, 1000, 4100, 65536, SIZE_MAX};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    struct smx_buffer in = {0};
    for (size_t i = 0; i < COUNT; i++)
        put_frame(&in, (uint8_t)i, sizes[i]);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct smx_frame_reader reader;
        smx_frame_reader_init(&reader, MAX_FRAME);
        assert_int_equal(feed(&reader, &in, pieces[i], sizes), COUNT);
        smx_frame_reader_fini(&reader);
    }
    smx_buffer_fini(&in);
}

static void a_hundred_thousand_frames_in_one_write(void **state)
{
    (void)state;
    struct smx_buffer in = {0};
    struct smx_frame_reader reader;
    struct smx_span frame;
    size_t space;
    size_t count = 0;
    for (int i = 0; i < 100000; i++)
        put_frame(&in, 1, 9);
    smx_frame_reader_init(&reader, MAX_FRAME);
    for (size_t at = 0; at < in.len;) {
        uint8_t *to = smx_frame_reader_space(&reader, &space);
        size_t len = space < in.len - at ? space : in.len - at;
        memcpy(to, in.data + at, len);
        smx_frame_reader_fed(&reader, len);
        at += len;
        while (smx_frame_reader_next(&reader, &frame) == SMX_FRAME_WHOLE)
            count++;
    }
    assert_int_equal(count, 100000);
    assert_true(reader.buffer.cap < 1024 * 1024);
    smx_frame_reader_fini(&reader);
    smx_buffer_fini(&in);
}

static void an_oversized_frame_is_never_held(void **state)
{
    (void)state;
    struct smx_frame_reader reader;
    struct smx_span frame;
    size_t space;
    size_t left = 0xffffffff;
    smx_frame_reader_init(&reader, MAX_FRAME);
    memset(smx_frame_reader_space(&reader, &space), 0xff, 4);
    smx_frame_reader_fed(&reader, 4);
    assert_int_equal(smx_frame_reader_next(&reader, &frame), SMX_FRAME_NONE);
    while (left > 0xffff0000) {
        memset(smx_frame_reader_space(&reader, &space), 0, 64);
        smx_frame_reader_fed(&reader, 64);
        left -= 64;
        smx_frame_reader_next(&reader, &frame);
        assert_true(reader.buffer.cap < 1024 * 1024);
    }
    assert_int_equal(reader.skip, left);
    smx_frame_reader_fini(&reader);
}

static void a_large_frame_gets_its_room_at_once(void **state)
{
    (void)state;
    struct smx_frame_reader reader;
    size_t space;
    smx_frame_reader_init(&reader, 128 * 1024 * 1024);
    memcpy(smx_frame_reader_space(&reader, &space), "\x01\x00\x00\x00", 4);
    smx_frame_reader_fed(&reader, 4);
    smx_frame_reader_space(&reader, &space);
    assert_true(space >= 16 * 1024 * 1024);
    smx_frame_reader_fini(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_whole),
        cmocka_unit_test(the_tail_of_an_oversized_frame_comes_where_it_is_wanted),
        cmocka_unit_test(a_hundred_thousand_frames_in_one_write),
        cmocka_unit_test(an_oversized_frame_is_never_held),
        cmocka_unit_test(a_large_frame_gets_its_room_at_once),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
