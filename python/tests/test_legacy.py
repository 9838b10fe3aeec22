"""Handlers of stdin/stdout workers, served unchanged."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snakemux import legacy
from snakemux.codec import MSGPACK, join
from snakemux.legacy import BaseCommandHandler, GenericHandler, LegacyWorker
from snakemux.testing import call, started


class Shop(BaseCommandHandler):
    def _register_commands(self) -> None:
        self.register_command("price", lambda args: {"status": "ok", "price": 3 * args["count"]})
        self.register_command("seen", lambda args: repr(args))

    def process_command(self, command: str, args: Any) -> Any:
        result = super().process_command(command, args)
        return result | {"shop": True} if isinstance(result, dict) else result


@pytest.fixture
def shop() -> LegacyWorker:
    return LegacyWorker(Shop())


def test_the_examples_of_the_documentation() -> None:
    assert doctest.testmod(legacy).failed == 0


def test_commands_go_through_process_command(shop: LegacyWorker) -> None:
    with started(shop):
        assert call(shop, "price", count=2) == {"status": "ok", "price": 6, "shop": True}


def test_an_unknown_command_is_a_result_with_status_error(shop: LegacyWorker) -> None:
    with started(shop):
        result = call(shop, "nope")
    assert result["error"] == "Unknown command: nope"
    assert result["supported_commands"] == ["price", "seen"]


def test_what_it_raises_is_a_failed_call(shop: LegacyWorker) -> None:
    with started(shop), pytest.raises(KeyError, match="count"):
        call(shop, "price")


def test_ping_is_there_for_a_handler_without_one(shop: LegacyWorker) -> None:
    assert shop.commands == ["price", "seen", "ping"]
    assert LegacyWorker(GenericHandler()).commands == ["ping", "echo", "compute", "info"]
    with started(shop):
        assert call(shop, "ping")["status"] == "ok"


def test_arguments_are_seen_as_the_old_workers_saw_them(shop: LegacyWorker) -> None:
    handler = shop.handler("seen")
    packed = join(MSGPACK.encode({"text": "é".encode(), "bytes": b"\xff", "list": [b"a", {"k": b"v"}]}))
    seen = handler.function(args=MSGPACK.decode(packed))
    assert seen == "{'text': 'é', 'bytes': b'\\xff', 'list': ['a', {'k': 'v'}]}"
    assert handler.function(args={"snakemux.value": [1, 2]}) == "[1, 2]"


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ({"a": 5, "b": 3}, 8),
        ({"operation": "subtract", "a": 5, "b": 3}, 2),
        ({"operation": "multiply", "a": 5, "b": 3}, 15),
        ({"operation": "divide", "a": 5, "b": 2}, 2.5),
        ({}, 0),
    ],
)
def test_the_generic_compute(args: dict[str, Any], result: float) -> None:
    answer = GenericHandler().process_command("compute", args)
    assert answer["result"] == result
    assert answer["inputs"] == {"a": args.get("a", 0), "b": args.get("b", 0)}


def test_the_generic_compute_answers_errors_as_results() -> None:
    for args, text in (
        ({"operation": "divide", "b": 0}, "Division by zero"),
        ({"operation": "pow"}, "Unsupported operation: pow"),
    ):
        answer = GenericHandler().process_command("compute", args)
        assert (answer["status"], answer["error"]) == ("error", text)


def test_a_base_class_without_commands_says_what_to_do() -> None:
    with pytest.raises(NotImplementedError, match="_register_commands"):
        BaseCommandHandler()


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    command = [sys.executable, "-m", "snakemux.legacy", "mine:Nope"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "mine has no handler called 'Nope'" in ended.stderr
