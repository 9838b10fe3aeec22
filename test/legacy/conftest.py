"""Each test ends the processes that it has started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support import GENERIC, SAMPLE, Old


@pytest.fixture
def old() -> Iterator[Callable[..., Old]]:
    """Starts a front or a worker as the old pool would: `old("legacy", "--", …)`."""
    started: list[Old] = []

    def start(*argv: str, **more: object) -> Old:
        started.append(Old(*argv, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def front() -> Iterator[Old]:
    """A front with the generic handler behind it, one for all tests of a file."""
    process = Old("legacy", "--", *GENERIC).ready()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def sample() -> Iterator[Old]:
    """A front with `legacy_sample` behind it, one for all tests of a file."""
    process = Old("legacy", "--", *SAMPLE).ready()
    yield process
    process.kill()
