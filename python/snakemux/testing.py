"""Runs the commands of a worker in a test, without a server and without a port."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .call import CODEC_KEY, Call, Request
from .codec import CODECS, VALUE_KEY, Codec, Encoded, join
from .worker import Worker


def call(
    worker: Worker,
    command: str,
    /,
    _session: str | None = None,
    _timeout: float | None = None,
    _metadata: Mapping[str, str | bytes] | None = None,
    _codec: str = next(iter(CODECS)),
    **args: Any,
) -> Any:
    """Runs one command: its result, or for a stream the list of all its chunks, as a caller would receive them.

    Arguments and results go through the codec, so that what can't be sent fails here as well. `_session` is a session
    id, `_timeout` in seconds. Raises what the handler raises, and Error for wrong arguments or unknown commands.
    Don't call it from a running event loop.
    """
    codec = CODECS[_codec]
    request = Request(
        command=command,
        args=join({key: codec.encode({key: value}, "args")[key] for key, value in args.items()}),
        request_id="test",
        session_id=_session,
        metadata={**(_metadata or {}), CODEC_KEY: codec.name},
        timeout=_timeout,
    )
    return asyncio.run(_run(Call(worker, request, worker.defaults), codec))


@contextmanager
def started(worker: Worker) -> Iterator[Worker]:
    """Runs the worker's `on_start` functions, and its `on_stop` functions at the end. Raises what they raise."""
    asyncio.run(worker.start())
    try:
        yield worker
    finally:
        asyncio.run(worker.stop())


async def _run(call: Call, codec: Codec) -> Any:
    value = call.begin()
    if call.handler.is_stream:
        return [_received(call.chunk(chunk), codec) async for chunk in _chunks(value)]
    return _received(call.result(await value if inspect.isawaitable(value) else value), codec)


async def _chunks(value: Any) -> AsyncIterator[Any]:
    if inspect.isasyncgen(value):
        async for chunk in value:
            yield chunk
    else:
        for chunk in value:
            yield chunk


def _received(encoded: Mapping[str, Encoded], codec: Codec) -> Any:
    values = codec.decode(join(encoded))
    return values[VALUE_KEY] if values.keys() == {VALUE_KEY} else values
