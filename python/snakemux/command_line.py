"""Runs a worker as a process: its options, its log, its exit code."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from .options import Options, parse
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
    try:
        from .aio import serve
    except ImportError as error:
        raise SystemExit(
            f"snakemux: {error}. The worker needs grpcio and protobuf; install them with\n"
            f"  {sys.executable} -m pip install grpcio protobuf msgpack"
        ) from None

    code, idle = asyncio.run(serve(worker, options))
    if idle:
        sys.exit(code)
    # A handler that doesn't end would hold up the exit for ever: Python joins all threads.
    logging.getLogger("snakemux").warning("a handler still runs: the process ends without it")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
