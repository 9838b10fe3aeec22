"""Unary calls, sessions, Health and GetInfo over a real server."""

import json
import os
from typing import Any

import grpc
import pytest
from client import Client, RemoteError, WorkerProcess, wait_until

import snakemux


def test_arguments_bind_by_name(client: Client) -> None:
    assert client.execute("predict", x=[0.2, 0.8], threshold=0.3)["above"] == [False, True]
    assert client.execute("predict", x=[0.4])["above"] == [False]
    assert client.execute("whole", anything=1, more=[2]) == {"anything": 1, "more": [2]}


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_the_answer_comes_in_the_codec_of_the_request(client: Client, codec: str) -> None:
    values: dict[str, Any] = {"n": 2**53, "text": "7", "none": None, "nested": {"list": [1, 2.5, "ü", True]}}
    assert client.execute("whole", codec=codec, **values) == values


def test_msgpack_keeps_bytes_apart_from_text(client: Client) -> None:
    assert client.execute("whole", data=b"\xff\x00", text="a") == {"data": b"\xff\x00", "text": "a"}


def test_a_first_generation_caller_gets_text_and_bytes_raw_and_the_rest_as_json(client: Client) -> None:
    assert client.execute("whole", codec=None, n=1, text="a")["text"] == b"a"
    assert client.execute("blob", codec=None, size=3) == {"blob": b"\0\0\0"}
    assert json.loads(client.execute("predict", codec=None, x=[1.0])["above"]) == [True]


def test_a_result_that_is_no_map_travels_under_the_value_key(client: Client) -> None:
    assert client.execute("double", x=21) == 42
    assert client.execute("double", codec=None, x=21) == b"42"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "predict: missing argument 'x' (it takes x, threshold)"),
        ({"x": [], "treshold": 1}, "predict: unknown argument 'treshold' (it takes x, threshold)"),
        ({"x": [], "ctx": 1}, "predict: unknown argument 'ctx' (it takes x, threshold)"),
    ],
)
def test_wrong_arguments_are_named(client: Client, args: dict[str, Any], message: str) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("predict", **args)
    assert (caught.value.code, caught.value.message) == ("invalid_argument", message)


def test_an_argument_that_cannot_be_decoded_is_named(client: Client) -> None:
    with pytest.raises(RemoteError) as caught:
        client.future("whole", codec=None, metadata=(("snakemux-codec", "msgpack"),), good=1, bad={"a": 1})()
    assert caught.value.code == "invalid_argument"
    assert caught.value.message.startswith("args.bad: not valid msgpack")


def test_an_unknown_codec_lists_those_there_are(client: Client) -> None:
    with pytest.raises(RemoteError, match="no codec 'cbor': this worker speaks msgpack, json"):
        client.future("whole", codec=None, metadata=(("snakemux-codec", "cbor"),))()


def test_an_unknown_command_lists_those_there_are(client: Client) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("predcit")
    assert caught.value.code == "unimplemented"
    assert "predict" in caught.value.message
    assert {"predict", "ping"} <= set(caught.value.story["details"]["commands"])


def test_an_error_travels_with_code_message_and_details(client: Client) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("refuse")
    assert caught.value.message == "no such model"
    assert caught.value.story == {
        "code": "not_found",
        "message": "no such model",
        "details": {"model": "m1", "known": ["m0"]},
    }


def test_an_exception_is_unknown_with_its_traceback_also_in_the_log(
    client: Client, shared_worker: WorkerProcess
) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("fail", text="shape (3,)")
    story = caught.value.story
    assert (caught.value.message, story["code"], story["type"]) == ("shape (3,)", "unknown", "ValueError")
    assert "raise ValueError(text)" in story["traceback"]
    assert "snakemux/call.py" not in story["traceback"]
    wait_until(lambda: "raise ValueError(text)" in shared_worker.log_text(), "the traceback in the log")


def test_a_huge_error_is_clipped(client: Client) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("fail", text="ü" * 100_000)
    assert caught.value.message.startswith("ü" * 30_000)
    assert len(caught.value.message.encode()) <= 64 * 1024
    assert caught.value.story["message"].endswith("…")
    assert "raise ValueError" in caught.value.story["traceback"] or caught.value.story["traceback"].startswith("…")


def test_an_error_whose_text_is_not_unicode_arrives(client: Client) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("fail", codec="json", text="\ud800!")
    assert (caught.value.code, caught.value.message) == ("unknown", "?!")


@pytest.mark.parametrize("command", ["leave", "leave_async"])
def test_sys_exit_ends_the_call_and_not_the_worker(client: Client, command: str) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute(command)
    assert caught.value.story["type"] == "SystemExit"
    assert client.execute("double", x=1) == 2


def test_a_result_that_cannot_be_encoded_is_named(client: Client) -> None:
    with pytest.raises(RemoteError, match=r"result.items\[2\].when: set can't be encoded as msgpack"):
        client.execute("unencodable")
    with pytest.raises(RemoteError, match=r"result.blob: bytes .* can't be encoded as json"):
        client.execute("blob", codec="json", size=1)


def test_a_stream_called_as_a_unary_call_says_so(client: Client) -> None:
    with pytest.raises(RemoteError, match="batches is a stream: call it as one"):
        client.execute("batches", items=[])


def test_the_context_tells_metadata_request_and_deadline(client: Client) -> None:
    told = client.future("metadata", metadata=(("x-user", "ada"),), name="x-user")()
    assert told == {"value": "ada", "request_id": "r1", "model": "loaded"}
    assert 19 < client.execute("predict", timeout=20, x=[])["remaining"] < 20.2  # gRPC rounds it up on the wire
    assert 4 < client.future("predict", timeout=20, timeout_ms=5000, x=[])()["remaining"] <= 5
    assert client.execute("predict", timeout=None, x=[])["remaining"] is None


def test_the_context_log_names_command_and_request(client: Client, shared_worker: WorkerProcess) -> None:
    client.execute("log", text="look here")
    wait_until(lambda: "WARNING snakemux: log [r1] look here" in shared_worker.log_text(), "the line in the log")


def test_prints_arrive_as_lines_at_once(client: Client, shared_worker: WorkerProcess) -> None:
    client.execute("say", text="from a handler")
    wait_until(lambda: "from a handler\n" in shared_worker.lines, "the printed line")
    assert "the model is loading\n" in shared_worker.lines


def test_sessions_are_kept_apart_and_freed(client: Client) -> None:
    assert [client.in_session("a", "count") for _ in range(3)] == [1, 2, 3]
    assert client.in_session("b", "count") == 1
    assert client.info().stats.active_sessions == 2

    assert client.in_session("a", "snakemux.end_session") == {"ended": True}
    assert client.in_session("a", "snakemux.end_session") == {"ended": False}
    assert client.marks("sessions") == ["a: 3"]
    assert client.in_session("a", "count") == 1
    for session in "ab":
        client.in_session(session, "snakemux.end_session")


def test_a_session_is_asked_for_by_name(client: Client) -> None:
    with pytest.raises(RemoteError) as caught:
        client.execute("count")
    assert (caught.value.code, caught.value.message) == (
        "failed_precondition",
        "count needs a session: call it in one",
    )


def test_the_commands_that_were_always_there(client: Client) -> None:
    ping = client.execute("ping", worker_id="p1", x=1)
    assert (ping["status"], ping["worker_id"], ping["echo"]) == ("ok", "p1", {"worker_id": "p1", "x": 1})
    assert client.execute("echo", message="hi")["echoed"] == {"message": "hi"}
    for operation, result in {"add": 8, "subtract": 2, "multiply": 15, "divide": 5 / 3}.items():
        answer = client.execute("compute", operation=operation, a=5, b=3)
        assert (answer["result"], answer["inputs"]) == (result, {"a": 5, "b": 3})
    assert client.execute("info")["bridge_info"]["name"] == "sample"
    with pytest.raises(RemoteError, match="invalid_argument: compute: division by zero"):
        client.execute("compute", operation="divide", a=1, b=0)
    with pytest.raises(RemoteError, match="compute: no operation 'power': choose add, subtract, multiply, divide"):
        client.execute("compute", operation="power")
    with pytest.raises(RemoteError, match="compute: a must be a number, not str"):
        client.execute("compute", a="1")


def test_get_info_announces_what_the_worker_can_do(client: Client) -> None:
    info = client.info()
    assert (info.worker_type, info.version) == ("python", "1.2.3")
    assert {"predict", "batches", "ping", "ping_stream"} <= set(info.supported_commands)
    assert not any(name.startswith("snakemux.") for name in info.supported_commands)
    assert dict(info.capabilities) == {
        "codecs": "msgpack,json",
        "max_concurrent": "100",
        "keepalive": "true",
        "sessions": "true",
        "server": os.environ.get("SNAKEMUX_SERVER", "native"),
        "version": snakemux.__version__,
    }
    assert info.stats.memory_usage_bytes > 1_000_000
    assert info.stats.cpu_usage_percent > 0


def test_health_counts_requests_and_errors(client: Client) -> None:
    before = client.health()
    with pytest.raises(RemoteError):
        client.execute("fail", text="")
    client.execute("double", x=1)
    after = client.health()
    assert after.healthy
    assert after.worker_id == "w1"
    assert after.uptime_ms >= before.uptime_ms > 0
    assert (after.total_requests - before.total_requests, after.total_errors - before.total_errors) == (2, 1)


def test_a_gzip_request_is_understood(client: Client) -> None:
    text = "snake" * 10_000
    assert client.future("whole", compression=grpc.Compression.Gzip, text=text)() == {"text": text}


def test_large_messages_go_both_ways(client: Client) -> None:
    data = bytes(20 * 1024 * 1024)
    assert client.execute("whole", data=data) == {"data": data}


def test_calls_beyond_the_threads_wait_their_turn(client: Client) -> None:
    first = [client.future("hold", name=name) for name in ("t1", "t2")]
    client.wait_for_mark("t1", "running")
    client.wait_for_mark("t2", "running")
    third = client.future("hold", name="t3")
    # The third waits, and nothing else does: async handlers, Health and GetInfo answer.
    assert client.execute("double", x=3) == 6
    assert client.health().healthy
    assert client.info().version == "1.2.3"
    assert client.marks("t3") == []

    for name in ("t3", "t1", "t2"):
        client.execute("release", name=name)
    assert [call() for call in first] == ["t1", "t2"]
    assert third() == "t3"
