"""Deadlines and cancellation of unary calls, and handlers that outlive them, over a real server."""

from collections.abc import Iterator

import grpc
import pytest
from client import Client, RemoteError, WorkerProcess, code_of, wait_until

HOLDS = ["hold", "hold_async"]


@pytest.mark.parametrize("command", HOLDS)
@pytest.mark.parametrize("times", [{"timeout": 0.2}, {"timeout": None, "timeout_ms": 200}])
def test_a_deadline_ends_the_call_and_the_handler(client: Client, command: str, times: dict[str, float]) -> None:
    name = f"deadline {command} {len(times)}"
    with pytest.raises((RemoteError, grpc.RpcError)) as caught:
        client.future(command, name=name, **times)()  # type: ignore[arg-type]
    assert code_of(caught.value) == "deadline_exceeded"
    # Which of the two the handler sees depends on whose clock was first, the caller's or the worker's.
    wait_until(lambda: set(client.marks(name)) & {"deadline_exceeded", "cancelled"}, "the end of the handler")


@pytest.mark.parametrize("command", HOLDS)
def test_cancelling_ends_the_handler(client: Client, command: str) -> None:
    name = f"cancel {command}"
    call = client.future(command, name=name)
    client.wait_for_mark(name, "running")
    call.cancel()
    client.wait_for_mark(name, "cancelled")


def test_a_call_that_waits_for_a_thread_past_its_deadline_never_runs(client: Client) -> None:
    holding = [client.future("hold", name=name) for name in ("w1", "w2")]
    client.wait_for_mark("w1", "running")
    client.wait_for_mark("w2", "running")
    with pytest.raises((RemoteError, grpc.RpcError)) as caught:
        client.future("hold", timeout=None, timeout_ms=100, name="w3")()
    assert code_of(caught.value) == "deadline_exceeded"

    for name in ("w1", "w2"):
        client.execute("release", name=name)
    assert [call() for call in holding] == ["w1", "w2"]
    assert client.execute("predict", x=[])["above"] == []  # a thread took its turn after it
    assert client.marks("w3") == []


@pytest.fixture
def impatient() -> Iterator[tuple[WorkerProcess, Client]]:
    """A worker with two threads, one async slot, and little patience with stuck handlers."""
    options = ["--threads", "2", "--max-concurrent", "3", "--stuck-grace", "0.2", "--stop-grace", "0.2"]
    with WorkerProcess(*options) as process:
        client = process.ready()
        yield process, client
        client.close()


def abandon(client: Client, command: str, name: str) -> None:
    with pytest.raises((RemoteError, grpc.RpcError)) as caught:
        client.future(command, timeout=None, timeout_ms=100, name=name)()
    assert code_of(caught.value) == "deadline_exceeded"


def test_a_stuck_handler_keeps_its_thread_and_shows_in_log_and_health(
    impatient: tuple[WorkerProcess, Client],
) -> None:
    process, client = impatient
    abandon(client, "hold_deaf", "s1")
    wait_until(lambda: "hold_deaf [r1] is stuck" in process.log_text(), "the report")
    wait_until(lambda: "in hold_deaf" in process.log_text(), "the stacks")
    assert "1 of 2 threads are stuck" in process.log_text()
    assert client.health().healthy
    assert client.execute("predict", x=[1.0])["above"] == [True]

    abandon(client, "hold_deaf", "s2")
    wait_until(lambda: not client.health().healthy, "bad health")

    client.execute("release", name="s1")
    wait_until(lambda: client.health().healthy, "good health")
    assert client.execute("predict", x=[1.0])["above"] == [True]
    wait_until(lambda: "hold_deaf [r1] is no longer stuck" in process.log_text(), "the report of its end")
    assert process.log_text().count("is stuck: it still runs") == 2
    client.execute("release", name="s2")


def test_async_handlers_get_stuck_too(impatient: tuple[WorkerProcess, Client]) -> None:
    process, client = impatient
    for name in ("a1", "a2"):
        abandon(client, "hold_async_deaf", name)
    wait_until(lambda: process.log_text().count("is stuck: it still runs") == 2, "the reports")
    assert client.health().healthy
    abandon(client, "hold_async_deaf", "a3")
    wait_until(lambda: not client.health().healthy, "bad health")


def test_health_answers_while_every_thread_spins(impatient: tuple[WorkerProcess, Client]) -> None:
    process, client = impatient
    spinning = [client.future("spin", name=name) for name in ("p1", "p2")]
    client.wait_for_mark("p1", "running")
    client.wait_for_mark("p2", "running")
    assert client.health(timeout=5).healthy  # within their deadline they are not stuck
    for call in spinning:
        call.cancel()
    wait_until(lambda: not client.health(timeout=5).healthy, "bad health")

    process.process.terminate()
    assert process.wait() == 0  # threads that never end don't hold up the end
    assert "a handler still runs: the process ends without it" in process.log_text()
