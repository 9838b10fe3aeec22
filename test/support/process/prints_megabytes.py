#!/usr/bin/env python3
"""Prints numbered lines of 100 bytes; the argument is how many, without one it never ends."""
import itertools
import sys

count = int(sys.argv[1]) if len(sys.argv) > 1 else None
sys.stdout.write("ready\n")
for number in itertools.count() if count is None else range(count):
    sys.stdout.write(f"{number:099d}\n")
