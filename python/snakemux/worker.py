"""The worker: its commands and hooks, its state and its sessions. Any server can run it; it knows none."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar, overload

from .context import Context
from .errors import Error
from .handler import Handler
from .options import Options
from .session import Sessions

Function = TypeVar("Function", bound=Callable[..., Any])

END_SESSION = "snakemux.end_session"  # reserved: how a caller ends a session


class Worker:
    """A set of commands that callers can run, and what they share.

    `name` and `version` are announced to callers. `defaults` are the options of the command line by their long names,
    with underscores (`threads=1`, `stuck_grace=30.0`), used where the command line says nothing.
    Raises TypeError for an option that doesn't exist.
    """

    def __init__(self, name: str = "python", version: str = "", **defaults: Any) -> None:
        from .builtin import commands  # the built-in commands are handlers of this very worker

        self.name = name
        self.version = version
        self.defaults = Options(**defaults)
        self.state = SimpleNamespace()
        self.sessions = Sessions()
        self.stats = Stats()
        self.announce: Callable[[], None] = lambda: None  # of its server, which is told of every new command
        self._builtin = {key: Handler(key, function) for key, function in commands(self).items()}
        self._commands: dict[str, Handler] = {}
        self._end_session = Handler(END_SESSION, self._run_session_end)
        self._on_start: list[Callable[[], Any]] = []
        self._on_stop: list[Callable[[], Any]] = []
        self._on_session_end: list[Callable[[str, dict[str, Any]], Any]] = []

    @overload
    def command(self, function: Function) -> Function: ...
    @overload
    def command(self, *, name: str | None = None) -> Callable[[Function], Function]: ...
    def command(self, function: Any = None, *, name: str | None = None) -> Any:
        """Makes a function a command, under its own name or `name`; a generator, sync or async, is a stream.

        Arguments bind by name; a parameter `ctx` gets the `Context`; a single parameter `args` takes all arguments as
        a dict. Sync functions run in threads, async ones in the event loop, which they must not block.
        Raises ValueError if the name is taken or reserved, TypeError for parameters that can't be given by name.
        """

        def register(function: Function) -> Function:
            key = name or function.__name__
            if key in self._commands:
                raise ValueError(f"there is a command {key!r} already")
            if key.startswith("snakemux."):
                raise ValueError(f"the name {key!r} is reserved")
            self._commands[key] = Handler(key, function)
            self.announce()
            return function

        return register if function is None else register(function)

    def on_start(self, function: Function) -> Function:
        """Runs a function, sync or async, before the worker is ready; if it raises, the worker ends."""
        self._on_start.append(function)
        return function

    def on_stop(self, function: Function) -> Function:
        """Runs a function, sync or async, after the last call of a worker that was asked to stop."""
        self._on_stop.append(function)
        return function

    def on_session_end(self, function: Function) -> Function:
        """Runs a function of (session_id, session), sync or async, when a caller's session has ended."""
        self._on_session_end.append(function)
        return function

    @property
    def commands(self) -> list[str]:
        """The names of all commands, the built-in ones last."""
        return [*self._commands, *(key for key in self._builtin if key not in self._commands)]

    @property
    def is_threaded(self) -> bool:
        """True if all commands of its own need a thread, so that more calls than threads would only wait."""
        return bool(self._commands) and not any(handler.is_async for handler in self._commands.values())

    def handler(self, command: str) -> Handler:
        """The handler of a command. Raises Error `unimplemented`, listing the commands there are."""
        handler = self._commands.get(command) or self._builtin.get(command)
        if handler is not None:
            return handler
        if command == END_SESSION:
            return self._end_session
        commands = self.commands
        raise Error("unimplemented", f"no command {command!r}: there are {', '.join(commands)}", {"commands": commands})

    async def start(self) -> None:
        """Runs the `on_start` functions in their order; called by the server, in the main thread."""
        for function in self._on_start:
            await _result(function())

    async def stop(self) -> None:
        """Runs the `on_stop` functions, the last one first; called by the server, in the main thread."""
        for function in reversed(self._on_stop):
            await _result(function())

    async def _run_session_end(self, ctx: Context) -> dict[str, Any]:
        if ctx.session_id is None:
            raise Error("invalid_argument", f"{END_SESSION} needs a session")
        session = self.sessions.end(ctx.session_id)
        if session is not None:
            for function in self._on_session_end:
                await _result(function(ctx.session_id, session))
        return {"ended": session is not None}

    def run(self, argv: Sequence[str] | None = None) -> None:
        """Serves until SIGTERM or SIGINT, with the options in `argv` (default: the command line); ends the process.

        See `python -m snakemux --help` for the options.
        """
        from .command_line import run

        run(self, argv)


class Stats:
    """What a worker has done since it began; counted by its server, which may bring a counter of its own."""

    def __init__(self, counts: Callable[[], tuple[int, int]] | None = None) -> None:
        self.started = time.monotonic()
        self._begun = self._failed = 0
        self._counts = counts or (lambda: (self._begun, self._failed))

    def begin(self) -> None:
        """Counts a request."""
        self._begun += 1

    def fail(self) -> None:
        """Counts a request that failed."""
        self._failed += 1

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return self._counts()[0]

    @property
    def errors(self) -> int:
        """How many of them failed."""
        return self._counts()[1]

    @property
    def uptime(self) -> float:
        """Seconds since the worker began."""
        return time.monotonic() - self.started


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
