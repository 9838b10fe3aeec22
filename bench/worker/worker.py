"""The same commands as the native worker, as anybody would write them with the worker library."""

from collections.abc import Iterator
from typing import Any

from snakemux import Worker

worker = Worker()


@worker.command
def echo(args: dict[str, Any]) -> dict[str, Any]:
    """Answer the arguments."""
    return args


@worker.command
def chunks(count: int, size: int) -> Iterator[dict[str, Any]]:
    """Stream `count` chunks of `size` bytes, as JSON text."""
    data = "x" * (size - 2)
    for _ in range(count):
        yield {"data": data}


if __name__ == "__main__":
    worker.run()
