#!/usr/bin/env python3
"""Never keeps a pid for long: forks, the parent ends, the child sets up a session and forks again."""
import os
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    while True:
        if os.fork() != 0:
            os._exit(0)
        os.setsid()
print("ready", flush=True)
while True:
    time.sleep(1000)
