"""The example workers: what they compute, and that they do it through a server as well."""

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client import HERE, Client, RemoteError, WorkerProcess, wait_until

EXAMPLES = HERE.parent.parent / "examples" / "workers"


def script(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def examples() -> Iterator[Client]:
    path = os.pathsep.join([str(HERE.parent), str(EXAMPLES)])
    with WorkerProcess("--port", "0", module="all_examples", env={"PYTHONPATH": path}) as process:
        client = process.ready()
        yield client
        client.close()


@pytest.fixture(scope="module")
def model(examples: Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model trained and saved by the worker."""
    path = tmp_path_factory.mktemp("model") / "digits.joblib"
    trained: dict[str, Any] = examples.execute("train", model_path=str(path))
    return trained


def test_a_model_is_trained_saved_loaded_and_predicts(examples: Client, model: dict[str, Any]) -> None:
    assert Path(model["model_path"]).stat().st_size > 1000
    *batches, end = examples.stream("ml_inference_stream", model_path=model["model_path"], batch_size=100)
    assert [batch["done"] for batch in batches] == [100, 200, 300, 400, 500, 600, 700, 800, 899]
    right = sum(a == b for batch in batches for a, b in zip(batch["digits"], batch["expected"], strict=True))
    assert (end["finished"], end["total"], end["correct"]) == (True, 899, right)
    assert end["accuracy"] == right / 899 == model["accuracy"] == batches[-1]["accuracy"]
    assert end["accuracy"] > 0.9


def test_inference_without_a_model_says_what_to_do(examples: Client, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"not_found: no model at .*: call train first"):
        list(examples.stream("ml_inference_stream", model_path=str(tmp_path / "none")))


def test_images_are_checked(examples: Client, model: dict[str, Any]) -> None:
    assert len(examples.execute("predict", model_path=model["model_path"], images=[[0] * 64] * 2)["digits"]) == 2
    with pytest.raises(RemoteError, match=r"images must be a list of lists of 64 numbers, not of shape \(1, 3\)"):
        examples.execute("predict", model_path=model["model_path"], images=[[0, 0, 0]])


def test_a_session_learns_and_then_recognises(examples: Client) -> None:
    with pytest.raises(RemoteError, match="failed_precondition: this session has learnt nothing yet"):
        examples.in_session("s", "recognise", index=0)
    learnt = [examples.in_session("s", "learn", start=start, count=200) for start in range(0, 800, 200)]
    assert [step["seen"] for step in learnt] == [200, 400, 600, 800]
    assert learnt[-1]["accuracy"] > max(learnt[0]["accuracy"], 0.85)
    seen = [examples.in_session("s", "recognise", index=index) for index in range(20)]
    assert sum(answer["digit"] == answer["expected"] for answer in seen) >= 15

    examples.in_session("s", "snakemux.end_session")
    with pytest.raises(RemoteError, match="learnt nothing yet"):
        examples.in_session("s", "recognise", index=0)


def test_a_large_dataset_is_processed_in_chunks(examples: Client, tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    script("make_dataset.py", path, "--rows", 20_000)
    *chunks, end = examples.stream("process_large_dataset", dataset_path=str(path), chunk_size=3000)
    assert [chunk["rows_done"] for chunk in chunks] == [3000, 6000, 9000, 12_000, 15_000, 18_000, 20_000]
    assert [chunk["progress"] for chunk in chunks] == sorted(chunk["progress"] for chunk in chunks)
    assert chunks[-1]["progress"] == 1.0

    readings = [line.split(",")[2] for line in path.read_text().splitlines()[1:]]
    numbers = [float(reading) for reading in readings if reading != "error"]
    assert (end["rows"], end["invalid"], end["sensors"]) == (20_000, readings.count("error"), 20)
    assert end["temperature"]["mean"] == pytest.approx(sum(numbers) / len(numbers))
    assert (end["temperature"]["min"], end["temperature"]["max"]) == (min(numbers), max(numbers))
    assert end["coldest"]["mean"] < end["temperature"]["mean"] < end["hottest"]["mean"]


def test_the_dataset_is_the_same_every_time(tmp_path: Path) -> None:
    for name in "ab":
        script("make_dataset.py", tmp_path / name, "--rows", 500)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_wrong_datasets_are_named(examples: Client, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RemoteError, match=r"invalid_argument: .*x.csv: the columns are \['a', 'b'\]"):
        list(examples.stream("process_large_dataset", dataset_path=str(tmp_path / "x.csv")))
    with pytest.raises(RemoteError, match="not_found: no dataset at"):
        list(examples.stream("process_large_dataset", dataset_path=str(tmp_path / "y.csv")))


def test_a_growing_rotated_log_is_followed_without_losing_a_line(examples: Client, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    chunks: list[dict[str, Any]] = []
    stream = examples.stream("tail_and_analyze", path=str(path), from_start=True, max_lines=3000, timeout=40)
    reader = threading.Thread(target=lambda: chunks.extend(stream))
    reader.start()
    script("write_log.py", path, "--lines", 3000, "--rotate-bytes", 120_000)
    reader.join()
    end = chunks[-1]
    assert end["finished"]
    assert end["total_lines"] == sum(chunk["lines"] for chunk in chunks[:-1]) == 3000
    assert end["rotations"] == len(list(tmp_path.glob("app.log.*"))) > 0
    assert end["levels"]["INFO"] + end["levels"]["ERROR"] == 3000
    assert end["error_rate"] == end["levels"]["ERROR"] / 3000
    assert end["latency_ms"]["p50"] <= end["latency_ms"]["p95"] <= end["latency_ms"]["max"]
    assert end["top_errors"] == [{"message": "no small factor in # duration_ms=#", "count": end["levels"]["ERROR"]}]


def test_a_truncated_log_is_followed_from_its_new_beginning(examples: Client, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("INFO a long line\n")
    chunks = iter(examples.stream("tail_and_analyze", path=str(path), from_start=True))
    assert next(chunks)["latest"] == "INFO a long line"
    path.write_text("ERROR new\n")
    second = next(chunks)
    assert (second["latest"], second["rotations"], second["total_lines"]) == ("ERROR new", 1, 2)


def test_half_a_line_waits_for_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    tail = importlib.import_module("tail")
    path = tmp_path / "app.log"
    path.write_text("old\n")
    with tail.Follower(str(path), from_start=False) as follower, path.open("a") as log:
        for text, lines in [("hal", []), ("f", []), (" and whole\nnext\n", ["half and whole", "next"]), ("", [])]:
            log.write(text)
            log.flush()
            assert follower.lines(10) == lines


def test_cancelling_ends_the_following_at_once(examples: Client, tmp_path: Path) -> None:
    before = examples.execute("info")["bridge_info"]["total_requests"]
    streams = [examples.stream("tail_and_analyze", path=str(tmp_path / "none.log")) for _ in range(8)]
    wait_until(lambda: examples.execute("info")["bridge_info"]["total_requests"] >= before + 9, "the calls")
    for stream in streams:
        stream.cancel()
    # All eight threads were taken: one is free again soon.
    with pytest.raises(RemoteError, match="no such directory"):
        list(examples.stream("tail_and_analyze", path=str(tmp_path / "no" / "app.log"), timeout=10))


def test_idleness_ends_the_following(examples: Client, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("INFO a\nWARNING b\n")
    first, end = examples.stream("tail_and_analyze", path=str(path), from_start=True, idle_timeout=0.1)
    assert first["levels"] == end["levels"] == {"INFO": 1, "WARNING": 1}
    assert end["latency_ms"] is None
