"""Real frames of the old pool, replayed: the answers have the shape that the old workers gave."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from support import GENERIC, HERE, Old

# What is not the same in two runs, or names who answers.
VOLATILE = {
    "timestamp",
    "uptime",
    "requests_handled",
    "total_requests",
    "python_version",
    "platform",
    "version",
    "name",
}


def cases() -> dict[str, list[tuple[str, bytes]]]:
    found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for line in Path(HERE / "frames.jsonl").read_text().splitlines():
        frame = json.loads(line)
        found[frame["case"]].append((frame["direction"], bytes.fromhex(frame["payload_hex"])))
    return found


CASES = cases()
PYTHON = [
    case
    for case in CASES
    if "JavaScript" not in case
    and "V1 bridge" not in case
    and "first frame is a ping" not in case
    and "broken" not in case
]


def read(frame: bytes) -> Any:
    return json.loads(frame) if frame[:1] == b"{" else msgpack.unpackb(frame)


def shape(value: Any, key: str = "") -> Any:
    """The value with what is volatile by its type; bytes that are UTF-8 are text, as the old side has one kind only."""
    if key in VOLATILE:
        return "number" if isinstance(value, (int, float)) else type(value).__name__
    if isinstance(value, dict):
        return {name: shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


@pytest.mark.parametrize("case", PYTHON)
def test_answers_have_the_shape_of_the_old_ones(case: str, old: Callable[..., Old]) -> None:
    front = old("legacy", "--mode", "pool-worker", "--", *GENERIC)
    asked: dict[Any, bytes] = {}
    frames = CASES[case]
    for index, (direction, payload) in enumerate(frames):
        if direction == "to_worker":
            front.send_frame(payload)
            asked[read(payload).get("id")] = payload
            if index + 1 == len(frames) or frames[index + 1][0] != "from_worker":
                front.next_frame()  # the capture has no answer to it
            continue
        answer = front.next_frame()
        assert (answer[:1] == b"{") == (payload[:1] == b"{"), "the encoding is that of the request"
        assert answer[0] != 0x83
        assert shape(read(answer)) == shape(read(payload))


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_javascript_operation_is_an_error_of_the_python_handler(encoding: str, old: Callable[..., Old]) -> None:
    front = old("legacy", "--", *GENERIC).ready()
    assert front.result("compute", {"operation": "power", "a": 2, "b": 3}, encoding)["status"] == "error"


def test_what_cannot_be_read_is_dropped_and_the_rest_goes_on(old: Callable[..., Old]) -> None:
    front = old("legacy", "--", *GENERIC).ready()
    for payload in (b"not json", b"[]", b"[1]", b"", b"\x93\x01", b'{"x":1,', b"{}x"):
        front.send_frame(payload)
    assert front.result("echo", {"x": 1})["echoed"] == {"x": 1}


def test_a_broken_request_with_an_id_is_answered(old: Callable[..., Old]) -> None:
    front = old("legacy", "--", *GENERIC).ready()
    front.send_frame(b'{"args":{"x":NaN},"command":"echo","id":77,"timestamp":"t"}')
    answer = front.answer()
    assert answer["id"] == 77
    assert answer["success"] is False
    front.send_frame(b"\x84\xa4args\xc1\xa7command\xa4echo\xa2id\x4d\xa9timestamp\xa1t")
    assert front.answer("msgpack")["id"] == 77


@pytest.mark.parametrize("wide", [1, 127, 128, 65536, 2**32, 2**53 + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_id_of_any_width_comes_back(wide: int, encoding: str, front: Old) -> None:
    front._ids = wide - 1
    assert front.call("echo", {}, encoding)["id"] == wide


def test_negotiation(front: Old) -> None:
    def negotiate(**fields: Any) -> str:
        request = {"type": "protocol_negotiation", "supported": ["msgpack", "json"], "preferred": "msgpack", **fields}
        front.send_frame(json.dumps(request, separators=(",", ":")).encode())
        answer = front.answer()
        assert answer["type"] == "protocol_selected"
        return str(answer["protocol"])

    assert negotiate() == "msgpack"
    assert negotiate(preferred="json") == "json"
    assert negotiate(supported=["json"]) == "json"


def test_a_worker_fixed_to_json_selects_it(old: Callable[..., Old]) -> None:
    front = old("legacy", "--protocol", "json", "--quiet", "--", *GENERIC)
    front.send_frame(b'{"type":"protocol_negotiation","supported":["msgpack","json"],"preferred":"msgpack"}')
    assert front.answer()["protocol"] == "json"
