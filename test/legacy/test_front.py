"""The life of a front: its worker starts late, dies, hangs, is not there at all; its owner goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import GENERIC, HERE, PRIV, PROGRAM, SAMPLE, Client, Old, is_alive, wait_until

Start = Callable[..., Old]


def test_the_first_ping_waits_for_the_worker(old: Start) -> None:
    front = old("legacy", "--", *SAMPLE, env={"LOAD_SECONDS": "0.5"})
    begun = time.monotonic()
    result = front.result("ping", {"initialization": True, "worker_id": "w"})
    assert time.monotonic() - begun >= 0.5
    assert result["bridge_type"] == "sample"
    assert result["echo"] == {"initialization": True, "worker_id": "w"}


def test_a_ping_of_the_workers_own_need_not_know_the_old_pool(old: Start, tmp_path: Path) -> None:
    source = "import snakemux\n\nworker = snakemux.Worker()\nworker.command(name='ping')(lambda **_args: 'pong')\n"
    (tmp_path / "own.py").write_text(source)
    command = [sys.executable, "-m", "snakemux", "own:worker", "--address", "{address}"]
    front = old("legacy", "--", *command, env={"PYTHONPATH": str(tmp_path)}).ready()
    assert front.result("ping", {"health_check": True}, "msgpack")["status"] == "ok"
    assert front.result("ping", {}) == "pong"


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_the_first_ping_is_answered_in_time_without_a_worker(old: Start, encoding: str) -> None:
    front = old("legacy", "--ready-timeout", "300", "--", "sleep", "60", "{address}")
    result = front.result("ping", {"initialization": True, "worker_id": "w"}, encoding)
    assert result["status"] == "ok"
    assert result["worker_id"] == "w"
    assert result["worker_state"] != "ready"
    assert result["echo"] == {"initialization": True, "worker_id": "w"}


def test_a_call_waits_for_a_worker_that_starts_and_is_answered_before_the_pool_gives_up(old: Start) -> None:
    front = old("legacy", "--timeout", "300", "--", "sleep", "60", "{address}")
    answer = front.call("echo", {})
    assert answer["success"] is False
    assert "--timeout (300 ms)" in answer["error"]


def test_a_hung_call_is_answered_at_the_timeout_and_the_front_goes_on(old: Start) -> None:
    front = old("legacy", "--timeout", "2000", "--", *SAMPLE).ready()
    answer = front.call("sleep", {"seconds": 30})
    assert answer["success"] is False
    assert "--timeout (2000 ms)" in answer["error"]
    assert front.result("echo", {"x": 1})["echoed"] == {"x": 1}


def test_a_worker_with_no_thread_left_is_replaced(old: Start) -> None:
    front = old("legacy", "--timeout", "2000", "--", *SAMPLE, "--threads", "1", "--stuck-grace", "0.2").ready()
    assert front.call("sleep", {"seconds": 600})["success"] is False
    wait_until(lambda: front.call("echo", {"x": 1})["success"], "a new worker")
    assert front.result("echo", {"x": 1})["echoed"] == {"x": 1}


def test_health_pings_are_answered_while_an_execution_runs(old: Start) -> None:
    front = old("legacy", "--", *GENERIC[:3], "slow_handler:Slow", *GENERIC[3:]).ready()
    execution = front.ask("sleep", {"seconds": 3.0})
    ping = front.ask("ping", {"health_check": True})
    first, second = front.answer(), front.answer()
    assert (first["id"], second["id"]) == (ping, execution)
    assert first["result"]["status"] == "ok"
    assert first["result"]["echo"] == {"health_check": True}
    assert second["result"] == "slept"


def test_errors_are_success_false_with_their_text(sample: Old) -> None:
    assert sample.call("fail", {"text": "no: é"})["error"] == "no: é"
    assert sample.call("refuse", {}, "msgpack")["error"] == "no such model"


def test_an_unknown_command_is_the_result_that_it_was(sample: Old) -> None:
    for encoding in ("json", "msgpack"):
        result = sample.result("nope", {}, encoding)
        assert result["status"] == "error"
        assert result["error"] == "Unknown command: nope"
        assert {"ping", "echo", "whoami"} <= set(result["supported_commands"])


def test_a_stream_is_refused_in_words(sample: Old) -> None:
    assert "stream" in sample.call("numbers", {"count": 3})["error"]


@pytest.mark.parametrize("command", ["", "x" * 1025, "a\0b", 5, None])
def test_a_command_that_cannot_be_one_is_answered(sample: Old, command: object) -> None:
    assert sample.call(command, {})["id"] == sample._ids  # type: ignore[arg-type]


def test_a_worker_that_dies_is_started_again(old: Start) -> None:
    front = old("legacy", "--", *SAMPLE).ready()
    before = front.result("whoami", {})["pid"]
    assert front.call("leave", {})["success"] is False
    assert front.result("whoami", {})["pid"] != before  # the call waits for the new one
    os.kill(front.result("whoami", {})["pid"], signal.SIGKILL)
    wait_until(lambda: front.call("whoami", {})["success"])
    assert front.process.poll() is None


def test_a_worker_that_never_starts_does_not_end_the_front(old: Start) -> None:
    front = old("legacy", "--timeout", "500", "--", "/no/such/program", "{address}")
    assert front.call("echo", {})["success"] is False
    assert front.call("ping", {"health_check": True})["success"] is True
    assert front.process.poll() is None


@pytest.mark.parametrize("how", ["eof", "term", "kill"])
def test_the_worker_ends_with_its_front(old: Start, how: str) -> None:
    front = old("legacy", "--", *SAMPLE).ready()
    pid = front.result("whoami", {})["pid"]
    front.ask("sleep", {"seconds": 60})
    if how == "eof":
        assert front.close() == 0
    elif how == "term":
        front.process.terminate()
        assert front.process.wait(5) == 0
    else:
        front.process.kill()
    wait_until(lambda: not is_alive(pid), "the end of the worker", 5)


def test_the_pool_kills_it_a_moment_after_its_stdin_was_closed(old: Start) -> None:
    front = old("legacy", "--", *SAMPLE).ready()
    pid = front.result("whoami", {})["pid"]
    assert front.process.stdin
    front.process.stdin.close()
    front.process.kill()
    wait_until(lambda: not is_alive(pid), "the end of the worker", 5)


def test_its_children_do_not_hold_its_stdout(old: Start) -> None:
    front = old("legacy", "--", *SAMPLE).ready()
    front.process.kill()
    with pytest.raises(EOFError):
        front.next_frame(1)


def test_it_attaches_to_a_worker_and_leaves_it_alone(old: Start, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/w"
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{PRIV}/python"}
    command = [argument.replace("{address}", address) for argument in SAMPLE]
    worker = subprocess.Popen(command, env=environment)
    try:
        front = old("legacy", "--worker", address).ready()
        assert front.result("whoami", {})["pid"] == worker.pid
        assert front.close() == 0
        client = Client(address)
        assert client.execute("whoami", {}) == {"pid": worker.pid}
        client.channel.close()
    finally:
        worker.kill()
        worker.wait()


def test_an_attached_worker_that_is_not_there(old: Start, tmp_path: Path) -> None:
    front = old("legacy", "--ready-timeout", "200", "--timeout", "1000", "--worker", f"unix:{tmp_path}/none").ready()
    answer = front.call("echo", {})
    assert answer["success"] is False
    assert front.process.poll() is None


def test_a_request_over_max_message_is_answered_and_names_the_option(old: Start) -> None:
    front = old("legacy", "--max-message", "1MiB", "--", *SAMPLE).ready()
    for encoding in ("json", "msgpack"):
        for size in (1 << 20, 3 << 20):
            answer = front.call("size", {"data": "x" * size}, encoding)
            assert answer["success"] is False
            assert "--max-message" in answer["error"]
        assert front.call("size", {"data": "x" * (900 << 10)}, encoding)["result"] == 900 << 10


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_answer_over_max_message_is_a_failure_that_names_it(encoding: str, old: Start) -> None:
    front = old("legacy", "--max-message", "1MiB", "--", *SAMPLE).ready()
    answer = front.call("text", {"size": 2 << 20}, encoding)
    assert answer["success"] is False
    assert "max_message" in answer["error"]
    assert len(front.result("text", {"size": 900 << 10}, encoding)) == 900 << 10


def test_the_worker_knows_the_limit(old: Start) -> None:
    front = old("legacy", "--max-message", "100MiB", "--", *SAMPLE).ready()
    assert front.result("limit", {}) == str(100 << 20)
    assert len(front.result("value", {"value": "x" * (90 << 20)}, "msgpack")) == 90 << 20


def test_port_and_the_name_that_takes_a_script(old: Start, tmp_path: Path) -> None:
    front = old("legacy", "--", *SAMPLE[:-2], "--port", "{port}").ready()
    assert front.result("echo", {})["status"] == "ok"
    script = tmp_path / "bridge.py"
    script.write_text("from snakemux.legacy import GenericHandler, run\n\nrun(GenericHandler)\n")
    environment = {"SNAKEMUX_PYTHON": sys.executable}
    named = old(str(script), "--mode", "pool-worker", "--quiet", name=str(PRIV / "snakemux_legacy"), env=environment)
    assert named.ready().result("ping", {})["bridge_type"] == "generic"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--", "python"],
        ["--worker", "unix:/x", "--", "a", "{port}"],
        ["--share", "a/b", "--", "a", "{port}"],
        ["--nope"],
    ],
)
def test_a_wrong_command_line_says_what_is_right(arguments: list[str]) -> None:
    ended = subprocess.run([PROGRAM, "legacy", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "usage: snakemux legacy" in ended.stderr


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_an_array_is_a_failure_that_says_what_to_do(encoding: str, old: Start) -> None:
    front = old("legacy", "--", *SAMPLE).ready()
    answer = front.call("array", {}, encoding)
    assert answer["success"] is False
    assert "tolist()" in answer["error"]
