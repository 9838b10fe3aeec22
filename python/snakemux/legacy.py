"""Handlers written for stdin/stdout workers, served over gRPC unchanged.

    python -m snakemux.legacy my_bridge:MyHandler --address unix:/path

serves any class with `process_command(command, args)` and `get_supported_commands()`; without a name, `GenericHandler`.
What a handler returns is the result, also `{"status": "error", …}`; what it raises is a failed call with its text.
It runs in one thread, one call at a time, unless `--threads` says otherwise.
"""

from __future__ import annotations

import importlib
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from .builtin import OPERATIONS
from .codec import VALUE_KEY
from .handler import Handler
from .options import Options, parse
from .worker import Worker


class CommandHandler(Protocol):
    """What is asked of a handler; its base class doesn't matter."""

    def process_command(self, command: str, args: Any) -> Any:
        """The result of a command."""

    def get_supported_commands(self) -> list[str]:
        """The names of all commands."""


class BaseCommandHandler:
    """The old base class: a subclass registers its commands, functions of `args`, in `_register_commands`.

    >>> class Shop(BaseCommandHandler):
    ...     def _register_commands(self):
    ...         self.register_command("price", lambda args: {"status": "ok", "price": 3 * args["count"]})
    >>> Shop().process_command("price", {"count": 2})
    {'status': 'ok', 'price': 6}
    >>> Shop().get_supported_commands()
    ['price']
    """

    def __init__(self) -> None:
        self.start_time = time.time()
        self.request_count = 0
        self._command_registry: dict[str, Callable[[Any], Any]] = {}
        self._register_commands()

    def _register_commands(self) -> None:
        raise NotImplementedError("a handler registers its commands in _register_commands")

    def register_command(self, command: str, handler: Callable[[Any], Any]) -> None:
        """Makes a function of the arguments a command; a later one of the same name takes its place."""
        self._command_registry[command] = handler

    def get_supported_commands(self) -> list[str]:
        """The names of all commands, in the order of their registration."""
        return list(self._command_registry)

    def process_command(self, command: str, args: Any) -> Any:
        """Runs a command. One that there is not gives a result with status `error`, as it always did."""
        self.request_count += 1
        handler = self._command_registry.get(command)
        if handler is None:
            known = self.get_supported_commands()
            return _error(f"Unknown command: {command}", supported_commands=known)
        return handler(args)


class GenericHandler(BaseCommandHandler):
    """ping, echo, compute and info with the results that the old workers gave."""

    def _register_commands(self) -> None:
        self.register_command("ping", self.handle_ping)
        self.register_command("echo", self.handle_echo)
        self.register_command("compute", self.handle_compute)
        self.register_command("info", self.handle_info)

    def handle_ping(self, args: Any) -> Any:
        """Who and how long."""
        return {
            "status": "ok",
            "bridge_type": "generic",
            "uptime": time.time() - self.start_time,
            "requests_handled": self.request_count,
            "timestamp": time.time(),
            "python_version": sys.version,
            "worker_id": args.get("worker_id", "unknown"),
            "echo": args,
        }

    def handle_echo(self, args: Any) -> Any:
        """The arguments."""
        return {"status": "ok", "echoed": args, "timestamp": time.time()}

    def handle_compute(self, args: Any) -> Any:
        """One of four operations on a and b."""
        operation, a, b = args.get("operation", "add"), args.get("a", 0), args.get("b", 0)
        if operation not in OPERATIONS:
            return _error(f"Unsupported operation: {operation}")
        if operation == "divide" and b == 0:
            return _error("Division by zero")
        result = OPERATIONS[operation](a, b)
        inputs = {"a": a, "b": b}
        return {"status": "ok", "operation": operation, "inputs": inputs, "result": result, "timestamp": time.time()}

    def handle_info(self, _args: Any) -> Any:
        """About this worker and its system."""
        return {
            "status": "ok",
            "bridge_info": {
                "name": "Generic Snakepit Bridge",
                "version": "1.0.0",
                "supported_commands": self.get_supported_commands(),
                "uptime": time.time() - self.start_time,
                "total_requests": self.request_count,
            },
            "system_info": {"python_version": sys.version, "platform": platform.system().lower()},
            "timestamp": time.time(),
        }


class LegacyWorker(Worker):
    """A worker whose commands are those of one handler."""

    def __init__(self, handler: CommandHandler, **defaults: Any) -> None:
        super().__init__(name=type(handler).__name__, **{"threads": 1, **defaults})
        self._handler = handler
        self._made = lru_cache(maxsize=256)(self._make)  # to make one takes longer than a small call

    @property
    def commands(self) -> list[str]:
        """The handler's, and `ping`, which the pool asks of every worker."""
        names = list(self._handler.get_supported_commands())
        return names if "ping" in names else [*names, "ping"]

    @property
    def is_threaded(self) -> bool:
        """All of a handler's commands need a thread."""
        return True

    def handler(self, command: str) -> Handler:
        """Any command but ours goes to the handler, which knows what to say of one that it doesn't have."""
        if command.startswith("snakemux.") or (
            command == "ping" and "ping" not in self._handler.get_supported_commands()
        ):
            return super().handler(command)
        return self._made(command)

    def _make(self, command: str) -> Handler:
        def run(args: dict[str, Any]) -> Any:
            return self._handler.process_command(command, _old_values(args))

        return Handler(command, run)


def _error(text: str, **more: Any) -> dict[str, Any]:
    return {"status": "error", "error": text, **more, "timestamp": time.time()}


def _old_values(args: dict[str, Any]) -> Any:
    """Arguments as the old workers saw them: what was no map as it was, and bytes that are UTF-8 as text."""
    return _text(args[VALUE_KEY] if args.keys() == {VALUE_KEY} else args)


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


generic = LegacyWorker(GenericHandler())


def run(handler: type | CommandHandler, argv: Sequence[str] | None = None) -> None:
    """Serves a handler, or a class of handlers, with the options in `argv` (the command line); ends the process."""
    LegacyWorker(handler() if isinstance(handler, type) else handler).run(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """`python -m snakemux.legacy [pkg:Handler] …`: imports a handler and serves it; ends the process."""
    given = list(sys.argv[1:] if argv is None else argv)
    named = bool(given) and not given[0].startswith("-")
    _, name = parse(given, Options(), with_worker=True) if named else (None, f"{__name__}:GenericHandler")
    module, _, attribute = (name or "").partition(":")
    source = sys.modules[__name__] if not named else importlib.import_module(module)
    handler = getattr(source, attribute, None)
    if handler is None:
        raise SystemExit(f"snakemux: {module} has no handler called {attribute!r}: name it, as in {module}:MyHandler")
    run(handler, given[1:] if named else given)


if __name__ == "__main__":
    main()
