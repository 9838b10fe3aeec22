/*
 * Drives a program that answers frames on its pipes: 4 bytes of length and a MessagePack request, one at a time. What
 * an old worker does without any pool in front of it; and in front of a C program that echoes, what the pipes allow.
 */
#include "latency.h"
#include "util.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HEAD = 4 };

static const char usage_text[] = "usage: pipe COMMAND [ARG...]   then lines on stdin: unary 1 SIZE MS WARM_UP_MS\n"
                                 "Prints one line for each, like the bare client\n";

struct child {
    int in;
    int out;
    uint8_t *answer;
    size_t cap;
};

static void put32(uint8_t *at, size_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void start(struct child *child, char **argv)
{
    int in[2], out[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (pipe(in) != 0 || pipe(out) != 0)
        smx_abort("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    /* The child ends when we do: it must not hold the other end of its own stdin. */
    posix_spawn_file_actions_addclose(&actions, in[1]);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    if (error != 0)
        smx_abort("%s: %s", argv[0], strerror(error));
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    *child = (struct child){.in = in[1], .out = out[0]};
}

static void write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written <= 0)
            smx_abort("the program reads no more");
        bytes += written;
        len -= (size_t)written;
    }
}

static void read_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t got = read(fd, bytes, len);
        if (got <= 0)
            smx_abort("the program has ended");
        bytes += got;
        len -= (size_t)got;
    }
}

/* One request and its answer, which stays in `child->answer`. Returns the length of that. */
static size_t ask(struct child *child, const uint8_t *frame, size_t len)
{
    uint8_t head[HEAD];
    write_all(child->in, frame, len);
    read_all(child->out, head, HEAD);
    size_t answer = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (answer > child->cap) {
        child->answer = smx_realloc(child->answer, answer);
        child->cap = answer;
    }
    read_all(child->out, child->answer, answer);
    return answer;
}

/* #{args => #{data => the bytes}, command => echo, id => 5}, the caller's. Sets its length, head included. */
static uint8_t *pack(const uint8_t *data, size_t size, size_t *len)
{
    static const uint8_t before[] = "\x83\xA4"
                                    "args"
                                    "\x81\xA4"
                                    "data"
                                    "\xC6";
    static const uint8_t after[] = "\xA7"
                                   "command"
                                   "\xA4"
                                   "echo"
                                   "\xA2"
                                   "id"
                                   "\x05";
    *len = HEAD + sizeof(before) - 1 + 4 + size + sizeof(after) - 1;
    uint8_t *frame = smx_alloc(*len);
    uint8_t *at = frame + HEAD;
    put32(frame, *len - HEAD);
    memcpy(at, before, sizeof(before) - 1);
    put32(at += sizeof(before) - 1, size);
    memcpy(at += 4, data, size);
    memcpy(at + size, after, sizeof(after) - 1);
    return frame;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void drive(struct child *child, size_t size, unsigned ms, unsigned warm_up_ms)
{
    struct latency latency = {0};
    uint8_t *data = smx_alloc(size);
    uint64_t done = 0, failed = 0;
    int64_t from = smx_now_us() + (int64_t)warm_up_ms * 1000;
    int64_t end = from + (int64_t)ms * 1000;
    double cpu = cpu_seconds();
    memset(data, 'x', size);
    for (int64_t sent = smx_now_us(), now; sent < end; sent = now) {
        /* Packed anew for each call, as the bare client does. */
        size_t len;
        uint8_t *frame = pack(data, size, &len);
        failed += ask(child, frame, len) < size;
        free(frame);
        now = smx_now_us();
        if (sent >= from && now <= end) {
            latency_add(&latency, (uint64_t)(now - sent));
            done++;
        }
    }
    latency_finish(&latency);
    printf("done %llu seconds %.6f p50_us %llu p99_us %llu max_us %llu bytes %llu cpu_s %.6f failed %llu\n",
           (unsigned long long)done, ms / 1e3, (unsigned long long)latency_at(&latency, 0.5),
           (unsigned long long)latency_at(&latency, 0.99), (unsigned long long)latency_at(&latency, 1.0),
           (unsigned long long)(done * size), cpu_seconds() - cpu, (unsigned long long)failed);
    fflush(stdout);
    latency_fini(&latency);
    free(data);
}

int main(int argc, char **argv)
{
    struct child child;
    char line[256];
    unsigned size, ms, warm_up_ms;
    if (argc < 2) {
        fputs(usage_text, stderr);
        return 2;
    }
    start(&child, argv + 1);
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "unary 1 %u %u %u", &size, &ms, &warm_up_ms) != 3 || ms == 0) {
            fputs(usage_text, stderr);
            return 2;
        }
        drive(&child, size, ms, warm_up_ms);
    }
    return 0;
}
