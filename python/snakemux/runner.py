"""Runs calls on an event loop: sync handlers in a few threads, async ones in the loop. Knows nothing of gRPC."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any

from .call import Call, Outcome
from .codec import Encoded
from .context import logger
from .errors import Error, Failure

# Takes one chunk, and returns when the transport has taken it.
Send = Callable[[dict[str, Encoded]], Awaitable[None]]


class Runner:
    """A fixed number of slots for handlers; calls beyond it wait, first come, first served.

    A handler still running `stuck_grace` seconds after its call has ended is stuck: a thread can't be killed, so its
    slot stays taken, the stacks of all threads go to the log, and `healthy` is False once every slot is taken so.
    """

    def __init__(self, threads: int, max_concurrent: int, stuck_grace: float) -> None:
        self.threads = threads
        self.max_concurrent = max_concurrent
        self._stuck_grace = stuck_grace
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._async_slots = asyncio.Semaphore(max_concurrent)
        self._abandoned: dict[Call, asyncio.Future[Outcome]] = {}  # their callers are gone, their handlers still run
        self._stuck: set[Call] = set()

    @property
    def healthy(self) -> bool:
        """False if every thread, or every async slot, is held by a stuck handler."""
        stuck_async = sum(call.handler.is_async for call in self._stuck)
        return stuck_async < self.max_concurrent and len(self._stuck) - stuck_async < self.threads

    async def run(self, call: Call, send: Send | None = None) -> Outcome:
        """Runs one call to its end, its deadline, or the cancellation of this coroutine; never raises but for that.

        Of a stream every chunk goes through `send`, one at a time: the handler isn't asked for the next one before.
        """
        if send is None and call.handler.is_stream:
            error = Error("invalid_argument", f"{call.handler.name} is a stream: call it as one")
            return call.failure(error)
        running, abandon = self._begin(call, send and _ending(call, send))
        try:
            await asyncio.wait({running}, timeout=call.context.time_remaining())
        finally:
            if not running.done():
                call.context.end()
                abandon()
                self._watch(call, running)
        if running.done() and not running.cancelled():
            return running.result()
        return Failure("deadline_exceeded", f"{call.handler.name} didn't end before its deadline")

    async def close(self, grace: float = 1.0) -> bool:
        """Takes no more calls. False if a handler still runs after `grace` seconds: it ends with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._abandoned:
            await asyncio.wait(self._abandoned.values(), timeout=grace)
        return all(running.done() for running in self._abandoned.values())

    def _begin(self, call: Call, send: Send | None) -> tuple[asyncio.Future[Outcome], Callable[[], Any]]:
        """Starts or queues a handler: the future of its outcome, and what to call when nobody waits for it any more."""
        if call.handler.is_async:
            task = asyncio.create_task(self._run_in_loop(call, send))
            return task, task.cancel
        hatch = None if send is None else Hatch(send, asyncio.get_running_loop())
        thread = self._pool.submit(_run_in_thread, call, hatch)

        def abandon() -> None:
            thread.cancel()  # helps a call that still waits for its thread
            if hatch is not None:
                hatch.close()

        return asyncio.wrap_future(thread), abandon

    async def _run_in_loop(self, call: Call, send: Send | None) -> Outcome:
        async with self._async_slots:
            try:
                result = call.begin()
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

    def _watch(self, call: Call, running: asyncio.Future[Outcome]) -> None:
        """Keeps an eye on a handler whose call has ended before it."""
        self._abandoned[call] = running
        timer = asyncio.get_running_loop().call_later(self._stuck_grace, self._declare_stuck, call)

        def ended(_: object) -> None:
            timer.cancel()
            self._abandoned.pop(call, None)
            if call in self._stuck:
                self._stuck.discard(call)
                call.context.log.warning("is no longer stuck")

        running.add_done_callback(ended)

    def _declare_stuck(self, call: Call) -> None:
        self._stuck.add(call)
        threads = sum(not stuck.handler.is_async for stuck in self._stuck)
        call.context.log.error(
            "is stuck: it still runs %g s after its call ended; %d of %d threads are stuck; all threads' stacks follow",
            self._stuck_grace,
            threads,
            self.threads,
        )
        try:
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
        except (OSError, ValueError, AttributeError):  # stderr without a file descriptor
            logger.warning("no stacks: stderr is not a file")
        if threads >= self.threads and os.environ.get("SNAKEMUX_EXIT_WHEN_STUCK"):
            # Whoever started us has nobody who asks for our health, but starts us again.
            logger.error("no thread is left: the worker ends")
            os._exit(70)  # a stuck thread would hold up an orderly end for ever


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
            call.context.end()
            raise

    return send_or_end


def _run_in_thread(call: Call, hatch: Hatch | None) -> Outcome:
    try:
        result = call.begin()
        if hatch is None:
            return call.result(result)
        if not call.handler.is_stream:
            hatch.send(call.chunk(result))
            return {}
        with closing(result) as chunks:
            for chunk in chunks:
                hatch.send(call.chunk(chunk))
        return {}
    except BaseException as error:  # also SystemExit: it ends the call, not the worker
        return call.failure(error)
