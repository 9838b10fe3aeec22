"""One request on its way through its handler: decode, call, encode. Runs in any thread or loop; knows no server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Request:
    """What came over the wire; `timeout` is in seconds, None for no deadline."""

    command: str
    args: Mapping[str, bytes | memoryview] = field(default_factory=dict)
    request_id: str = ""
    session_id: str | None = None
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    timeout: float | None = None


class Call:
    """One request and its handler."""

    def __init__(self, worker: Worker, request: Request, options: Options) -> None:
        """Raises Error for a command or a codec that the worker doesn't have."""
        self.request = request
        self.handler = worker.handler(request.command)
        name = request.metadata.get(CODEC_KEY)
        self.codec = codec.choose(name.decode() if isinstance(name, bytes) else name)
        self.context = Context(
            request.command,
            request_id=request.request_id,
            session_id=request.session_id,
            metadata=request.metadata,
            timeout=request.timeout,
            sessions=worker.sessions,
        )
        self._options = options

    def begin(self) -> Any:
        """Calls the handler with the decoded arguments: its result, coroutine or generator, or what it raises."""
        return self.handler.call(self.codec.decode(self.request.args), self.context)

    def result(self, value: Any) -> dict[str, codec.Encoded]:
        """The handler's result as it is sent. Raises Error if it can't be encoded or is too large."""
        return self._encode(value, "result")

    def chunk(self, value: Any) -> dict[str, codec.Encoded]:
        """One chunk as it is sent. Raises Error if it can't be encoded or is too large."""
        return self._encode(value, "chunk")

    def failure(self, exception: BaseException) -> Failure:
        """What to answer to an exception; the log gets the traceback of one that the handler didn't choose."""
        if not isinstance(exception, Error) and not self.context.cancelled:
            self.context.log.error("failed", exc_info=(type(exception), exception, own_frames(exception)))
        return Failure.of(exception, self._options.traceback)

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
