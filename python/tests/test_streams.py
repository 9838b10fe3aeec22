"""Streams over a real server: order, errors, back-pressure, cancellation, deadlines."""

import asyncio
import itertools

import grpc
import pytest
from client import Client, RemoteError, code_of, wait_until

from snakemux import Worker, messages
from snakemux.aio import Bridge
from snakemux.options import Options
from snakemux.runner import Runner

KINDS = ["batches", "batches_async"]
FLOODS = ["flood", "flood_async"]


@pytest.mark.parametrize("command", KINDS)
@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_chunks_come_in_order(client: Client, command: str, codec: str) -> None:
    chunks = list(client.stream(command, codec=codec, items=list(range(100))))
    assert chunks == [{"item": number} for number in range(100)]


@pytest.mark.parametrize("size", [100, 10_000, 300_000])
@pytest.mark.parametrize("codec", ["msgpack", None])
@pytest.mark.parametrize("command", ["refill", "refill_async"])
def test_a_generator_may_fill_the_same_memory_again(client: Client, command: str, codec: str, size: int) -> None:
    chunks = list(client.stream(command, codec=codec, count=20, size=size))
    found = [chunk["data"] if command == "refill_async" else chunk for chunk in chunks]
    wanted = [bytes([number]) * size for number in range(20)]
    assert [data.encode() if isinstance(data, str) else data for data in found] == wanted


@pytest.mark.parametrize("command", KINDS)
def test_an_empty_stream_ends(client: Client, command: str) -> None:
    assert list(client.stream(command, items=[])) == []


@pytest.mark.parametrize("command", ["predict", "double"])
def test_a_unary_command_called_as_a_stream_gives_one_chunk(client: Client, command: str) -> None:
    args = {"x": 4} if command == "double" else {"x": [1.0]}
    assert len(list(client.stream(command, **args))) == 1


@pytest.mark.parametrize("command", ["break_off", "break_off_async"])
def test_an_exception_comes_after_the_chunks_before_it(client: Client, command: str) -> None:
    chunks = iter(client.stream(command, after=3))
    assert [next(chunks) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RemoteError) as caught:
        next(chunks)
    assert (caught.value.message, caught.value.story["type"]) == ("broken off", "ValueError")
    assert "traceback" in caught.value.story


@pytest.mark.parametrize("command", KINDS)
def test_wrong_arguments_are_named(client: Client, command: str) -> None:
    with pytest.raises(RemoteError, match=f"{command}: missing argument 'items'"):
        list(client.stream(command))


def test_an_unknown_command_lists_those_there_are(client: Client) -> None:
    with pytest.raises(RemoteError, match="no command 'nope': there are report"):
        list(client.stream("nope"))


def test_a_chunk_that_cannot_be_encoded_is_named(client: Client) -> None:
    with pytest.raises(RemoteError, match=r"chunk.data: bytes .* can't be encoded as json"):
        list(client.stream("flood", codec="json", name="unencodable", size=1))
    client.wait_for_mark("unencodable", "closed")


def test_ping_stream(client: Client) -> None:
    chunks = list(client.stream("ping_stream", count=3, interval=0.001))
    assert [(chunk["index"], chunk["count"]) for chunk in chunks] == [(0, 3), (1, 3), (2, 3)]
    assert len(list(client.stream("ping_stream", interval=0))) == 5


def test_a_stream_in_a_session(client: Client) -> None:
    assert len(list(client.stream("batches", session="s", items=[1, 2]))) == 2


@pytest.mark.parametrize("command", FLOODS)
def test_a_consumer_that_stops_stops_the_generator(client: Client, command: str) -> None:
    name = f"stopped {command}"
    chunks = iter(client.stream(command, name=name, size=64 * 1024))
    for _ in range(3):
        next(chunks)
    held = settled(client, name)
    assert held < 256  # what the windows and buffers hold, not more
    assert client.health().healthy

    for _ in range(held):
        next(chunks)
    assert client.count(name) > held  # and it goes on when the consumer does
    del chunks


@pytest.mark.parametrize("command", FLOODS)
def test_cancelling_closes_the_generator(client: Client, command: str) -> None:
    name = f"cancelled {command}"
    stream = client.stream(command, name=name, size=1024)
    assert len(list(itertools.islice(stream, 10))) == 10
    stream.cancel()
    client.wait_for_mark(name, "closed")


@pytest.mark.parametrize("command", FLOODS)
def test_a_deadline_closes_the_generator(client: Client, command: str) -> None:
    name = f"late {command}"
    with pytest.raises((RemoteError, grpc.RpcError)) as caught:
        list(client.stream(command, timeout=0.3, name=name, size=1024))
    assert code_of(caught.value) == "deadline_exceeded"
    client.wait_for_mark(name, "closed")


@pytest.mark.parametrize("command", FLOODS)
def test_a_deadline_that_only_the_request_tells_ends_the_stream(client: Client, command: str) -> None:
    name = f"told {command}"
    with pytest.raises((RemoteError, grpc.RpcError)) as caught:
        list(client.stream(command, timeout_ms=300, name=name, size=1024))
    assert code_of(caught.value) == "deadline_exceeded"
    client.wait_for_mark(name, "closed")


@pytest.mark.parametrize("command", FLOODS)
def test_a_deadline_frees_the_handler_of_a_consumer_that_stopped(client: Client, command: str) -> None:
    name = f"stopped and late {command}"
    stream = client.stream(command, timeout_ms=500, name=name, size=64 * 1024)
    chunks = iter(stream)
    next(chunks)
    client.wait_for_mark(name, "closed")
    with pytest.raises(grpc.RpcError) as caught:
        list(chunks)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_deadline_that_the_consumer_kept_first_is_no_news() -> None:
    """Its stream is gone when the worker's own timer fires: there is nobody to answer, and nothing to log."""

    class Gone:
        def invocation_metadata(self) -> tuple[()]:
            return ()

        def time_remaining(self) -> float:
            return 0.05

        def set_trailing_metadata(self, metadata: object) -> None:
            pass

        async def write(self, message: object) -> None:
            await asyncio.Event().wait()

        async def abort(self, code: object, details: str) -> None:
            raise grpc.aio.InternalError("the call has ended")

    async def stream() -> None:
        options = Options(threads=1)
        worker = Worker()
        bridge = Bridge(worker, Runner(1, 1, 10.0), options)
        await bridge._execute_stream(messages.ExecuteRequest(command="ping_stream"), Gone())

    asyncio.run(stream())


def settled(client: Client, name: str) -> int:
    """How many chunks were made once no more are: the same number twenty polls long."""
    last, same = -1, 0

    def still() -> bool:
        nonlocal last, same
        count = client.count(name)
        same = same + 1 if count == last else 0
        last = count
        return same >= 20

    wait_until(still, "the generator to stop")
    return last
