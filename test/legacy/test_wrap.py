"""`snakemux wrap`: one worker of the old kind as a gRPC worker."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support import LEGACY_WORKER, PROGRAM, Client, FailedError, is_alive, wait_until

from snakemux import messages


class Wrap:
    def __init__(self, address: str, *worker: str, options: tuple[str, ...] = (), stdin: int = subprocess.PIPE) -> None:
        command = [PROGRAM, "wrap", "--address", address, *options, "--", *(worker or LEGACY_WORKER)]
        self.process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True)
        self.client = Client(address)

    def close(self) -> None:
        self.client.channel.close()
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


@pytest.fixture
def wrap() -> Iterator[Callable[..., Wrap]]:
    started: list[Wrap] = []
    with tempfile.TemporaryDirectory(prefix="smx", dir="/tmp") as path:

        def start(*worker: str, **more: Any) -> Wrap:
            started.append(Wrap(f"unix:{path}/{len(started)}", *worker, **more))
            return started[-1]

        yield start
        for one in started:
            one.close()


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return str(caught.value.code().name)


@pytest.mark.parametrize(
    ("arguments", "options", "codec"),
    [
        ([], (), "msgpack"),
        (["--protocol", "json"], (), "json"),
        (["--old"], (), "json"),
        ([], ("--protocol", "json"), "json"),
        (["--old"], ("--protocol", "msgpack"), "msgpack"),
    ],
)
def test_it_announces_what_was_negotiated(
    wrap: Any, arguments: list[str], options: tuple[str, ...], codec: str
) -> None:
    one = wrap(*LEGACY_WORKER, *arguments, options=options)
    assert one.process.stdout.readline().startswith("GRPC_SERVER_READY_ON_ADDRESS=unix:")
    announced = one.client.capabilities()
    assert announced["codecs"] == codec
    assert announced["max_concurrent"] == "1"
    assert one.client.healthy()
    assert one.client.execute("echo", {"x": [1, None]}, codec)["echoed"] == {"x": [1, None]}


def test_results_and_errors(wrap: Any) -> None:
    client = wrap().client
    assert client.execute("value", {"value": 42}) == 42
    assert client.execute("value", {"value": {"a": b"\xff"}}) == {"a": b"\xff"}
    assert client.execute("compute", {"a": 1, "b": 0, "operation": "divide"})["error"] == "Division by zero"
    assert client.execute("nope", {})["status"] == "error"
    with pytest.raises(FailedError, match=r"^no: é$"):
        client.execute("fail", {"text": "no: é"})


def test_a_client_that_names_no_codec_is_read_as_the_first_generation_wrote(wrap: Any) -> None:
    client = wrap().client
    request = messages.ExecuteRequest(command="echo", args={"n": b"1", "s": b"plain text", "raw": b"\xff"})
    answer = client.rpc("Execute", request, messages.ExecuteResponse, wait_for_ready=True)
    assert not answer.success  # bytes can't be sent in JSON
    request = messages.ExecuteRequest(command="echo", args={"n": b"1", "s": b"plain text"})
    answer = client.rpc("Execute", request, messages.ExecuteResponse)
    assert answer.result["status"] == b'"ok"'


def test_in_a_session_it_is_the_same_command(wrap: Any) -> None:
    request = messages.SessionRequest(session_id="s", command="echo", args={})
    answer = wrap().client.rpc("ExecuteInSession", request, messages.ExecuteResponse, wait_for_ready=True)
    assert answer.success


def test_streams_are_unimplemented_in_words(wrap: Any) -> None:
    client = wrap().client
    stream = client.channel.unary_stream(
        "/snakepit.SnakepitBridge/ExecuteStream",
        messages.ExecuteRequest.SerializeToString,
        messages.StreamResponse.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(stream(messages.ExecuteRequest(command="ping_stream"), wait_for_ready=True, timeout=20))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "can't stream" in caught.value.details()
    assert code_of(lambda: client.rpc("Nope", messages.InfoRequest(), messages.InfoResponse)) == "UNIMPLEMENTED"


def test_one_request_at_a_time(wrap: Any) -> None:
    client = wrap().client
    client.healthy()
    begun = time.monotonic()
    threads = [threading.Thread(target=client.execute, args=("sleep", {"seconds": 0.2})) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert client.healthy()  # answered meanwhile
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun >= 0.8


def test_a_caller_that_gives_up_frees_its_place_in_the_queue(wrap: Any) -> None:
    client = wrap().client
    client.healthy()
    assert code_of(lambda: client.execute("sleep", {"seconds": 3}, timeout=0.5)) == "DEADLINE_EXCEEDED"
    assert code_of(lambda: client.execute("echo", {}, timeout=0.5)) == "DEADLINE_EXCEEDED"  # it is still busy
    assert client.execute("echo", {"x": 1})["echoed"] == {"x": 1}  # and the late answer is nobody's


def test_a_worker_that_stays_busy_for_nobody_is_unhealthy(wrap: Any) -> None:
    client = wrap(options=("--stuck-grace", "200")).client
    assert client.healthy()
    assert code_of(lambda: client.execute("sleep", {"seconds": 3}, timeout=0.5)) == "DEADLINE_EXCEEDED"
    wait_until(lambda: not client.healthy(), "an unhealthy worker")
    wait_until(client.healthy, "a healthy one")


def test_an_unknown_codec_is_refused(wrap: Any) -> None:
    client = wrap().client
    client.healthy()
    assert code_of(lambda: client.execute("echo", {}, "yaml")) == "INVALID_ARGUMENT"


def test_large_values(wrap: Any) -> None:
    client = wrap(options=("--max-message", "40MiB")).client
    assert len(client.execute("value", {"value": b"x" * (30 << 20)})) == 30 << 20
    with pytest.raises((FailedError, grpc.RpcError), match="max-message"):
        client.execute("bytes", {"size": 60 << 20, "binary": True})
    assert client.execute("echo", {})["echoed"] == {}


def test_it_ends_with_its_worker(wrap: Any) -> None:
    one = wrap()
    one.client.healthy()
    assert code_of(lambda: one.client.execute("leave", {})) == "UNAVAILABLE"
    assert one.process.wait(10) == 1


@pytest.mark.parametrize("how", ["eof", "term", "kill"])
def test_the_worker_ends_with_it(wrap: Any, how: str) -> None:
    one = wrap()
    pid = one.client.execute("sleep", {"seconds": 0})["pid"]
    threading.Thread(target=code_of, args=(lambda: one.client.execute("sleep", {"seconds": 60}),)).start()
    if how == "eof":
        one.process.stdin.close()
    else:
        one.process.send_signal(signal.SIGTERM if how == "term" else signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "the end of the worker", 5)
    one.process.wait(10)


def test_with_dev_null_as_stdin_it_goes_on(wrap: Any) -> None:
    one = wrap(stdin=subprocess.DEVNULL)
    pid = one.client.execute("sleep", {"seconds": 0})["pid"]
    one.process.terminate()
    assert one.process.wait(10) == 0
    wait_until(lambda: not is_alive(pid), "the end of the worker", 5)


def test_a_worker_that_cannot_start(tmp_path: Path) -> None:
    command = [PROGRAM, "wrap", "--address", f"unix:{tmp_path}/w", "--", "/no/such/program"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == 127
    assert "/no/such/program" in ended.stderr


def test_an_address_that_cannot_be_had(wrap: Any) -> None:
    command = [PROGRAM, "wrap", "--address", "unix:/no/such/dir/w", "--", *LEGACY_WORKER]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert "can't listen" in ended.stderr
