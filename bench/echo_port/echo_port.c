/*
 * The least that a {packet,4} port program can do: what no port can be faster than.
 * A frame comes back as it is; a frame `P` Count:32 Size:32 is answered by Count frames of Size bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 8 << 20, HEAD = 4 };

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void write_all(const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, len);
        if (written <= 0)
            exit(0); /* the BEAM has closed the port */
        bytes += written;
        len -= (size_t)written;
    }
}

static void push(uint32_t count, uint32_t size)
{
    /* As many frames in one write as fit into 1 MiB, at least one. */
    size_t frame = HEAD + (size_t)size;
    size_t together = frame < (1 << 20) ? (1 << 20) / frame : 1;
    uint8_t *bytes = calloc(together, frame);
    if (!bytes)
        exit(1);
    for (size_t i = 0; i < together; i++)
        put32(bytes + i * frame, size);
    for (uint32_t sent = 0; sent < count;) {
        size_t now = count - sent < together ? count - sent : together;
        write_all(bytes, now * frame);
        sent += (uint32_t)now;
    }
    free(bytes);
}

int main(void)
{
    uint8_t *bytes = malloc(BUFFER);
    size_t len = 0;
    if (!bytes)
        return 1;
    for (;;) {
        ssize_t got = read(STDIN_FILENO, bytes + len, BUFFER - len);
        if (got <= 0)
            return 0;
        len += (size_t)got;
        /* All whole frames that have come go back in one write. */
        size_t whole = 0;
        while (len - whole >= HEAD && len - whole - HEAD >= get32(bytes + whole)) {
            const uint8_t *frame = bytes + whole + HEAD;
            uint32_t size = get32(bytes + whole);
            if (size == 9 && frame[0] == 'P') {
                push(get32(frame + 1), get32(frame + 5));
                memmove(bytes + whole, bytes + whole + HEAD + size, len - whole - HEAD - size);
                len -= HEAD + size;
                continue;
            }
            whole += HEAD + size;
        }
        write_all(bytes, whole);
        memmove(bytes, bytes + whole, len - whole);
        len -= whole;
        if (len == BUFFER) {
            fputs("echo_port: frames of at most 8 MiB\n", stderr);
            return 1;
        }
    }
}
