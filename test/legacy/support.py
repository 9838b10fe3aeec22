"""What the tests share: the old pool's side of a worker, a client of gRPC workers, and conditions to wait for."""

from __future__ import annotations

import base64
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import msgpack

from snakemux import messages

HERE = Path(__file__).resolve().parent
PRIV = HERE.parent.parent / "priv"
PROGRAM = os.environ.get("SNAKEMUX_PROGRAM", str(PRIV / "snakemux"))
LEGACY_WORKER = [sys.executable, str(HERE / "legacy_worker.py")]
GENERIC = [sys.executable, "-m", "snakemux.legacy", "--address", "{address}"]
SAMPLE = [sys.executable, "-m", "snakemux", "legacy_sample:worker", "--address", "{address}"]
SERVICE = "/snakepit.SnakepitBridge/"
NOW = "2025-07-20T23:29:34.123456Z"


def wait_until(condition: Callable[[], Any], what: str = "the condition", timeout: float = 20.0) -> Any:
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.01)
    return value


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Old:
    """A worker process as the old pool opens it: frames on stdin and stdout."""

    def __init__(self, *argv: str, name: str | None = None, env: dict[str, str] | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(HERE), **(env or {})}
        self.process = subprocess.Popen(
            [name or PROGRAM, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        self._ids = 0
        self._bytes = b""

    def send_frame(self, payload: bytes) -> None:
        assert self.process.stdin
        data = memoryview(struct.pack(">I", len(payload)) + payload)
        while data:
            data = data[self.process.stdin.write(data) :]

    def next_frame(self, timeout: float = 25.0) -> bytes:
        size = struct.unpack(">I", self._take(4, timeout))[0]
        return self._take(size, timeout)

    def is_silent(self, seconds: float) -> bool:
        return not select.select([self.process.stdout], [], [], seconds)[0]

    def _take(self, size: int, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        parts = [self._bytes]
        have = len(self._bytes)
        while have < size:
            assert select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0], "no answer came"
            assert self.process.stdout
            part = self.process.stdout.read(1 << 20)
            if not part:
                raise EOFError
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._bytes = whole[size:]
        return whole[:size]

    def ask(self, command: str, args: Any, codec: str = "json") -> int:
        """Sends a request as the old pool does, and returns its id."""
        self._ids += 1
        request = {"args": args, "command": command, "id": self._ids, "timestamp": NOW}
        if codec == "json":
            self.send_frame(json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode())
        else:
            self.send_frame(
                msgpack.packb(request, use_bin_type=codec != "old msgpack", unicode_errors="surrogateescape")
            )
        return self._ids

    def answer(self, codec: str = "json", timeout: float = 25.0) -> dict[str, Any]:
        frame = self.next_frame(timeout)
        assert frame[0] != 0x83, "the old side takes it for an Erlang term"
        if codec == "json":
            return json.loads(frame, parse_constant=pytest_fail)
        return msgpack.unpackb(frame, strict_map_key=False)

    def call(self, command: str, args: Any, codec: str = "json", timeout: float = 25.0) -> dict[str, Any]:
        wanted = self.ask(command, args, codec)
        answer = self.answer(codec, timeout)
        assert answer["id"] == wanted
        return answer

    def result(self, command: str, args: Any, codec: str = "json") -> Any:
        answer = self.call(command, args, codec)
        assert answer["success"] is True, answer
        return answer["result"]

    def ready(self) -> Old:
        assert self.result("ping", {"initialization": True, "worker_id": "pool_worker_1_4"})["status"] == "ok"
        return self

    def close(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()


def pytest_fail(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


class FailedError(Exception):
    """A call whose answer says success = false."""


class Client:
    """A gRPC client, as any caller would write it."""

    def __init__(self, target: str) -> None:
        limit = 300 << 20
        self.channel = grpc.insecure_channel(
            target,
            [
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def rpc(self, method: str, request: Any, answer: Any, timeout: float = 20.0, **more: Any) -> Any:
        call = self.channel.unary_unary(SERVICE + method, type(request).SerializeToString, answer.FromString)
        return call(request, timeout=timeout, **more)

    def execute(self, command: str, args: dict[str, Any], codec: str | None = "msgpack", timeout: float = 20.0) -> Any:
        dump = msgpack.packb if codec == "msgpack" else lambda value: json.dumps(value).encode()
        load = (lambda b: msgpack.unpackb(b, strict_map_key=False)) if codec == "msgpack" else json.loads
        request = messages.ExecuteRequest(command=command, args={key: dump(value) for key, value in args.items()})
        metadata = (("snakemux-codec", codec),) if codec else ()
        answer = self.rpc("Execute", request, messages.ExecuteResponse, timeout, metadata=metadata, wait_for_ready=True)
        if not answer.success:
            raise FailedError(answer.error)
        values = {key: load(value) for key, value in answer.result.items()}
        return values["snakemux.value"] if values.keys() == {"snakemux.value"} else values

    def capabilities(self) -> dict[str, str]:
        request = messages.InfoRequest(include_capabilities=True)
        return dict(self.rpc("GetInfo", request, messages.InfoResponse, wait_for_ready=True).capabilities)

    def healthy(self) -> bool:
        return bool(self.rpc("Health", messages.HealthRequest(), messages.HealthResponse, wait_for_ready=True).healthy)


def jsonable(value: Any) -> Any:
    """Bytes can't stand in JSON: callers of the old pool sent them as Base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
