"""Serves a worker with the extension in C: threads and a loop for its handlers. Needs no grpc, no protobuf."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from . import _native, lifecycle
from .call import Call, Outcome, run_in_loop, run_in_thread
from .codec import Encoded
from .errors import CODES, Error, Failure
from .options import Options
from .version import __version__
from .watch import Watch
from .worker import END_SESSION, Stats, Worker

FAIRNESS = 16  # chunks
STATUS = {name: number for number, name in enumerate(CODES, 1)}


class NativeServer:
    """The server of `snakemux.lifecycle`. What is said on the wire, and Health, is the extension's."""

    name = "native"

    def __init__(self, worker: Worker, options: Options) -> None:
        self._worker = worker
        self._options = options
        self._watch = Watch(options.threads, options.stuck_grace)
        self._tasks: dict[_native.Call, asyncio.Task[None]] = {}
        self._rooms: dict[_native.Call, asyncio.Future[None]] = {}
        self._idle = asyncio.Event()
        self._telling = threading.Lock()

    def listen(self) -> int:
        """Takes the address: the port. Raises OSError."""
        options = self._options
        self._server = _native.Server(
            options.address,
            options.threads,
            options.max_concurrent,
            options.max_message,
            options.stuck_grace,
            options.stall_after,
        )
        self._worker.stats = Stats(lambda: self._server.counts)
        return self._server.port

    async def start(self) -> None:
        """Begins to serve."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._server.fileno(), self._take_events)
        self._worker.announce = self._tell
        self._tell()
        self._server.start(__version__)
        for number in range(self._options.threads):
            threading.Thread(target=self._work, name=f"handler_{number}", daemon=True).start()

    def _tell(self) -> None:
        """Has the commands that there are now routed and announced."""
        worker = self._worker
        with self._telling:  # else what another thread knew before could come last
            commands = {name: worker.handler(name).is_async for name in (*worker.commands, END_SESSION)}
            announced = lifecycle.capabilities(worker, self._options, self.name)
            self._server.tell(commands, _info(worker), b"".join(_entries(4, announced)))

    async def stop(self, grace: float) -> bool:
        """Lets running calls go on for `grace` seconds. False if a handler still runs that can't be ended."""
        self._server.drain()
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            self._server.cancel()
            self._take_events()
        idle = await self._watch.close()
        self._loop.remove_reader(self._server.fileno())
        self._server.close()
        return idle

    # In a thread of its own.

    def _work(self) -> None:
        take = self._server.take
        while (request := take()) is not None:
            call = self._begin(request)
            if call is not None:
                outcome = run_in_thread(call, _send_in_thread(call, request) if request.is_stream else None)
                if self._finish(request, outcome):
                    self._loop.call_soon_threadsafe(self._watch.end, call)
            del request, call  # nothing of the last call is kept while there is no next one

    # In the event loop.

    def _take_events(self) -> None:
        for kind, request, is_running, is_late in self._server.events():
            if kind == "start":
                self._tasks[request] = self._loop.create_task(self._run(request))
            elif kind == "room":
                room = self._rooms.pop(request, None)
                if room is not None and not room.done():
                    room.set_result(None)
            elif kind == "end":
                self._end(request, is_running, is_late)
            elif kind == "route":
                self._route(request)
            else:
                self._idle.set()

    async def _run(self, request: _native.Call) -> None:
        call = self._begin(request)
        if call is not None:
            outcome = await run_in_loop(call, _send_in_loop(self, request) if request.is_stream else None)
            if self._finish(request, outcome):
                self._watch.end(call)
        self._tasks.pop(request, None)
        self._rooms.pop(request, None)

    def room(self, request: _native.Call) -> asyncio.Future[None]:
        """Ends when the stream may send on."""
        room = self._rooms[request] = self._loop.create_future()
        return room

    def _end(self, request: _native.Call, is_running: bool, is_late: bool) -> None:
        """Nobody waits for the call any more: its handler shall know, and ends, or is watched."""
        call: Call | None = request.owner
        if call is not None:
            call.end()
        if is_late:
            failure = Failure("deadline_exceeded", f"{request.command} didn't end before its deadline")
            request.expire(STATUS[failure.code], failure.message, failure.metadata())
        task = self._tasks.get(request)
        if task is not None and call is not None:  # else it has not begun: `_begin` will see
            task.cancel()
        if is_running and call is not None:
            self._watch.begin(call)

    def _route(self, request: _native.Call) -> None:
        """A command that was not announced: it may exist all the same."""
        try:
            request.route(self._worker.handler(request.command).is_async)
        except Error as error:
            self._finish(request, Failure.of(error))

    # In both.

    def _begin(self, request: _native.Call) -> Call | None:
        """None for a call whose handler shall not run."""
        try:
            call = Call(self._worker, request, self._options)
        except Error as error:
            self._finish(request, Failure.of(error))
            return None
        request.owner = call
        if request.has_ended:  # from now on `_end` finds the call
            if self._finish(request, call.overdue()):
                self._loop.call_soon_threadsafe(self._watch.end, call)
            return None
        return call

    def _finish(self, request: _native.Call, outcome: Outcome) -> bool:
        """True if the call had ended before its handler."""
        if request.session_id is not None:
            self._server.set_sessions(len(self._worker.sessions))
        if isinstance(outcome, Failure):
            return request.fail(STATUS[outcome.code], outcome.message, outcome.metadata())
        return request.finish(outcome)


class _Gone(Exception):  # noqa: N818
    """Raised where a chunk can't be sent any more: the generator is closed."""


def _send_in_thread(call: Call, request: _native.Call) -> Any:
    send, wait_room = request.send, request.wait_room

    def send_or_end(chunk: Mapping[str, Encoded]) -> None:
        if (not send(chunk) and not wait_room()) or request.has_ended:
            call.end()
            raise _Gone

    return send_or_end


def _send_in_loop(server: NativeServer, request: _native.Call) -> Any:
    sent = 0

    async def send(chunk: Mapping[str, Encoded]) -> None:
        nonlocal sent
        sent += 1
        if not request.send(chunk):
            await server.room(request)
        elif sent % FAIRNESS == 0:
            await asyncio.sleep(0)  # a generator that never waits would keep the loop to itself

    return send


def _info(worker: Worker) -> bytes:
    """An InfoResponse without capabilities and statistics: protobuf is not needed for so little."""
    fields = [_field(1, "python"), _field(2, worker.version or __version__)]
    fields += [_field(3, command) for command in worker.commands]
    return b"".join([*fields, *_entries(6, lifecycle.system_info())])


def _entries(number: int, texts: Mapping[str, str]) -> Iterable[bytes]:
    """A map<string, string>."""
    return (_field(number, _field(1, key) + _field(2, text)) for key, text in texts.items())


def _field(number: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
