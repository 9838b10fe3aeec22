"""The worker that the ExUnit tests start: small commands, and what it saw of the end of its streams."""

import os
import threading

from snakemux import Context, Error, Worker

worker = Worker()
worker.state.ended = []
lock = threading.Lock()


@worker.command
def shout(text: str):
    return text.upper()


@worker.command
def add(a, b):
    return {"sum": a + b}


@worker.command
def give_back(args):
    return args


@worker.command
def nothing():
    return None


@worker.command
def fail(text: str):
    raise ValueError(text)


@worker.command
def refuse(model: str):
    raise Error("not_found", f"no model {model}", {"known": ["a", "b"]})


@worker.command
def whoami():
    return {"pid": os.getpid(), "cuda": os.environ.get("CUDA_VISIBLE_DEVICES")}


@worker.command
def crash():
    os._exit(3)


@worker.command
def block(ctx: Context):
    """Runs until its caller has enough of it."""
    try:
        waiting = threading.Event()
        while True:
            ctx.check()
            waiting.wait(0.01)
    finally:
        note("block", 0)


@worker.command
def count_up(by: int, ctx: Context):
    ctx.session["total"] = ctx.session.get("total", 0) + by
    return {"total": ctx.session["total"]}


@worker.command
def numbers(name: str, count: int = 0, fail_at: int = -1):
    """Counts from 0, without an end for count 0."""
    n = 0
    try:
        while count == 0 or n < count:
            if n == fail_at:
                raise ValueError(f"no more after {n}")
            yield {"n": n}
            n += 1
    finally:
        note(name, n)


@worker.command
def ended(name: str):
    """How far the streams of this name had come when they ended."""
    with lock:
        return [n for (of, n) in worker.state.ended if of == name]


def note(name: str, n: int):
    with lock:
        worker.state.ended.append((name, n))


@worker.command
def describe(a):
    return {"dtype": str(a.dtype), "shape": list(a.shape), "sum": float(a.sum())}


@worker.command
def transposed(a):
    return a.T


@worker.command
def is_positive(a):
    return a > 0


@worker.command
def rows(a):
    yield from a


@worker.command
def zeros(n: int, type: str = "f8"):
    import numpy as np

    return np.zeros(n, type)


@worker.command
def extension(kind: int, data: bytes):
    """What a worker in another language might send."""
    import msgpack

    return [msgpack.ExtType(kind, data)]


@worker.command
def objects():
    import numpy as np

    return {"list": [1, np.array([{}])]}


if __name__ == "__main__":
    worker.run()
