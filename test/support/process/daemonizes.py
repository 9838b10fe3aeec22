#!/usr/bin/env python3
"""Starts a daemon as in the book: fork, setsid, fork again; it ignores SIGTERM and has closed its files."""
import os
import signal
import time

read_end, write_end = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.write(write_end, b"x")
    while True:
        time.sleep(1000)
os.wait()
os.read(read_end, 1)
print("ready", flush=True)
while True:
    time.sleep(1000)
