"""Fixtures: a worker process shared by a module, and a client of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from client import Client, WorkerProcess


@pytest.fixture(scope="module")
def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """The sample worker with two threads, on a unix socket."""
    socket: Path = tmp_path_factory.mktemp("worker") / "socket"
    with WorkerProcess("--threads", "2", "--address", f"unix:{socket}") as process:
        yield process
        assert "never retrieved" not in process.log_text()
        assert "Traceback" not in process.log_text().replace("failed\nTraceback", "")


@pytest.fixture(scope="module")
def client(shared_worker: WorkerProcess) -> Iterator[Client]:
    """A client of the shared worker."""
    client = shared_worker.ready()
    yield client
    client.close()
