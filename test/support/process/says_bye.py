#!/usr/bin/env python3
"""Polite: on SIGTERM it takes 300 ms to finish its work, says bye and ends with code 7."""
import signal
import sys
import time


def stop(_signal, _frame):
    time.sleep(0.3)
    print("bye", flush=True)
    sys.exit(7)


signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    time.sleep(1000)
