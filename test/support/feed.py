"""Writes a file to the stdin of a program and closes it; the program's stdout is ours.

A {packet, 4} port can write whole frames only; this writes whatever bytes there are.
usage: feed.py FILE [--one-byte-writes] PROGRAM ARG...
"""

import os
import subprocess
import sys
import threading


def feed(fd: int, data: bytes, size: int) -> None:
    """Writes all, `size` bytes at a time, and closes."""
    for at in range(0, len(data), size):
        left = memoryview(data)[at : at + size]
        while left:
            left = left[os.write(fd, left) :]
    os.close(fd)


def main() -> None:
    path, *command = sys.argv[1:]
    slowly = command[0] == "--one-byte-writes"
    with open(path, "rb") as file:
        data = file.read()
    read_end, write_end = os.pipe()
    program = subprocess.Popen(command[slowly:], stdin=read_end)
    os.close(read_end)
    threading.Thread(target=feed, args=(write_end, data, 1 if slowly else max(1, len(data)))).start()
    sys.exit(program.wait())


if __name__ == "__main__":
    main()
