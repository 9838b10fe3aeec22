"""Values and their bytes: every codec gives back what it was given, and names what it can't carry."""

import contextlib
import math
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemux import Error, codec
from snakemux.codec import CODECS, FIRST_GENERATION, JSON, MSGPACK, VALUE_KEY, Codec, join

text = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
integers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | text


def through(codec: Codec, result: Any) -> dict[str, Any]:
    return codec.decode(join(codec.encode(result)))


def one_through(codec: Codec, value: Any) -> Any:
    return codec.load(join({"x": codec.dump(value)})["x"])


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


@given(st.dictionaries(keys, values(scalars), max_size=4).filter(lambda result: result.keys() != {VALUE_KEY}))
def test_json_gives_back_every_map(result: dict[str, Any]) -> None:
    assert through(JSON, result) == result


@given(st.dictionaries(keys, values(scalars | st.binary()), max_size=4))
def test_msgpack_gives_back_every_map_and_its_bytes(result: dict[str, Any]) -> None:
    assert through(MSGPACK, result) == (result if result.keys() != {VALUE_KEY} else {VALUE_KEY: result})


@given(values(scalars).filter(lambda value: not isinstance(value, dict)), st.sampled_from([JSON, MSGPACK]))
def test_what_is_no_map_travels_under_the_value_key(value: Any, codec: Codec) -> None:
    assert through(codec, value) == {VALUE_KEY: value}


@given(integers, st.sampled_from([JSON, MSGPACK]))
def test_integers_of_64_bits_are_exact(number: int, codec: Codec) -> None:
    assert one_through(codec, number) == number


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([JSON, MSGPACK]))
def test_doubles_round_trip(number: float, codec: Codec) -> None:
    back = one_through(codec, number)
    assert (back, math.copysign(1, back)) == (number, math.copysign(1, number))


@given(st.binary())
def test_the_first_generation_reads_json_else_text_else_bytes(data: bytes) -> None:
    def read() -> Any:
        try:
            return JSON.load(data)
        except ValueError:
            pass
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data

    assert FIRST_GENERATION.load(data) == read()


@given(st.binary())
@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_any_bytes_are_read_or_refused(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(Error):
        codec.decode({"x": data})


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b"", b"\xff\xfe1\x00", b"1 2", b"[" * 100_000])
def test_json_is_strict(data: bytes) -> None:
    with pytest.raises(Error, match=r"args\.x: not valid json"):
        JSON.decode({"x": data})


@pytest.mark.parametrize("data", [b"", b"\x92\x01", b"\x01\x02", b"\xc1", b"\x81\x90\x01", b"\xd9\x01\xff"])
def test_msgpack_is_strict(data: bytes) -> None:
    with pytest.raises(Error, match=r"args\.x: not valid msgpack"):
        MSGPACK.decode({"x": data})


class Model:
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"items": [1, {"when": datetime(2026, 1, 1)}]}, r"result.items\[1\].when: datetime.datetime can't be encoded"),
        ({"m": (0, Model())}, r"result.m\[1\]: test_codec.Model can't be encoded"),
        ([{1, 2}], r"result\[0\]: set can't be encoded"),
        ({"a": {frozenset(): 3}}, "result.a: a key of type frozenset can't be encoded"),
        ({"a": "\ud800"}, "result.a: str with a lone surrogate can't be encoded"),
        (
            {"a": np.zeros(3, object)},
            r"result.a: numpy.ndarray of dtype object \(its tolist\(\) can\) can't be encoded",
        ),
        ({"a": [np.zeros(3, "M8[s]")]}, r"result.a\[0\]: numpy.ndarray of dtype datetime64\[s\] \(its tolist"),
        ({"a\0b": 1}, r"result: the key 'a\\x00b' is not UTF-8 text without NUL"),
        ({"\ud800": 1}, r"result: the key '\\ud800' is not UTF-8 text without NUL"),
    ],
)
@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_what_cannot_be_encoded_is_named(codec: Codec, value: Any, message: str) -> None:
    with pytest.raises(Error, match=message) as caught:
        codec.encode(value)
    assert caught.value.code == "internal"


def test_each_codec_names_what_only_it_cannot_carry() -> None:
    with pytest.raises(Error, match=r"result.x\[1\]: float nan can't be encoded as json"):
        JSON.encode({"x": [1.0, math.nan]})
    with pytest.raises(Error, match=r"result.x: bytes \(of the codecs only msgpack carries bytes\)"):
        JSON.encode({"x": b""})
    with pytest.raises(Error, match=r"result.x: int 18446744073709551616 can't be encoded as msgpack"):
        MSGPACK.encode({"x": 2**64})
    with pytest.raises(Error, match=r"result.x: int out of range can't be encoded as msgpack"):
        MSGPACK.encode({"x": 2**200})


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_a_value_that_contains_itself_is_refused(codec: Codec) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Error, match="a value nested deeper than 64 levels"):
        codec.encode({"x": endless})


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_numpy_scalars_are_numbers(codec: Codec) -> None:
    result = {"f": np.float32(0.5), "i": np.int64(7), "b": np.bool_(True), "in": [np.uint8(1)]}
    assert through(codec, result) == {"f": 0.5, "i": 7, "b": True, "in": [1]}


def test_the_first_generation_writes_text_and_bytes_raw() -> None:
    encoded = FIRST_GENERATION.encode({"t": "123", "b": b"\xff", "n": 123, "l": ["a"]})
    assert encoded == {"t": b"123", "b": b"\xff", "n": b"123", "l": b'["a"]'}


def test_choose() -> None:
    assert [codec.choose(name) for name in (None, "json", "msgpack")] == [FIRST_GENERATION, JSON, MSGPACK]
    assert list(CODECS) == ["msgpack", "json"]
    with pytest.raises(Error, match="no codec 'yaml': this worker speaks msgpack, json"):
        codec.choose("yaml")
