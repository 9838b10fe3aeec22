"""The worker of the soak: ordinary commands, and what goes wrong with real ones now and then.

Every answer carries the `id` of its call, so that an answer to somebody else is noticed.
"""

import ctypes
import random
import threading
import time

from snakemux import Context, Worker

worker = Worker()
lock = threading.Lock()
leaked = []


@worker.command
def echo(args):
    return args


@worker.command
def compute(id: int, x: int):
    for _ in range(random.randrange(20_000)):
        pass
    return {"id": id, "y": x * x}


@worker.command
def numbers(id: int, count: int, size: int):
    """A stream that would run as fast as its consumer lets it."""
    for n in range(count):
        yield {"id": id, "n": n, "data": "x" * size}


@worker.command
def hang(id: int):
    """Once in 200 it never ends, and one of five such also holds the interpreter, as a bad C extension does."""
    time.sleep(0.005)
    if random.randrange(200) == 0:
        if random.randrange(5) == 0:
            ctypes.PyDLL(None).sleep(100_000)
        while True:
            time.sleep(1)
    return {"id": id}


@worker.command
def crash(id: int):
    if random.randrange(200) == 0:
        ctypes.string_at(0)
    return {"id": id}


@worker.command
def leak(id: int):
    leaked.append(bytearray(random.randrange(200_000)))
    return {"id": id, "leaked": len(leaked)}


@worker.command
def count(id: int, ctx: Context):
    """Counts the calls of its session."""
    with lock:
        ctx.session["count"] = ctx.session.get("count", 0) + 1
        return {"id": id, "count": ctx.session["count"]}
