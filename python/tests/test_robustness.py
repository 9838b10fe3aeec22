"""What handlers do to the process, and peers to the server: nothing of it ends a worker, or keeps it from its end."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from client import SERVICE, Client, RemoteError, WorkerProcess, code_of, wait_until
from test_process import worker_module

from snakemux import messages

NATIVE = os.environ.get("SNAKEMUX_SERVER", "native") == "native"
only_native = pytest.mark.skipif(not NATIVE, reason="grpc.aio can't: that is why there is a native server")

HANDLERS = """
import ctypes, multiprocessing, subprocess, time

@worker.command
def pid():
    return os.getpid()

@worker.command
def hold_the_gil(seconds: int):
    ctypes.PyDLL(None).sleep(seconds)

@worker.command
async def block_the_loop(seconds: float):
    time.sleep(seconds)

inside = 0

@worker.command
async def meet(count: int):
    global inside
    inside += 1
    while inside < count:
        await asyncio.sleep(0.01)
    return inside

@worker.command
def sleep(seconds: float):
    time.sleep(seconds)

@worker.command
def fork(seconds: float):
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)
        os._exit(7)
    return pid

@worker.command
def reap(pid: int):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

@worker.command
def fork_and_return():
    return os.fork()

@worker.command
def pool():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])

@worker.command
def run():
    return subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout

@worker.command
def ask(target: str):
    import grpc
    from snakemux import messages
    with grpc.insecure_channel(target) as channel:
        method = channel.unary_unary("/snakepit.SnakepitBridge/Health",
            messages.HealthRequest.SerializeToString, messages.HealthResponse.FromString)
        return method(messages.HealthRequest(worker_id="me"), timeout=10).worker_id

@worker.command
def descriptors():
    return len(os.listdir("/proc/self/fd"))
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[WorkerProcess]:
    options = ["--threads", "2", "--stuck-grace", "0.3", "--stall-after", "0.6", "--stop-grace", "0.3"]
    address = f"unix:{tmp_path}/socket"
    with WorkerProcess(*options, "--address", address, module="mine", env=worker_module(tmp_path, HANDLERS)) as process:
        yield process


@pytest.fixture
def worker(process: WorkerProcess) -> Iterator[Client]:
    client = process.ready()
    yield client
    client.close()


def connect(process: WorkerProcess) -> socket.socket:
    path = next(line for line in process.lines if "READY" in line).strip().split("unix:")[1]
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(15)
    connection.connect(path)
    return connection


def read_to_end(connection: socket.socket) -> None:
    """Raises TimeoutError if the peer doesn't close it."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass


@only_native
def test_a_fork_in_a_handler(worker: Client) -> None:
    child = worker.execute("fork", seconds=0.1)
    assert worker.execute("reap", pid=child) == 7
    assert worker.execute("pool") == [1, 2, 3]
    assert worker.execute("run") == "hi\n"
    assert worker.health().healthy


@only_native
def test_a_child_that_outlives_the_worker_does_not_hold_its_connections(worker: Client, process: WorkerProcess) -> None:
    connection = connect(process)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4))
    connection.recv(9)
    child = worker.execute("fork", seconds=60)
    process.process.kill()
    read_to_end(connection)
    os.kill(child, signal.SIGKILL)


@only_native
def test_a_child_that_comes_back_from_its_handler_ends(worker: Client, process: WorkerProcess) -> None:
    child = worker.execute("fork_and_return")
    assert child > 0  # the parent's answer; the child has nobody to answer to
    assert worker.execute("reap", pid=child) == 0
    assert worker.execute("pid") == process.process.pid


@only_native
def test_a_handler_may_use_grpc_itself(worker: Client, process: WorkerProcess) -> None:
    target = next(line for line in process.lines if "READY" in line).strip().split("=", 1)[1]
    assert [worker.execute("ask", target=target) for _ in range(3)] == ["me"] * 3
    child = worker.execute("fork", seconds=0)
    assert worker.execute("reap", pid=child) == 7
    assert worker.execute("ask", target=target) == "me"


@only_native
def test_health_tells_of_a_handler_that_holds_the_interpreter(worker: Client, process: WorkerProcess) -> None:
    within = worker.future("hold_the_gil", seconds=2, timeout=20.0)
    began = time.monotonic()
    while time.monotonic() < began + 1.5:
        assert worker.health(timeout=5).healthy  # within its deadline it is no stall
        time.sleep(0.05)
    within()

    call = worker.future("hold_the_gil", seconds=30, timeout=None, timeout_ms=100)
    wait_until(lambda: not worker.health(timeout=5).healthy, "bad health")
    assert worker.info().stats.requests_handled >= 2
    call.cancel()


@only_native
def test_health_tells_of_a_blocked_event_loop(worker: Client) -> None:
    within = worker.future("block_the_loop", seconds=1.5)
    began = time.monotonic()
    while time.monotonic() < began + 1.2:
        assert worker.health(timeout=5).healthy
        time.sleep(0.05)
    within()

    late = worker.future("block_the_loop", seconds=3, timeout=None, timeout_ms=100)
    wait_until(lambda: not worker.health(timeout=5).healthy, "bad health")
    with pytest.raises((RemoteError, grpc.RpcError)) as caught:
        late()
    assert code_of(caught.value) == "deadline_exceeded"
    wait_until(lambda: worker.health(timeout=5).healthy, "good health")


def test_a_call_that_ends_before_its_handler_begins_gives_its_slot_back(tmp_path: Path) -> None:
    env = worker_module(tmp_path, HANDLERS)
    with WorkerProcess("--port", "0", "--max-concurrent", "3", module="mine", env=env) as process:
        client = process.ready()
        blocking = client.future("block_the_loop", seconds=1)
        wait_until(lambda: client.health().total_requests == 1 or not NATIVE, "the call to come in")
        given_up = [client.future("block_the_loop", seconds=0) for _ in range(2)]
        wait_until(lambda: client.health().total_requests == 3 or not NATIVE, "the others")
        for call in given_up:
            call.cancel()
        blocking()
        meeting = [client.future("meet", count=3) for _ in range(3)]
        assert [call() for call in meeting] == [3, 3, 3]


def test_more_calls_than_threads_all_get_their_turn(worker: Client) -> None:
    calls = [worker.future("sleep", seconds=0.01) for _ in range(50)]
    assert [call() for call in calls] == [None] * 50


def test_a_blocking_handler_holds_nobody_up(worker: Client) -> None:
    blocked = worker.future("sleep", seconds=6)
    began = time.monotonic()
    for _ in range(20):
        worker.execute("pid")
    assert time.monotonic() - began < 5.9
    blocked()


def test_a_worker_that_nobody_calls_sleeps(worker: Client) -> None:
    pid = worker.execute("pid")

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(1)
    assert ticks() - before <= os.sysconf("SC_CLK_TCK") // 20


def test_sigterm_in_the_middle_of_streams() -> None:
    with WorkerProcess("--port", "0", "--stop-grace", "0.2") as process:
        client = process.ready()
        streams = [iter(client.stream(kind, name=kind, size=100)) for kind in ("flood", "flood_async") * 4]
        for stream in streams:
            next(stream)
        process.process.terminate()
        for stream in streams:
            with pytest.raises(grpc.RpcError):
                list(stream)
        assert process.wait() == 0
        assert process.lines[-1] == "stopped with loaded\n"


def test_no_descriptor_is_left_over(worker: Client, process: WorkerProcess) -> None:
    worker.execute("descriptors")
    before = worker.execute("descriptors")
    for _ in range(20):
        connect(process).close()
    wait_until(lambda: worker.execute("descriptors") <= before, "the sockets to be closed")


GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


# What grpc.aio says of a message that it can't parse.
BROKEN = grpc.StatusCode.INTERNAL if NATIVE else grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 64,
        GREETING + b"\xff" * 64,
        GREETING + bytes(3) + b"\x04\x00" + bytes(4) + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        GREETING + b"\x00\x00\x05\x01\x05\x00\x00\x00\x01" + b"\xff\xff\xff\xff\xff",
        GREETING + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01" + b"x" * 0x4001,
    ],
)
def test_garbage_ends_that_connection_only(worker: Client, process: WorkerProcess, garbage: bytes) -> None:
    connection = connect(process)
    connection.sendall(garbage)
    connection.shutdown(socket.SHUT_WR)
    read_to_end(connection)
    assert worker.execute("pid") == process.process.pid


def raw(client: Client, method: str, data: bytes, **options: object) -> bytes:
    answer: bytes = client.channel.unary_unary(method, None, None)(data, timeout=20, **options)  # type: ignore[arg-type]
    return answer


def status(client: Client, method: str, data: bytes) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        raw(client, method, data)
    code: grpc.StatusCode = caught.value.code()
    return code


def test_what_is_no_request_is_refused_with_its_status(worker: Client) -> None:
    execute = SERVICE + "Execute"
    assert status(worker, SERVICE + "Nothing", b"") is grpc.StatusCode.UNIMPLEMENTED
    assert status(worker, "/other.Service/Execute", b"") is grpc.StatusCode.UNIMPLEMENTED
    for broken in (b"\x0a", b"\x0a\x05ab", b"\x0a\x01\xff", b"\x12\x03\x0a\x05a", b"\x07", b"\xff" * 11):
        assert status(worker, execute, broken) is BROKEN
    assert status(worker, SERVICE + "Health", b"\x0a\x02\xff\xff") is BROKEN


def test_unknown_fields_are_skipped(worker: Client) -> None:
    request = messages.ExecuteRequest(command="pid", request_id="r").SerializeToString()
    unknown = b"\x98\x06\x01" + b"\xa1\x06" + bytes(8) + b"\xaa\x06\x02xy" + b"\xb5\x06" + bytes(4)
    answer = messages.ExecuteResponse.FromString(raw(worker, SERVICE + "Execute", unknown + request + unknown))
    assert (answer.success, answer.request_id) == (True, "r")


def test_a_gzip_bomb_is_refused() -> None:
    with WorkerProcess("--port", "0", "--max-message", "1MiB") as process:
        client = process.ready()
        with pytest.raises(grpc.RpcError) as caught:
            client.future("whole", compression=grpc.Compression.Gzip, data="x" * 3_000_000)()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1048576" in str(caught.value.details()) or not NATIVE
        assert client.execute("double", x=1) == 2


def test_binary_metadata_are_bytes(client: Client) -> None:
    for value in (b"", b"\x00", b"\xff\xfe", b"abc", bytes(range(256))):
        metadata = (("x-raw-bin", value),)
        assert client.future("metadata", metadata=metadata, name="x-raw-bin")()["value"] == value  # type: ignore[arg-type]


def test_a_command_that_is_registered_late_exists(tmp_path: Path) -> None:
    body = "@worker.command\ndef add():\n    worker.command(name='late')(lambda: 5)\n"
    with WorkerProcess("--port", "0", module="mine", env=worker_module(tmp_path, body)) as process:
        client = process.ready()
        client.execute("add")
        assert client.execute("late") == 5


def test_a_chunk_may_be_written_into_again(tmp_path: Path) -> None:
    body = (
        "@worker.command\ndef again(n: int):\n    buffer = bytearray(100_000)\n    for i in range(n):\n"
        "        buffer[:] = bytes([i]) * len(buffer)\n        yield {'data': buffer}\n"
    )
    with WorkerProcess("--port", "0", module="mine", env=worker_module(tmp_path, body)) as process:
        chunks = list(process.ready().stream("again", n=50))
        assert [set(chunk["data"]) for chunk in chunks] == [{i} for i in range(50)]
