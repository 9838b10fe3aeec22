"""Runs calls on an event loop: sync handlers in a few threads, async ones in the loop. Knows nothing of gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .call import Call, Outcome, run_in_loop, run_in_thread
from .codec import Encoded
from .watch import Watch

# Takes one chunk, and returns when the transport has taken it.
Send = Callable[[dict[str, Encoded]], Awaitable[None]]


class Runner:
    """A fixed number of slots for handlers; calls beyond it wait, first come, first served.

    A handler that outlives its call keeps its slot; `healthy` is False once every slot is taken by stuck ones.
    """

    def __init__(self, threads: int, max_concurrent: int, stuck_grace: float) -> None:
        self.threads = threads
        self.max_concurrent = max_concurrent
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._async_slots = asyncio.Semaphore(max_concurrent)
        self._watch = Watch(threads, stuck_grace)

    @property
    def healthy(self) -> bool:
        """False if every thread, or every async slot, is held by a stuck handler."""
        return self._watch.stuck_async < self.max_concurrent and self._watch.stuck_threads < self.threads

    async def run(self, call: Call, send: Send | None = None) -> Outcome:
        """Runs one call to its end, its deadline, or the cancellation of this coroutine; never raises but for that.

        Of a stream every chunk goes through `send`, one at a time: the handler isn't asked for the next one before.
        """
        running, abandon = self._begin(call, send and _ending(call, send))
        try:
            await asyncio.wait({running}, timeout=call.context().time_remaining())
        finally:
            if not running.done():
                call.end()
                abandon()
                self._watch.begin(call)
                running.add_done_callback(lambda _: self._watch.end(call))
        if running.done() and not running.cancelled():
            return running.result()
        return call.overdue()

    async def close(self) -> bool:
        """Takes no more calls. False if a handler still runs after a while: it ends with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return await self._watch.close()

    def _begin(self, call: Call, send: Send | None) -> tuple[asyncio.Future[Outcome], Callable[[], Any]]:
        """Starts or queues a handler: the future of its outcome, and what to call when nobody waits for it any more."""
        if call.handler.is_async:
            task = asyncio.create_task(self._run_in_loop(call, send))
            return task, task.cancel
        hatch = None if send is None else Hatch(send, asyncio.get_running_loop())
        thread = self._pool.submit(run_in_thread, call, None if hatch is None else hatch.send)

        def abandon() -> None:
            thread.cancel()  # helps a call that still waits for its thread
            if hatch is not None:
                hatch.close()

        return asyncio.wrap_future(thread), abandon

    async def _run_in_loop(self, call: Call, send: Send | None) -> Outcome:
        async with self._async_slots:
            return await run_in_loop(call, send)


class Hatch:
    """Hands the chunks of a sync generator from its thread to the event loop, one at a time."""

    def __init__(self, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._loop = loop
        self._closed = False
        self._sending: asyncio.Task[Any] | None = None

    def send(self, chunk: dict[str, Encoded]) -> None:
        """Called in the generator's thread: returns when the transport has taken the chunk, raises if it won't."""
        asyncio.run_coroutine_threadsafe(self._pass_on(chunk), self._loop).result()

    def close(self) -> None:
        """Called in the loop: ends the send under way and refuses all later ones, so the generator ends."""
        self._closed = True
        if self._sending is not None:
            self._sending.cancel()

    async def _pass_on(self, chunk: dict[str, Encoded]) -> None:
        if self._closed:
            raise asyncio.CancelledError
        self._sending = asyncio.current_task()
        await self._send(chunk)


def _ending(call: Call, send: Send) -> Send:
    """`send`, but when it fails the call has ended: its handler's failure is then no news, and not logged."""

    async def send_or_end(chunk: dict[str, Encoded]) -> None:
        try:
            await send(chunk)
        except BaseException:
            call.end()
            raise

    return send_or_end
