"""Errors and how they travel."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemux import Error
from snakemux.errors import MAX_METADATA_BYTES, Failure, clip
from snakemux.pack import pack

data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(data)
def test_pack_writes_what_msgpack_reads(value: Any) -> None:
    assert msgpack.unpackb(pack(value), strict_map_key=False) == value


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_pack_at_the_edges_of_its_headers(size: int) -> None:
    assert msgpack.unpackb(pack(["x" * size, b"x" * size])) == ["x" * size, b"x" * size]


def test_pack_writes_the_text_of_what_it_cannot_express() -> None:
    assert msgpack.unpackb(pack([2**64, {1}, -(2**63) - 1])) == [repr(2**64), "{1}", repr(-(2**63) - 1)]


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="no error code 'not-found': choose one of cancelled, unknown"):
        Error("not-found")


def test_an_error_reads_well() -> None:
    assert str(Error("not_found", "no such model")) == "not_found: no such model"
    assert str(Error("aborted")) == "aborted"


def test_the_failure_of_an_error_is_what_it_says() -> None:
    failure = Failure.of(Error("aborted", "later", {"after_ms": 5}))
    assert msgpack.unpackb(failure.metadata()) == {"code": "aborted", "message": "later", "details": {"after_ms": 5}}
    assert Failure.of(Error("aborted")).message == "aborted"


class OutOfStockError(Error):
    pass


def test_a_subclass_of_error_tells_its_type() -> None:
    assert Failure.of(OutOfStockError("unavailable", "sold out")).type == "OutOfStockError"


def test_the_failure_of_an_exception_is_unknown_with_type_and_traceback() -> None:
    failure = Failure.of(raised(KeyError("x")))
    assert (failure.code, failure.type, failure.message) == ("unknown", "KeyError", "'x'")
    assert "in raised" in failure.traceback
    assert Failure.of(raised(KeyError("x")), with_traceback=False).traceback == ""
    assert Failure.of(ValueError()).message == "ValueError"


@given(st.text(), st.text(), data)
def test_metadata_never_exceeds_its_limit(message: str, traceback: str, details: Any) -> None:
    failure = Failure("unknown", message * 2000, "T" * len(message), traceback * 2000, [details] * 50)
    metadata = failure.metadata()
    assert len(metadata) <= MAX_METADATA_BYTES
    assert msgpack.unpackb(metadata, strict_map_key=False)["code"] == "unknown"


def test_a_long_traceback_keeps_its_end() -> None:
    failure = Failure("unknown", "m", "T", "start" + "x" * 10_000 + "the line that failed")
    traceback = msgpack.unpackb(failure.metadata())["traceback"]
    assert traceback.startswith("…x")
    assert traceback.endswith("the line that failed")


@given(st.text(), st.integers(3, 50), st.booleans())
def test_clip(text: str, size: int, keep_end: bool) -> None:
    clipped = clip(text, size, keep_end)
    assert len(clipped.encode()) <= size
    assert "�" not in clipped or "�" in text


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught
