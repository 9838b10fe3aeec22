"""--share: one worker process for all fronts of a pool, whichever of them come and go."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import SAMPLE, Client, Old, is_alive, wait_until

Start = Callable[..., Old]


@pytest.fixture
def share(old: Start, tmp_path: Path) -> Callable[..., Old]:
    """Starts a front that shares, in a runtime directory of this test."""

    def start(*more: str, command: list[str] | None = None, name: str = "pool") -> Old:
        environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
        return old("legacy", "--share", name, *more, "--", *(command or SAMPLE), env=environment)

    return start


@pytest.fixture
def tmp_path() -> Iterator[Path]:  # the real one is too long for a socket's path
    with tempfile.TemporaryDirectory(prefix="smx", dir="/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)


def pid_of(front: Old) -> int:
    return int(front.result("whoami", {})["pid"])


def gone(pid: int) -> None:
    wait_until(lambda: not is_alive(pid), "the end of the worker", 5)


def test_two_started_at_once_use_one_worker(share: Callable[..., Old]) -> None:
    for _ in range(3):
        fronts = [share() for _ in range(4)]
        pids = {pid_of(front.ready()) for front in fronts}
        assert len(pids) == 1
        for front in fronts:
            front.kill()
        gone(pids.pop())


def test_it_survives_the_sigkill_of_the_first_front_and_ends_with_the_last(share: Callable[..., Old]) -> None:
    first = share().ready()
    pid = pid_of(first)
    second = share().ready()
    first.process.kill()
    first.process.wait()
    assert pid_of(second) == pid
    third = share().ready()
    assert pid_of(third) == pid
    second.kill()
    assert pid_of(third) == pid
    assert third.close() == 0
    gone(pid)


def test_all_killed(share: Callable[..., Old]) -> None:
    fronts = [share().ready() for _ in range(3)]
    pid = pid_of(fronts[0])
    for front in fronts:
        front.process.kill()
    gone(pid)


def test_a_shared_worker_that_dies_is_started_again_once(share: Callable[..., Old]) -> None:
    fronts = [share().ready() for _ in range(3)]
    pid = pid_of(fronts[0])
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    pids = {wait_until(lambda front=front: front.call("whoami", {}).get("result"))["pid"] for front in fronts}  # type: ignore[misc]
    assert len(pids) == 1
    assert pids != {pid}


def test_one_that_comes_when_the_last_one_goes(share: Callable[..., Old]) -> None:
    front = share().ready()
    for _ in range(5):
        front.process.kill()
        front = share().ready()
        assert wait_until(lambda front=front: front.call("whoami", {}).get("result"))  # type: ignore[misc]


def test_names_are_apart_and_ports_work_too(share: Callable[..., Old]) -> None:
    command = [*SAMPLE[:-2], "--port", "{port}"]
    fronts = [share(command=command).ready(), share(command=command).ready(), share(name="other").ready()]
    pids = [pid_of(front) for front in fronts]
    assert pids[0] == pids[1] != pids[2]


def test_others_attach_to_the_shared_worker(share: Callable[..., Old], tmp_path: Path) -> None:
    front = share().ready()
    directory = tmp_path / "snakemux_legacy" / "pool"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    address = (directory / "address").read_text().rstrip("\0")
    assert address == f"unix:{directory}/socket"
    client = Client(address)
    assert client.execute("whoami", {})["pid"] == pid_of(front)
    client.channel.close()


def test_a_directory_that_others_can_enter_is_refused(share: Callable[..., Old], tmp_path: Path) -> None:
    (tmp_path / "snakemux_legacy").mkdir(mode=0o755)
    front = share("--ready-timeout", "200", "--timeout", "200").ready()
    assert front.call("echo", {})["success"] is False
