"""The codecs against Python's json and msgpack: what one of them says, the other must say too (pytest, hypothesis)."""

import io
import json
import math
import os
import struct
import subprocess

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings, target
from hypothesis import strategies as st
from hypothesis.extra import numpy as extra

PROGRAM = os.environ["CODEC_PORT"]
EXAMPLES = int(os.environ.get("EXAMPLES", "500"))  # unset: the same ones every time
JSON, MSGPACK = b"j", b"m"

keys = st.text(max_size=8)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | floats | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=30)


@pytest.fixture(scope="module")
def port():
    process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.stdin.close()
    assert process.wait() == 0


def transcode(port, source: bytes, to: bytes, data: bytes) -> tuple[bool, bytes]:
    request = b"t" + source + to + data
    port.stdin.write(struct.pack(">I", len(request)) + request)
    port.stdin.flush()
    (length,) = struct.unpack(">I", port.stdout.read(4))
    answer = port.stdout.read(length)
    return answer[0] == 1, answer[1:]


def same(a, b) -> bool:
    """Equal, and of the same types all the way down: 1 is not 1.0, nor True."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


def read(codec: bytes, data: bytes):
    return json.loads(data) if codec == JSON else msgpack.unpackb(data)


def written(codec: bytes, value) -> bytes:
    return json.dumps(value).encode() if codec == JSON else msgpack.packb(value)


@pytest.mark.parametrize("source", [JSON, MSGPACK])
@pytest.mark.parametrize("to", [JSON, MSGPACK])
@given(value=values)
@settings(max_examples=EXAMPLES, deadline=None, derandomize="EXAMPLES" not in os.environ)
def test_values_survive(port, source, to, value):
    ok, data = transcode(port, source, to, written(source, value))
    assert ok, data
    assert same(read(to, data), value)


@given(value=values, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 2))
@settings(max_examples=EXAMPLES, deadline=None, derandomize="EXAMPLES" not in os.environ)
def test_json_in_any_layout(port, value, ascii_only, indent):
    ok, data = transcode(port, JSON, MSGPACK, json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())
    assert ok, data
    assert same(msgpack.unpackb(data), value)


def json_opinion(data: bytes):
    """What JSON says of these bytes, with the limits of the mapping; raises ValueError where it says no."""

    def integer(text):
        if not -(2**63) <= int(text) <= 2**64 - 1:
            raise ValueError("out of range")
        return int(text)

    def number(text):
        if math.isinf(float(text)):
            raise ValueError("out of range")
        return float(text)

    def refuse(text):
        raise ValueError(text)

    value = json.loads(data.decode(), parse_int=integer, parse_float=number, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can't be
    return value


fragments = st.sampled_from(
    '{ } [ ] , : " \\ \\u d800 dc00 \\ud83d\\ude00 0 1 -1 - 0.5 1e5 1e999 . e E+ true false null "a" "a": NaN tru '
    "18446744073709551615 18446744073709551616 -9223372036854775809 \xe9 \x00 \x1f \x7f / // 00 \n \t \ufeff".split(" ")
)


@given(data=st.lists(fragments, max_size=12).map(lambda parts: "".join(parts).encode()) | st.binary(max_size=12))
@example(data=b"-0")
@example(data=b'"\\ud800\\udc00"')
@example(data=b'"\\ud800"')
@example(data=b'{"a":1,"a":2}')
@settings(max_examples=EXAMPLES, deadline=None, derandomize="EXAMPLES" not in os.environ)
def test_json_is_refused_where_it_is_not_json(port, data):
    ok, found = transcode(port, JSON, JSON, data)
    try:
        wanted = json_opinion(data)
    except ValueError:
        assert not ok, found
    else:
        assert ok, found
        assert same(json.loads(found), wanted)


def msgpack_opinion(data: bytes):
    def refuse(*_):
        raise ValueError("extension")

    def check(value):
        if isinstance(value, bytes):  # a term does not tell bytes from text
            raise UnicodeError
        if isinstance(value, list):
            for inner in value:
                check(inner)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise ValueError("key")
                check(inner)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("number")
        elif not isinstance(value, int | float | str | None):
            raise ValueError("extension")  # a timestamp
        return value

    return check(msgpack.unpackb(data, ext_hook=refuse, timestamp=3, strict_map_key=False))


firsts = st.sampled_from(
    bytes([0x80, 0x81, 0x82, 0x90, 0x91, 0x93, 0xA0, 0xA1, 0xA3, *range(0xC0, 0xE0), 0, 0x7F, 0xFF])
)
noise = st.lists(firsts | st.sampled_from([0, 1, 2, 0x61, 0xFF]), max_size=14).map(bytes)


@given(data=noise | st.binary(max_size=14))
@settings(max_examples=EXAMPLES, deadline=None, derandomize="EXAMPLES" not in os.environ)
def test_msgpack_is_refused_where_it_is_broken(port, data):
    ok, found = transcode(port, MSGPACK, MSGPACK, data)
    target(float(ok))
    try:
        wanted = msgpack_opinion(data)
    except UnicodeError:
        return
    except (ValueError, TypeError, msgpack.UnpackException, OverflowError):
        if ok:  # integer keys become text, and bytes that are text are text
            msgpack.unpackb(found)
            return
    else:
        assert ok, found
        assert same(msgpack.unpackb(found), wanted)


dtypes = st.sampled_from("? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16".split())
shapes = extra.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=3)


@given(arrays=st.lists(st.tuples(dtypes, shapes).flatmap(lambda pair: extra.arrays(*pair)), max_size=3))
@settings(max_examples=EXAMPLES, deadline=None, derandomize="EXAMPLES" not in os.environ)
def test_arrays_survive_as_files_that_numpy_writes_and_reads(port, arrays):
    def extension(array):
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
        return msgpack.ExtType(1, file.getvalue())

    ok, found = transcode(port, MSGPACK, MSGPACK, msgpack.packb([extension(array) for array in arrays]))
    assert ok, found
    for array, (code, data) in zip(arrays, msgpack.unpackb(found), strict=True):
        back = np.load(io.BytesIO(data), allow_pickle=False)
        assert code == 1
        assert (back.dtype, back.shape) == (array.dtype if array.dtype != bool else np.uint8, array.shape)
        assert back.tobytes() == array.tobytes()


@given(text=st.binary(max_size=40))
@settings(max_examples=EXAMPLES, deadline=None, derandomize="EXAMPLES" not in os.environ)
def test_bytes_arrive_as_binaries(port, text):
    ok, found = transcode(port, MSGPACK, MSGPACK, msgpack.packb(text))
    try:
        wanted = text.decode()
    except UnicodeError:
        assert not ok and b"wrap it in {bin, Binary}" in found
    else:
        assert ok and msgpack.unpackb(found) == wanted
