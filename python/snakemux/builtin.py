"""The commands that every worker has unless it brings its own: in the shapes that earlier workers gave them."""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from .errors import Error

if TYPE_CHECKING:
    from .worker import Worker

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
}


def commands(worker: Worker) -> dict[str, Callable[..., Any]]:
    """The built-in commands of `worker` by name. They are async, so they answer while all threads are busy."""

    async def ping(args: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": "ok",
            "bridge_type": worker.name,
            "uptime": worker.stats.uptime,
            "requests_handled": worker.stats.requests,
            "timestamp": time.time(),
            "python_version": sys.version,
            "worker_id": args.get("worker_id", "unknown"),
            "echo": args,
        }

    async def echo(args: dict[str, Any]) -> dict[str, Any]:
        return {"status": "ok", "echoed": args, "timestamp": time.time()}

    async def compute(operation: str = "add", a: Any = 0, b: Any = 0) -> dict[str, Any]:
        if operation not in OPERATIONS:
            raise Error("invalid_argument", f"compute: no operation {operation!r}: choose {', '.join(OPERATIONS)}")
        for name, number in (("a", a), ("b", b)):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise Error("invalid_argument", f"compute: {name} must be a number, not {type(number).__name__}")
        if operation == "divide" and b == 0:
            raise Error("invalid_argument", "compute: division by zero")
        return {
            "status": "ok",
            "operation": operation,
            "inputs": {"a": a, "b": b},
            "result": OPERATIONS[operation](a, b),
            "timestamp": time.time(),
        }

    async def info() -> dict[str, Any]:
        return {
            "status": "ok",
            "bridge_info": {
                "name": worker.name,
                "version": worker.version,
                "supported_commands": worker.commands,
                "uptime": worker.stats.uptime,
                "total_requests": worker.stats.requests,
            },
            "system_info": {"python_version": sys.version, "platform": platform.system().lower()},
            "timestamp": time.time(),
        }

    async def ping_stream(count: int = 5, interval: float = 0.1) -> AsyncIterator[dict[str, Any]]:
        for index in range(count):
            if index > 0:
                await asyncio.sleep(interval)
            yield {"index": index, "count": count, "timestamp": time.time()}

    return {"ping": ping, "echo": echo, "compute": compute, "info": info, "ping_stream": ping_stream}
