"""What the tests use to start workers and to call them: a plain gRPC client, as any caller would write it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import msgpack

from snakemux import messages

HERE = Path(__file__).resolve().parent
# The library that workers use, and what else they run with: how a sanitizer gets into them.
LIBRARY = Path(os.environ.get("SNAKEMUX_TEST_LIBRARY", HERE.parent))
WORKER_PYTHON = os.environ.get("SNAKEMUX_TEST_PYTHON", sys.executable)
WORKER_ENV = dict(item.split("=", 1) for item in os.environ.get("SNAKEMUX_TEST_ENV", "").split())
READY = "GRPC_SERVER_READY_ON_"
SERVICE = "/snakepit.SnakepitBridge/"


def wait_until(condition: Callable[[], Any], what: str = "the condition", timeout: float = 15.0) -> Any:
    """Polls until `condition` gives something true, and returns it."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.01)


class RemoteError(Exception):
    """A failed call: `code`, `message`, and what the worker said beside."""

    def __init__(self, message: str, story: dict[str, Any]) -> None:
        super().__init__(f"{story.get('code')}: {message}")
        self.message = message
        self.story = story
        self.code: str = story.get("code", "")


def code_of(error: BaseException) -> str:
    """The code of a failed call, whoever was first to say it: the worker in its answer, or gRPC in the status."""
    if isinstance(error, RemoteError):
        return error.code
    assert isinstance(error, grpc.RpcError)
    status: str = error.code().name.lower()
    return status


class Client:
    """One channel to a worker."""

    def __init__(self, target: str, options: list[tuple[str, int]] | None = None) -> None:
        max_message = 64 * 1024 * 1024
        given = [
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_send_message_length", max_message),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self.channel = grpc.insecure_channel(target, given + (options or []))

    def close(self) -> None:
        self.channel.close()

    def execute(self, command: str, /, codec: str | None = "msgpack", timeout: float | None = 20.0, **args: Any) -> Any:
        return self.future(command, codec, timeout, **args)()

    def in_session(self, session: str, command: str, /, **args: Any) -> Any:
        return self.future(command, session=session, **args)()

    def future(
        self,
        command: str,
        codec: str | None = "msgpack",
        timeout: float | None = 20.0,
        timeout_ms: int = 0,
        session: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
        compression: grpc.Compression | None = None,
        **args: Any,
    ) -> Pending:
        """Starts a call; the result is had by calling what is returned."""
        request, method = self._request(command, codec, timeout_ms, session, args, "Execute")
        start = self.channel.unary_unary(
            SERVICE + method, request.SerializeToString, messages.ExecuteResponse.FromString
        )
        call = start.future(request, timeout=timeout, metadata=_metadata(codec, metadata), compression=compression)
        return Pending(call, codec)

    def stream(
        self,
        command: str,
        codec: str | None = "msgpack",
        timeout: float | None = 20.0,
        timeout_ms: int = 0,
        session: str | None = None,
        **args: Any,
    ) -> Stream:
        request, method = self._request(command, codec, timeout_ms, session, args, "Execute")
        start = self.channel.unary_stream(
            SERVICE + method + "Stream", request.SerializeToString, messages.StreamResponse.FromString
        )
        return Stream(start(request, timeout=timeout, metadata=_metadata(codec)), codec)

    def health(self, timeout: float = 20.0) -> Any:
        method = self.channel.unary_unary(
            SERVICE + "Health", messages.HealthRequest.SerializeToString, messages.HealthResponse.FromString
        )
        return method(messages.HealthRequest(worker_id="w1"), timeout=timeout)

    def info(self) -> Any:
        method = self.channel.unary_unary(
            SERVICE + "GetInfo", messages.InfoRequest.SerializeToString, messages.InfoResponse.FromString
        )
        return method(messages.InfoRequest(include_capabilities=True, include_stats=True), timeout=20)

    def marks(self, name: str) -> list[str]:
        """What a handler of the sample worker said of itself."""
        marks: list[str] = self.execute("report", name=name)["marks"]
        return marks

    def count(self, name: str) -> int:
        count: int = self.execute("report", name=name)["count"]
        return count

    def wait_for_mark(self, name: str, mark: str) -> None:
        wait_until(lambda: mark in self.marks(name), f"{mark!r} in the marks of {name}")

    @staticmethod
    def _request(
        command: str, codec: str | None, timeout_ms: int, session: str | None, args: dict[str, Any], method: str
    ) -> tuple[Any, str]:
        data = {key: dump(codec, value) for key, value in args.items()}
        if session is None:
            return messages.ExecuteRequest(command=command, args=data, timeout_ms=timeout_ms, request_id="r1"), method
        request = messages.SessionRequest(
            session_id=session, command=command, args=data, timeout_ms=timeout_ms, request_id="r1"
        )
        return request, method + "InSession"


class Pending:
    """A call under way."""

    def __init__(self, call: Any, codec: str | None) -> None:
        self.call = call
        self.codec = codec

    def __call__(self) -> Any:
        answer = self.call.result()
        if not answer.success:
            raise RemoteError(answer.error, _story(self.call))
        assert answer.request_id == "r1"
        return _values(answer.result, self.codec)

    def cancel(self) -> None:
        self.call.cancel()


class Stream:
    """A stream under way: iterate over it for its chunks; an in-band error is raised."""

    def __init__(self, call: Any, codec: str | None) -> None:
        self.call = call
        self.codec = codec

    def __iter__(self) -> Iterator[Any]:
        for index, message in enumerate(self.call):
            assert message.chunk_index == index
            assert message.request_id == "r1"
            if message.is_final:
                assert list(self.call) == []
                assert not message.chunk
                if message.error:
                    raise RemoteError(message.error, _story(self.call))
                return
            yield _values(message.chunk, self.codec)
        raise AssertionError("a stream without an end")

    def cancel(self) -> None:
        self.call.cancel()


class WorkerProcess:
    """A worker in its own process; `address` is told by its readiness line."""

    def __init__(self, *args: str, module: str = "sample_worker", env: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._ready: queue.Queue[str] = queue.Queue()
        path = os.pathsep.join([str(LIBRARY), str(HERE)])
        self.process = subprocess.Popen(
            [WORKER_PYTHON, "-m", "snakemux", module, *args],
            env={**os.environ, "PYTHONPATH": path, **(env or {}), **WORKER_ENV},
            cwd=LIBRARY,  # which Python searches first
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.wait()
        if kind is not None:
            print("".join(self.log))  # pytest shows it beside the failure

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line)
            if line.startswith(READY):
                self._ready.put(line.strip())
        self._ready.put("")

    def ready(self) -> Client:
        """Waits for the readiness line and connects."""
        line = self._ready.get(timeout=20)
        assert line, "the worker ended before it was ready:\n" + "".join(self.log)
        return Client(line.split("=", 1)[1] if "ADDRESS" in line else f"127.0.0.1:{line.split('=')[1]}")

    def wait(self, timeout: float = 20.0) -> int:
        """The exit code, once the process has ended and its output is read."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def log_text(self) -> str:
        return "".join(self.log)


def dump(codec: str | None, value: Any) -> bytes:
    if codec == "msgpack":
        packed: bytes = msgpack.packb(value)
        return packed
    return json.dumps(value).encode()


def load(codec: str | None, data: bytes) -> Any:
    if codec is None:
        return data
    return msgpack.unpackb(data) if codec == "msgpack" else json.loads(data)


def _values(fields: Any, codec: str | None) -> Any:
    values = {key: load(codec, data) for key, data in fields.items()}
    return values["snakemux.value"] if values.keys() == {"snakemux.value"} else values


def _metadata(codec: str | None, more: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[str, str], ...]:
    return more if codec is None else (("snakemux-codec", codec), *more)


def _story(call: Any) -> dict[str, Any]:
    trailing = dict(call.trailing_metadata() or ())
    story: dict[str, Any] = msgpack.unpackb(trailing["snakemux-error-bin"])
    return story
