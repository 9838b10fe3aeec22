"""The worker that the tests run: one command for each thing that a handler can do, well or badly."""

import asyncio
import os
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

from snakemux import Context, Error, Worker

worker = Worker(name="sample", version="1.2.3")

# What handlers report of themselves by name, and what they wait for.
marks: defaultdict[str, list[str]] = defaultdict(list)
counts: defaultdict[str, int] = defaultdict(int)
gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)


@worker.on_start
def load() -> None:
    worker.state.model = "loaded"
    print("the model is loading", end="")  # without a newline: the readiness line must survive it
    print()


@worker.on_stop
async def unload() -> None:
    print(f"stopped with {worker.state.model}")


@worker.on_session_end
def forget(session_id: str, session: dict[str, Any]) -> None:
    marks["sessions"].append(f"{session_id}: {session['count']}")


# About the tests themselves: async, so that they answer while every thread is busy.


@worker.command
async def report(name: str) -> dict[str, Any]:
    return {"marks": marks[name], "count": counts[name]}


@worker.command
async def release(name: str) -> None:
    gates[name].set()


# Arguments, results, errors.


@worker.command
def predict(x: list[float], threshold: float = 0.5, *, ctx: Context) -> dict[str, Any]:
    return {"above": [value > threshold for value in x], "remaining": ctx.time_remaining()}


@worker.command
async def double(x: int) -> int:
    return 2 * x


@worker.command
def whole(args: dict[str, Any]) -> dict[str, Any]:
    return args


@worker.command
def metadata(name: str, ctx: Context) -> dict[str, Any]:
    return {"value": ctx.metadata.get(name), "request_id": ctx.request_id, "model": worker.state.model}


@worker.command
def fail(text: str) -> None:
    raise ValueError(text)


@worker.command
def refuse() -> None:
    raise Error("not_found", "no such model", {"model": "m1", "known": ["m0"]})


@worker.command
def leave() -> None:
    sys.exit(3)


@worker.command
async def leave_async() -> None:
    sys.exit(3)


@worker.command
def unencodable() -> dict[str, Any]:
    return {"items": [1, 2, {"when": {1, 2}}]}


@worker.command
def blob(size: int) -> dict[str, Any]:
    return {"blob": bytes(size)}


@worker.command
def say(text: str) -> None:
    print(text)


@worker.command
def log(text: str, ctx: Context) -> None:
    ctx.log.warning("%s", text)


@worker.command
def count(ctx: Context) -> int:
    ctx.session["count"] = ctx.session.get("count", 0) + 1
    total: int = ctx.session["count"]
    return total


# Streams.


@worker.command
def batches(items: list[Any], ctx: Context) -> Iterator[dict[str, Any]]:
    for item in items:
        ctx.check()
        yield {"item": item}


@worker.command
async def batches_async(items: list[Any]) -> AsyncIterator[dict[str, Any]]:
    for item in items:
        yield {"item": item}


@worker.command
def refill(count: int, size: int) -> Iterator[bytearray]:
    same = bytearray(size)
    for number in range(count):
        same[:] = bytes([number]) * size
        yield same


@worker.command
async def refill_async(count: int, size: int) -> AsyncIterator[dict[str, bytearray]]:
    same = bytearray(size)
    for number in range(count):
        same[:] = bytes([number]) * size
        yield {"data": same}


@worker.command
def flood(name: str, size: int) -> Iterator[dict[str, Any]]:
    try:
        while True:
            counts[name] += 1
            yield {"data": bytes(size)}
    finally:
        marks[name].append("closed")


@worker.command
async def flood_async(name: str, size: int) -> AsyncIterator[dict[str, Any]]:
    try:
        while True:
            counts[name] += 1
            yield {"data": bytes(size)}
    finally:
        marks[name].append("closed")


@worker.command
def break_off(after: int) -> Iterator[int]:
    yield from range(after)
    raise ValueError("broken off")


@worker.command
async def break_off_async(after: int) -> AsyncIterator[int]:
    for number in range(after):
        yield number
    raise ValueError("broken off")


# Handlers that take their time.


@worker.command
def hold(name: str, ctx: Context) -> str:
    """Runs until it is released, or its call ends."""
    marks[name].append("running")
    while not gates[name].is_set():
        try:
            ctx.wait(0.01)
        except Error as error:
            marks[name].append(error.code)
            raise
    return name


@worker.command
def hold_for_file(name: str, path: str, ctx: Context) -> Iterator[str]:
    """Runs until there is such a file: released without a call."""
    marks[name].append("running")
    yield "begun"
    while not os.path.exists(path):
        ctx.wait(0.01)
    yield "done"


@worker.command
def hold_deaf(name: str) -> str:
    """Runs until it is released, whatever its call does."""
    marks[name].append("running")
    gates[name].wait()
    return name


@worker.command
async def hold_async(name: str) -> str:
    marks[name].append("running")
    try:
        while not gates[name].is_set():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        marks[name].append("cancelled")
        raise
    return name


@worker.command
async def hold_async_deaf(name: str) -> str:
    marks[name].append("running")
    while not gates[name].is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            marks[name].append("ignored")
    return name


@worker.command
def spin(name: str) -> None:
    """Never ends, and never lets go of the interpreter by itself."""
    marks[name].append("running")
    while True:
        pass


if __name__ == "__main__":
    worker.run()
