"""Runs a worker as a process: its options, its log, its exit code."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from .lifecycle import Server, serve
from .options import SERVER, SERVERS, Options, parse
from .worker import Worker


def run(worker: Worker, argv: Sequence[str] | None = None) -> None:
    """Serves `worker` with the options in `argv` until it is told to stop; ends the process."""
    options, _ = parse(argv, worker.defaults)
    _serve(worker, options)


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m snakemux pkg:name …`: imports a worker and serves it; ends the process."""
    _, name = parse(argv, Options(), with_worker=True)
    worker = find_worker(name or "")
    options, _ = parse(argv, worker.defaults, with_worker=True)
    _serve(worker, options)


def find_worker(name: str) -> Worker:
    """The worker called `pkg:name`; `pkg` alone means `pkg:worker`. Raises SystemExit if there is none."""
    module, _, attribute = name.partition(":")
    worker = getattr(importlib.import_module(module), attribute or "worker", None)
    if not isinstance(worker, Worker):
        raise SystemExit(f"snakemux: {module} has no Worker called {attribute or 'worker'!r}")
    return worker


def _serve(worker: Worker, options: Options) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # what handlers print is seen when they print it, not at exit
    code, idle = asyncio.run(_run(worker, options))
    if idle:
        sys.exit(code)
    # A handler that doesn't end would hold up the exit for ever: Python joins all threads.
    logging.getLogger("snakemux").warning("a handler still runs: the process ends without it")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _run(worker: Worker, options: Options) -> tuple[int, bool]:
    return await serve(worker, options, _server(worker, options))  # grpc.aio wants a running loop from the start


def _server(worker: Worker, options: Options) -> Server:
    """The server that is asked for, or the best there is. Raises SystemExit if that can't be had."""
    name = options.server or os.environ.get(SERVER) or None
    if name is not None and name not in SERVERS:
        raise SystemExit(f"snakemux: no server {name!r} (${SERVER}): choose {' or '.join(SERVERS)}")
    if name != "aio":
        try:
            from .native import NativeServer

            return NativeServer(worker, options)
        except ImportError as error:
            if name is not None:
                raise SystemExit(f"snakemux: the native server can't be used: {error}") from None
            logging.getLogger("snakemux").info("the native server can't be used (%s): grpc.aio serves", error)
    try:
        from .aio import AioServer
    except ImportError as error:
        raise SystemExit(
            f"snakemux: {error}. The worker needs grpcio and protobuf; install them with\n"
            f"  {sys.executable} -m pip install grpcio protobuf msgpack"
        ) from None
    return AioServer(worker, options)
