"""A gRPC worker for the tests of the front: what the built-in commands don't do."""

import os
import time

from snakemux import Error, Worker

worker = Worker("sample", threads=4)


@worker.on_start
def load() -> None:
    time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))


@worker.command
def whoami() -> dict[str, int]:
    return {"pid": os.getpid()}


@worker.command
def value(value: object = None) -> object:
    return value


@worker.command
def fail(text: str) -> None:
    raise ValueError(text)


@worker.command
def refuse() -> None:
    raise Error("not_found", "no such model")


@worker.command
def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@worker.command
def leave() -> None:
    os._exit(3)


@worker.command
def size(data: object) -> int:
    return len(data)  # type: ignore[arg-type]


@worker.command
def text(size: int) -> str:
    return "x" * size


@worker.command
def array() -> object:
    import numpy as np

    return {"x": [1, np.zeros(3)]}


@worker.command
def limit() -> str:
    return os.environ["SNAKEMUX_MAX_MESSAGE"]


@worker.command
def numbers(count: int):  # type: ignore[no-untyped-def]
    for number in range(count):
        yield {"n": number}
