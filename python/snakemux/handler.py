"""A function as a command: which kind it is, and how named arguments reach its parameters. Knows no server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from .context import Context
from .errors import Error


class Handler:
    """One command: `is_async` runs in the event loop, else in a thread; `is_stream` yields chunks."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        """Raises TypeError for a function whose parameters can't be given by name."""
        self.name = name
        self.function = function
        self.is_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)

        parameters = dict(inspect.signature(function).parameters)
        for parameter in parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise TypeError(f"{name}: arguments come by name, which {parameter} can't take")
        self._context = next((key for key, value in parameters.items() if _is_context(value)), None)
        parameters.pop(self._context or "", None)
        self._any = any(value.kind is value.VAR_KEYWORD for value in parameters.values())
        named = [value for value in parameters.values() if value.kind is not value.VAR_KEYWORD]
        self._names = [value.name for value in named]
        self._required = {value.name for value in named if value.default is value.empty}
        self._exact = None if self._any else frozenset(self._required)  # given just these, nothing need be checked
        self._whole = list(parameters) == ["args"] and not self._any

    def call(self, args: dict[str, Any], context: Callable[[], Context]) -> Any:
        """The function's result, or the coroutine, generator or async generator that gives it.

        `args` are the function's from now on; `context` is called only for a function that asks for it.
        Raises Error `invalid_argument`, naming an argument that is missing or unknown, and what the function raises.
        """
        if self._whole:
            args = {"args": args}
        elif args.keys() != self._exact:
            self._check(args)
        if self._context is not None:
            args[self._context] = context()
        return self.function(**args)

    def _check(self, args: Mapping[str, Any]) -> None:
        missing = self._required - args.keys()
        unknown = set() if self._any else args.keys() - self._names
        if self._context is not None and self._context in args:
            unknown = unknown | {self._context}
        if missing or unknown:
            what, names = ("missing", missing) if missing else ("unknown", unknown)
            listed = ", ".join(sorted(map(repr, names)))
            takes = ", ".join(self._names) or "none"
            plural = "s" if len(names) > 1 else ""
            raise Error("invalid_argument", f"{self.name}: {what} argument{plural} {listed} (it takes {takes})")


def _is_context(parameter: inspect.Parameter) -> bool:
    return parameter.name == "ctx" or parameter.annotation in (Context, "Context", "snakemux.Context")
