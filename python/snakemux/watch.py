"""The watch over handlers that outlive their calls: whatever server runs them."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys

from .call import Call
from .context import logger


class Watch:
    """Keeps an eye on handlers whose calls have ended before them; used in the event loop only.

    A handler still running `stuck_grace` seconds after its call has ended is stuck: a thread can't be killed, so its
    slot stays taken, and the stacks of all threads go to the log.
    """

    def __init__(self, threads: int, stuck_grace: float) -> None:
        self._threads = threads
        self._stuck_grace = stuck_grace
        self._abandoned: dict[Call, asyncio.TimerHandle] = {}
        self._stuck: set[Call] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()

    @property
    def stuck_threads(self) -> int:
        """How many threads are held by stuck handlers."""
        return len(self._stuck) - self.stuck_async

    @property
    def stuck_async(self) -> int:
        """How many async handlers are stuck."""
        return sum(call.handler.is_async for call in self._stuck)

    def begin(self, call: Call) -> None:
        """The call has ended, its handler has not."""
        self._all_ended.clear()
        timer = asyncio.get_running_loop().call_later(self._stuck_grace, self._declare_stuck, call)
        self._abandoned[call] = timer

    def end(self, call: Call) -> None:
        """The handler has ended as well."""
        timer = self._abandoned.pop(call, None)
        if timer is not None:
            timer.cancel()
        if call in self._stuck:
            self._stuck.discard(call)
            call.context().log.warning("is no longer stuck")
        if not self._abandoned:
            self._all_ended.set()

    async def close(self, grace: float = 1.0) -> bool:
        """False if a handler still runs after `grace` seconds: it ends with the process."""
        try:
            await asyncio.wait_for(self._all_ended.wait(), grace)
        except TimeoutError:
            return False
        return True

    def _declare_stuck(self, call: Call) -> None:
        self._stuck.add(call)
        call.context().log.error(
            "is stuck: it still runs %g s after its call ended; %d of %d threads are stuck; all threads' stacks follow",
            self._stuck_grace,
            self.stuck_threads,
            self._threads,
        )
        try:
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
        except (OSError, ValueError, AttributeError):  # stderr without a file descriptor
            logger.warning("no stacks: stderr is not a file")
        if self.stuck_threads >= self._threads and os.environ.get("SNAKEMUX_EXIT_WHEN_STUCK"):
            # Whoever started us has nobody who asks for our health, but starts us again.
            logger.error("no thread is left: the worker ends")
            os._exit(70)  # a stuck thread would hold up an orderly end for ever
