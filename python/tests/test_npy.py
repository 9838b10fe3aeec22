"""Arrays: every dtype and shape comes through, as NumPy's own files, and nothing that isn't one is believed."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as extra

from snakemux import Error, Worker, npy
from snakemux.codec import FIRST_GENERATION, JSON, MSGPACK, VALUE_KEY, join
from snakemux.testing import call

Array = npt.NDArray[Any]
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]

dtypes = st.builds(
    lambda name, order: np.dtype(name).newbyteorder(order), st.sampled_from(DTYPES), st.sampled_from("<>")
)
shapes = extra.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


def layouts(array: Array) -> list[Array]:
    """The same values in other memory: not contiguous, in Fortran order, backwards."""
    reversed_twice = array[..., ::-1][..., ::-1] if array.ndim else array
    spaced = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    return [array, np.asfortranarray(array), reversed_twice, spaced]


arrays = (
    st.tuples(dtypes, shapes).flatmap(lambda pair: extra.arrays(*pair)).flatmap(lambda a: st.sampled_from(layouts(a)))
)


def same(a: Array, b: Array) -> bool:
    plain = a.astype(a.dtype.newbyteorder("<"))
    return a.shape == b.shape and b.dtype == plain.dtype and plain.tobytes() == b.tobytes()


@given(arrays)
@settings(deadline=None)  # a layout more is a copy more, and the machine may be busy
def test_every_array_comes_through_alone_and_nested(array: Array) -> None:
    result = {"a": array, "nested": [1, {"in": [array]}]}
    back = MSGPACK.decode(join(MSGPACK.encode(result)))
    for received in (back["a"], back["nested"][1]["in"][0]):
        assert same(array, received)
        assert not received.flags.writeable
        assert received.flags.aligned or received.size == 0


@given(arrays)
@settings(deadline=None)
def test_an_array_is_a_file_that_numpy_reads(array: Array) -> None:
    header, data = npy.dump(array)
    assert header.startswith(b"\x93NUMPY\x01\x00")
    assert len(header) % 64 == 0
    assert same(array, np.load(io.BytesIO(header + data), allow_pickle=False))


@given(arrays)
@settings(deadline=None)
def test_numpys_own_files_are_read_if_they_are_little_endian_and_in_c_order(array: Array) -> None:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    little = array.dtype == array.dtype.newbyteorder("<")
    if little and (array.flags.c_contiguous or not array.flags.f_contiguous):
        assert same(array, npy.load(file.getvalue()))
    else:
        with pytest.raises(ValueError, match="isn't little-endian numbers in C order"):
            npy.load(file.getvalue())


@given(st.binary(), st.integers(0, 140))
@settings(deadline=None)
def test_damaged_files_are_read_or_refused(noise: bytes, at: int) -> None:
    good = b"".join(npy.dump(np.arange(6.0).reshape(2, 3)))
    for bad in (noise, good[:at], good[:at] + noise, good[:at] + noise + good[at + len(noise) :]):
        try:
            array = npy.load(bad)
        except ValueError:
            continue
        assert array.nbytes <= len(bad)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8, "shape \\(3,\\) has 12 bytes, not 8"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 0, "has 4 bytes, not 0"),
        ("{'descr': '<u1', 'fortran_order': False, 'shape': (0,), }", 0, "dtype <u1, fortran_order False, isn't"),
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4, "dtype <f4, fortran_order True, isn't"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, r"dtype \|O, fortran_order False, isn't"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, "describe plain numbers"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4, "header doesn't describe plain numbers"),
        (f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**62}, 8), }}", 0, "has 295147905179352825856 bytes"),
    ],
)
def test_what_a_header_may_not_claim(header: str, data: int, message: str) -> None:
    text = header.encode() + b"\n"
    file = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(data)
    with pytest.raises(Error, match=f"args.x: not valid msgpack: .*{message}"):
        MSGPACK.decode({"x": b"\xc7" + bytes([len(file), 1]) + file})


def test_an_argument_is_a_view_on_the_message() -> None:
    message = join({"x": MSGPACK.dump(np.arange(1000.0))})["x"]
    for data in (message, memoryview(message)):
        array = MSGPACK.load(data)
        assert np.shares_memory(array, np.frombuffer(message, np.uint8))
        assert array.ctypes.data % 16 == 0  # the data begin at a multiple of 64 of the message


def test_arrays_and_bytes_of_results_are_not_copied() -> None:
    array = np.arange(10_000.0).reshape(100, 100)
    for value in (array, bytes(array), bytearray(array), array.data):
        pieces = MSGPACK.encode({"x": value})["x"]
        assert isinstance(pieces, list)
        assert np.shares_memory(np.frombuffer(pieces[-1], np.uint8), np.frombuffer(value, np.uint8))
        assert sum(map(len, pieces)) == len(join({"x": pieces})["x"])
    raw = FIRST_GENERATION.encode({"x": array.data})["x"]
    assert len(raw[0]) == array.nbytes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "view",
    [
        memoryview(bytearray(range(200)))[::2],
        np.arange(10_000, dtype=">i4").data,
        np.zeros((0, 3)).data,
        np.arange(6000.0).reshape(2, 3000).T.data,
        np.array(1.5).data,
    ],
)
def test_a_memoryview_of_any_kind_is_its_bytes(view: memoryview) -> None:
    assert MSGPACK.load(join({"x": MSGPACK.dump(view)})["x"]) == view.tobytes()
    assert join(FIRST_GENERATION.encode({"x": view})) == {"x": view.tobytes()}


@pytest.mark.parametrize("array", [np.zeros(2, np.longdouble), np.zeros(2, "f4,i4"), np.zeros(2, "U3"), np.array([{}])])
def test_other_dtypes_are_named_with_their_path(array: Array) -> None:
    for value, path in (({"a": array}, "result.a"), ([0, array], r"result\[1\]"), (array, "result")):
        with pytest.raises(Error, match=rf"{path}: numpy.ndarray of dtype .* can't be encoded as msgpack") as caught:
            MSGPACK.encode(value)
        assert str(array.dtype) in caught.value.message
        assert caught.value.code == "internal"


def test_a_mask_is_not_lost_silently() -> None:
    with pytest.raises(Error, match=r"result: numpy.ma.MaskedArray of dtype float64"):
        MSGPACK.encode(np.ma.masked_array([1.0, 2.0], [True, False]))


def test_json_says_what_to_do_with_an_array() -> None:
    with pytest.raises(
        Error, match=r"result.a: numpy.ndarray of dtype float64 \(its tolist\(\) can\) can't be encoded"
    ):
        JSON.encode({"a": np.zeros(3)})


def test_other_extensions_are_what_they_were() -> None:
    for data in (b"\xd4\x05a", b"\xc7\x01\x05a"):
        assert MSGPACK.decode({"x": data}) == {"x": msgpack.ExtType(5, b"a")}
    for data in (b"\xd4\x01a", b"\xc7\x03\x01abc", b"\xc8\x00", b"\xc9" + bytes(20)):
        with pytest.raises(Error, match=r"args\.x: not valid msgpack"):
            MSGPACK.decode({"x": data})


def test_a_handler_gets_and_gives_arrays() -> None:
    worker = Worker()

    @worker.command
    def double(a: Array) -> Array:
        return a * 2

    @worker.command
    def rows(a: Array) -> Any:
        buffer = np.empty_like(a[0])
        for row in a:
            buffer[:] = row  # the same memory again: a chunk is sent before the next one is asked for
            yield {"row": buffer}

    a = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert call(worker, "double", a=a).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert [chunk["row"].tolist() for chunk in call(worker, "rows", a=a)] == a.tolist()


def test_without_numpy_an_array_is_refused_and_all_else_works() -> None:
    program = f"""
import sys
sys.modules["numpy"] = None
from snakemux import Error
from snakemux.codec import MSGPACK, join
assert MSGPACK.decode(join(MSGPACK.encode({{"a": [1, b"x"]}}))) == {{"a": [1, b"x"]}}
try:
    MSGPACK.decode({{"x": {join(MSGPACK.encode(np.zeros(3)))[VALUE_KEY]!r}}})
except Error as error:
    print(error.message)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "args.x: not valid msgpack: it holds an array, and this worker has no NumPy: pip install numpy\n"
