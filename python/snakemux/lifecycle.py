"""The life of a worker process, whatever server it has: start, readiness, signals, the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
from typing import Protocol

from . import codec
from .context import logger
from .options import Options
from .version import __version__
from .worker import Worker


class Server(Protocol):
    """What serves a worker."""

    name: str

    def listen(self) -> int:
        """Takes the address, without serving yet: the port, 0 for a unix socket. Raises OSError."""

    async def start(self) -> None:
        """Begins to serve."""

    async def stop(self, grace: float) -> bool:
        """Takes no more calls, lets running ones go on for `grace` seconds, then cancels them.

        False if a handler still runs that can't be ended.
        """


async def serve(worker: Worker, options: Options, server: Server) -> tuple[int, bool]:
    """Serves until SIGTERM or SIGINT: the exit code, and False if a handler still runs that can't be ended."""
    try:
        port = server.listen()
    except OSError as error:
        logger.error("can't listen on %s: %s", options.address, error)
        return 1, True
    try:
        await worker.start()
    except Exception:
        logger.exception("on_start failed, so the worker ends")
        return 1, True

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    os.register_at_fork(after_in_child=_leave_signals)
    await server.start()
    _announce(f"ADDRESS={options.address}" if options.is_unix else f"PORT={port}")
    await stop.wait()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)  # a second signal ends the process at once
    idle = await server.stop(options.stop_grace)
    try:
        await worker.stop()
    except Exception:
        logger.exception("on_stop failed")
        return 1, idle
    return 0, idle


def capabilities(worker: Worker, options: Options, server: str) -> dict[str, str]:
    """What GetInfo announces."""
    return {
        "codecs": ",".join(codec.CODECS),
        "max_concurrent": str(options.threads if worker.is_threaded else options.max_concurrent),
        "keepalive": "true",
        "sessions": "true",
        "server": server,
        "version": __version__,
    }


def system_info() -> dict[str, str]:
    """What GetInfo tells about the process."""
    return {"python": platform.python_version(), "platform": platform.platform(), "pid": str(os.getpid())}


def _leave_signals() -> None:
    """In a forked child: a SIGTERM for it would end us, as asyncio hears of signals through a socket that both have."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _announce(where: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads: readiness is seen by Health just as well
        print(f"GRPC_SERVER_READY_ON_{where}\n", end="", flush=True)  # in one piece, whatever other threads print
