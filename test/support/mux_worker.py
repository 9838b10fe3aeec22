"""The worker of the Erlang suites: small commands, and some that behave badly.

The environment may say how it starts: LOAD (seconds until it is ready), FAIL (a text to print before it ends with 3), COMMAND
(the name of a command more).
"""

import ctypes
import os
import subprocess
import sys
import threading
import time

from snakemux import Context, Error, Worker

if "FAIL" in os.environ:
    print(os.environ["FAIL"], flush=True)
    sys.exit(3)

worker = Worker()
worker.state.born = time.time()
worker.state.begun = []
worker.state.ended = []


@worker.on_start
def load():
    time.sleep(float(os.environ.get("LOAD", "0")))
    worker.state.ready = time.time()


@worker.command
def whoami():
    return {"pid": os.getpid(), "born": worker.state.born, "ready": worker.state.ready}


@worker.command(name=os.environ.get("COMMAND", "environment_too"))
@worker.command
def environment():
    return dict(os.environ)


@worker.command
def give_back(args):
    return args


@worker.command
def size(data: bytes):
    return len(data)


@worker.command
def value(what: str):
    return {"number": 42, "list": [1, 2], "bytes": b"\xff\x00", "deep": {"a": {"b": [None]}}}.get(what)


@worker.command
def fail(text: str):
    raise ValueError(text)


@worker.command
def refuse(text: str, details: dict):
    raise Error("not_found", text, details)


@worker.command
def nap(ms: int):
    """Blocks its thread, whatever becomes of the call."""
    time.sleep(ms / 1000)
    return {"pid": os.getpid()}


@worker.command
def block(name: str, ctx: Context):
    """Runs until its caller has enough of it."""
    worker.state.begun.append(name)
    try:
        while True:
            ctx.check()
            time.sleep(0.01)
    finally:
        worker.state.ended.append(name)


@worker.command
def finish(path: str, ms: int, ctx: Context):
    """Leaves in a file how it ended."""
    end = time.monotonic() + ms / 1000
    while not ctx.cancelled and time.monotonic() < end:
        time.sleep(0.01)
    with open(path, "w") as file:
        file.write("cancelled" if ctx.cancelled else "finished")


@worker.command
def numbers(name: str, count: int = 0, fail_at: int = -1, pause: float = 0):
    """Counts from 0, without an end for count 0."""
    worker.state.begun.append(name)
    n = 0
    try:
        while count == 0 or n < count:
            if n == fail_at:
                raise ValueError(f"no more after {n}")
            yield {"n": n}
            n += 1
            time.sleep(pause)
    finally:
        worker.state.ended.append(name)


@worker.command
async def begun(name: str):
    """How many calls of that name have reached their handler."""
    return worker.state.begun.count(name)


@worker.command
async def ended(name: str):
    """How many calls of that name have ended."""
    return worker.state.ended.count(name)


@worker.command
def add_up(by: int, ctx: Context):
    ctx.session["total"] = ctx.session.get("total", 0) + by
    return {"total": ctx.session["total"], "pid": os.getpid()}


@worker.command
def add_up_and_fail(by: int, ctx: Context):
    ctx.session["total"] = ctx.session.get("total", 0) + by
    raise ValueError("after adding")


@worker.command
def add_up_and_block(by: int, ctx: Context):
    ctx.session["total"] = ctx.session.get("total", 0) + by
    block("added", ctx)


@worker.command
async def sessions():
    return len(worker.sessions)


@worker.command
def spin():
    """Nothing ends this but the end of the process."""
    while True:
        pass


@worker.command
def hold_the_gil():
    """As a C extension does that computes for long without letting others run."""
    ctypes.PyDLL(None).sleep(1000)


@worker.command
def crash(code: int):
    os._exit(code)


@worker.command
def children():
    """One child that ignores SIGTERM, one in a session of its own, and one with a child."""
    started = [
        subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1000; done"]),
        subprocess.Popen(["sleep", "1000"], start_new_session=True),
        subprocess.Popen(["sh", "-c", "sleep 1000 & wait"]),
    ]
    return [child.pid for child in started]


@worker.command
def shout(megabytes: int, newlines: bool):
    """Prints a lot, not all of it text."""
    block = (b"\xff" * 1023 + (b"\n" if newlines else b"\xff")) * 1024
    for _ in range(megabytes):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    return threading.active_count()


@worker.command
def close_output():
    os.close(1)
    os.close(2)


if __name__ == "__main__":
    worker.run()
