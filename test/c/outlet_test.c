/* outlet.c: small writes are kept and go out together; whatever the socket takes, the bytes come in their order. */
#include "outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

struct pair {
    struct smx_outlet outlet;
    int out;
    int in;
};

static int set_up(void **state)
{
    struct pair *pair = smx_alloc(sizeof(*pair));
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    pair->out = fds[0];
    pair->in = fds[1];
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    smx_outlet_fini(&pair->outlet);
    close(pair->out);
    close(pair->in);
    free(pair);
    return 0;
}

/* In two pieces, as gRPC sends a frame and what it holds. */
static ssize_t put(struct pair *pair, const uint8_t *data, size_t len, bool keep)
{
    struct iovec parts[] = {{(void *)(uintptr_t)data, len / 2}, {(void *)(uintptr_t)(data + len / 2), len - len / 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return smx_outlet_send(&pair->outlet, pair->out, &message, MSG_NOSIGNAL, keep);
}

static ssize_t put_text(struct pair *pair, const char *text, bool keep)
{
    return put(pair, (const uint8_t *)text, strlen(text), keep);
}

/* What one read brings, at most; -1 when there is nothing. */
static ssize_t take(struct pair *pair, struct smx_buffer *got, size_t most)
{
    ssize_t len = read(pair->in, smx_buffer_reserve(got, most), most);
    got->len += len > 0 ? (size_t)len : 0;
    return len;
}

static void small_writes_wait_for_the_flush(void **state)
{
    struct pair *pair = *state;
    struct smx_buffer got = {0};
    assert_int_equal(put_text(pair, "one ", true), 4);
    assert_int_equal(put_text(pair, "two ", true), 4);
    assert_int_equal(take(pair, &got, 100), -1);
    assert_true(smx_outlet_flush(&pair->outlet, pair->out));
    assert_int_equal(take(pair, &got, 100), 8);
    assert_string_equal(test_text(&got), "one two ");
    smx_buffer_fini(&got);
}

static void what_may_not_wait_takes_the_rest_along(void **state)
{
    struct pair *pair = *state;
    struct smx_buffer got = {0};
    put_text(pair, "one ", true);
    assert_int_equal(put_text(pair, "two ", false), 4);
    assert_int_equal(take(pair, &got, 4), 4);
    assert_int_equal(take(pair, &got, 100), 4);
    assert_string_equal(test_text(&got), "one two ");
    smx_buffer_fini(&got);
}

static void enough_goes_at_once(void **state)
{
    struct pair *pair = *state;
    struct smx_buffer got = {0};
    uint8_t call[SMX_OUTLET_ENOUGH / 4] = {0};
    for (int i = 0; i < 3; i++)
        put(pair, call, sizeof(call), true);
    assert_int_equal(take(pair, &got, 2 * SMX_OUTLET_ENOUGH), -1);
    put(pair, call, sizeof(call), true);
    assert_int_equal(take(pair, &got, 2 * SMX_OUTLET_ENOUGH), SMX_OUTLET_ENOUGH);
    uint8_t large[SMX_OUTLET_ENOUGH] = {0};
    assert_int_equal(put(pair, large, sizeof(large), true), SMX_OUTLET_ENOUGH);
    assert_int_equal(take(pair, &got, 2 * SMX_OUTLET_ENOUGH), SMX_OUTLET_ENOUGH);
    smx_buffer_fini(&got);
}

static void a_full_socket_says_so_and_loses_nothing(void **state)
{
    struct pair *pair = *state;
    struct smx_buffer sent = {0}, got = {0};
    uint8_t data[5000];
    srand(7);
    for (int full = 0; full < 50;) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)rand();
        size_t len = 2 + (size_t)rand() % (rand() % 2 ? 60 : sizeof(data) - 2);
        ssize_t put_len = put(pair, data, len, rand() % 3 != 0);
        if (put_len < 0) {
            assert_int_equal(errno, EAGAIN);
            assert_true(pair->outlet.kept.len <= 2 * SMX_OUTLET_ENOUGH);
            full++;
            while (take(pair, &got, 1 + (size_t)rand() % 100000) > 0 && rand() % 8)
                continue;
        } else {
            smx_buffer_append(&sent, data, (size_t)put_len);
        }
    }
    while (!smx_outlet_flush(&pair->outlet, pair->out))
        take(pair, &got, 1000);
    while (take(pair, &got, 100000) > 0)
        continue;
    assert_true(smx_span_equal(smx_buffer_span(&got), smx_buffer_span(&sent)));
    smx_buffer_fini(&got);
    smx_buffer_fini(&sent);
}

static void a_broken_socket_says_so_with_the_next_write(void **state)
{
    struct pair *pair = *state;
    put_text(pair, "one", true);
    shutdown(pair->in, SHUT_RDWR);
    assert_true(smx_outlet_flush(&pair->outlet, pair->out)); /* nobody will ever take it */
    for (int keep = 0; keep < 2; keep++) {
        assert_int_equal(put_text(pair, "two", keep), -1);
        assert_int_equal(errno, EPIPE);
    }
}

#define with_pair(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_pair(small_writes_wait_for_the_flush),
        with_pair(what_may_not_wait_takes_the_rest_along),
        with_pair(enough_goes_at_once),
        with_pair(a_full_socket_says_so_and_loses_nothing),
        with_pair(a_broken_socket_says_so_with_the_next_write),
    };
    return cmocka_run_group_tests_name("outlet", tests, NULL, NULL);
}
