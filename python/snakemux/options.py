"""The options of a worker process: what each means, its default, and how the command line says it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from .version import __version__

DESCRIPTION = "Serves the commands of a worker over gRPC until SIGTERM."
MEBIBYTE = 1024 * 1024
MAX_MESSAGE = "SNAKEMUX_MAX_MESSAGE"  # how whoever starts a worker tells it the limit of its callers
SERVER = "SNAKEMUX_SERVER"
SERVERS = ("native", "aio")


@dataclass(frozen=True)
class Options:
    """How a worker serves; see `--help` for each. Times are in seconds, sizes in bytes."""

    address: str = "127.0.0.1:0"
    threads: int = 8
    max_concurrent: int = 100
    max_message: int = field(default_factory=lambda: _size(os.environ.get(MAX_MESSAGE, "64MiB")))
    stuck_grace: float = 10.0
    stop_grace: float = 10.0
    stall_after: float = 10.0
    server: str | None = None
    traceback: bool = True
    log_level: str = "info"

    @property
    def is_unix(self) -> bool:
        """True for a unix socket, whose address has no port."""
        return self.address.startswith(("unix:", "unix-abstract:"))


def parse(argv: Sequence[str] | None, defaults: Options, with_worker: bool = False) -> tuple[Options, str | None]:
    """The options in `argv` (None: the command line), and the worker's name if `with_worker`.

    Ends the process with a message on stderr if they are wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m snakemux" if with_worker else None, description=DESCRIPTION, allow_abbrev=False
    )
    if with_worker:
        parser.add_argument(
            "worker", help="pkg:name, the Worker called name in the module pkg; pkg alone means pkg:worker"
        )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--address", metavar="A", help="unix:/path, or host:port (port 0: any free one)")
    where.add_argument("--port", type=_port, metavar="N", help="listen on 127.0.0.1:N, the default with N = 0")
    parser.add_argument("--threads", type=_positive, metavar="N", help="sync handlers that run at once (%(default)s)")
    parser.add_argument(
        "--max-concurrent", type=_positive, metavar="N", help="async handlers that run at once (%(default)s)"
    )
    parser.add_argument(
        "--max-message",
        type=_size,
        metavar="BYTES",
        help="largest message, both ways; 64MiB is understood (%(default)s)",
    )
    parser.add_argument(
        "--stuck-grace", type=float, metavar="S", help="a handler is stuck so long after its call ended (%(default)s)"
    )
    parser.add_argument(
        "--stop-grace", type=float, metavar="S", help="how long running calls may go on after SIGTERM (%(default)s)"
    )
    parser.add_argument(
        "--stall-after",
        type=float,
        metavar="S",
        help="unhealthy when the event loop stands still so long (%(default)s)",
    )
    parser.add_argument(
        "--server", choices=SERVERS, help=f"what serves (${SERVER}, else native if it was built with the library)"
    )
    parser.add_argument("--traceback", action=argparse.BooleanOptionalAction, help="send tracebacks to callers (yes)")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="what to log on stderr (%(default)s)"
    )
    parser.add_argument("--version", action="version", version=f"snakemux {__version__}")
    parser.set_defaults(
        **{field.name: getattr(defaults, field.name) for field in fields(defaults) if field.name != "address"}
    )

    given = vars(parser.parse_args(argv))
    worker, port = given.pop("worker", None), given.pop("port")
    address = given.pop("address") or (defaults.address if port is None else f"127.0.0.1:{port}")
    return Options(address=address, **given), worker


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be a port, 0 to 65535")
    return number


def _size(text: str) -> int:
    for unit, factor in (("KiB", 1024), ("MiB", MEBIBYTE), ("GiB", 1024 * MEBIBYTE)):
        if text.endswith(unit):
            return _positive(text.removesuffix(unit)) * factor
    return _positive(text)
