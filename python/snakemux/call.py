"""One request on its way through its handler: decode, call, encode. Runs in any thread or loop; knows no server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import codec
from .context import Context
from .errors import Error, Failure, own_frames
from .options import Options
from .worker import Worker

CODEC_KEY = "snakemux-codec"

# What a message takes beside its keys and values, at most: per entry, and once.
_ENTRY_BYTES = 32
_MESSAGE_BYTES = 256

# What a call ends with: its result (of a stream nothing, the chunks went before), or why there is none.
Outcome = dict[str, codec.Encoded] | Failure


class Incoming(Protocol):
    """What came over the wire; `timeout` is in seconds, None for no deadline. Each server has its own."""

    @property
    def command(self) -> str: ...  # noqa: D102
    @property
    def args(self) -> Mapping[str, bytes | memoryview]: ...  # noqa: D102
    @property
    def request_id(self) -> str: ...  # noqa: D102
    @property
    def session_id(self) -> str | None: ...  # noqa: D102
    @property
    def metadata(self) -> Mapping[str, str | bytes]: ...  # noqa: D102
    @property
    def codec(self) -> str | None: ...  # noqa: D102
    @property
    def timeout(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Request:
    """A request that is plain data."""

    command: str
    args: Mapping[str, bytes | memoryview] = field(default_factory=dict)
    request_id: str = ""
    session_id: str | None = None
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    timeout: float | None = None

    @property
    def codec(self) -> str | None:
        """The codec that the caller asks for, if it does."""
        name = self.metadata.get(CODEC_KEY)
        return name.decode() if isinstance(name, bytes) else name


class Call:
    """One request and its handler."""

    __slots__ = ("_context", "_has_ended", "_options", "_worker", "codec", "handler", "request")

    def __init__(self, worker: Worker, request: Incoming, options: Options) -> None:
        """Raises Error for a command or a codec that the worker doesn't have."""
        self.request = request
        self.handler = worker.handler(request.command)
        self.codec = codec.choose(request.codec)
        self._worker = worker
        self._options = options
        self._context: Context | None = None
        self._has_ended = False

    def context(self) -> Context:
        """What its handler, or the log, wants to know about it; made when it is first asked for."""
        if self._context is None:
            request = self.request
            self._context = Context(
                request.command,
                request_id=request.request_id,
                session_id=request.session_id,
                metadata=request.metadata,
                timeout=request.timeout,
                sessions=self._worker.sessions,
            )
            if self._has_ended:
                self._context.end()
        return self._context

    def end(self) -> None:
        """Says that nobody waits for it any more; called by the server, from any thread."""
        self._has_ended = True
        if self._context is not None:
            self._context.end()

    def begin(self) -> Any:
        """Calls the handler with the decoded arguments: its result, coroutine or generator, or what it raises."""
        return self.handler.call(self.codec.decode(self.request.args), self.context)

    def begin_unary(self) -> Any:
        """The same for a caller that wants one answer. Raises Error for a stream."""
        if self.handler.is_stream:
            raise Error("invalid_argument", f"{self.handler.name} is a stream: call it as one")
        return self.begin()

    def result(self, value: Any) -> dict[str, codec.Encoded]:
        """The handler's result as it is sent. Raises Error if it can't be encoded or is too large."""
        return self._encode(value, "result")

    def chunk(self, value: Any) -> dict[str, codec.Encoded]:
        """One chunk as it is sent. Raises Error if it can't be encoded or is too large."""
        return self._encode(value, "chunk")

    def failure(self, exception: BaseException) -> Failure:
        """What to answer to an exception; the log gets the traceback of one that the handler didn't choose."""
        if not isinstance(exception, Error) and not self.context().cancelled:
            self.context().log.error("failed", exc_info=(type(exception), exception, own_frames(exception)))
        return Failure.of(exception, self._options.traceback)

    def overdue(self) -> Failure:
        """What to answer when its deadline comes before its handler has ended."""
        return Failure("deadline_exceeded", f"{self.request.command} didn't end before its deadline")

    def _encode(self, value: Any, where: str) -> dict[str, codec.Encoded]:
        encoded = self.codec.encode(value, where)
        size = _MESSAGE_BYTES
        for key, data in encoded.items():
            size += len(key) + _ENTRY_BYTES + (sum(map(len, data)) if isinstance(data, list) else len(data))
        if size > self._options.max_message:
            limit = self._options.max_message
            parts = "smaller chunks" if where == "chunk" else "parts, as a stream"
            text = f"{where} of {size} bytes exceeds max_message, {limit} bytes: raise it, or send {parts}"
            raise Error("resource_exhausted", text, {"size": size, "max_message": limit})
        return encoded


def run_in_thread(call: Call, send: Callable[[dict[str, codec.Encoded]], Any] | None) -> Outcome:
    """Runs a sync handler to its end. Of a stream every chunk goes through `send` before the next one is asked for."""
    try:
        result = call.begin() if send else call.begin_unary()
        if send is None:
            return call.result(result)
        if not call.handler.is_stream:
            send(call.chunk(result))
            return {}
        with closing(result) as chunks:
            for chunk in chunks:
                send(call.chunk(chunk))
        return {}
    except BaseException as error:  # also SystemExit: it ends the call, not the worker
        return call.failure(error)


async def run_in_loop(call: Call, send: Callable[[dict[str, codec.Encoded]], Awaitable[Any]] | None) -> Outcome:
    """The same with an async handler."""
    try:
        result = call.begin() if send else call.begin_unary()
        if send is None:
            return call.result(await result)
        if not call.handler.is_stream:
            await send(call.chunk(await result))
            return {}
        async with aclosing(result) as chunks:
            async for chunk in chunks:
                await send(call.chunk(chunk))
        return {}
    except BaseException as error:  # also SystemExit, which would end the loop
        return call.failure(error)
