"""Any value comes back as it went, in both encodings: through a gRPC worker, and through the wrapped old worker."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import LEGACY_WORKER, PROGRAM, Client, Old

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda s: st.lists(s, max_size=4) | st.dictionaries(keys, s, max_size=4), max_leaves=20)


quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def same(a: Any, b: Any) -> bool:
    """Equal, and of equal types: 1 and 1.0, 0.0 and -0.0 are not the same."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


@given(nested(scalars))
@quick
def test_json(sample: Old, value: Any) -> None:
    assert same(sample.result("value", {"value": [value]}), [value])


@given(st.dictionaries(keys, nested(scalars), max_size=5))
@quick
def test_json_maps_of_any_keys(sample: Old, args: dict[str, Any]) -> None:
    if "\0" not in "".join(args):  # such a key can't be the name of an argument, nor of a result
        assert same(sample.result("value", {"value": args}), args)
        assert same(sample.result("echo", args)["echoed"], args)


@given(nested(scalars | st.binary(max_size=20)))
@quick
def test_msgpack(sample: Old, value: Any) -> None:
    assert same(sample.result("value", {"value": [value]}, "msgpack"), [value])


@given(nested(st.binary(max_size=300)))
@quick
def test_binaries_that_the_old_pool_packs_as_text(sample: Old, value: Any) -> None:
    """Its MessagePack has one kind of binaries, always packed as str; what is no UTF-8 comes back as bytes."""

    def as_seen(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: as_seen(part) for key, part in item.items()}
        if isinstance(item, list):
            return [as_seen(part) for part in item]
        try:
            return item.decode()
        except UnicodeDecodeError:
            return item

    payload = msgpack.packb({"args": {"value": [value]}, "command": "value", "id": 5}, use_bin_type=False)
    sample.send_frame(payload)
    assert same(sample.answer("msgpack")["result"], [as_seen(value)])


@pytest.mark.parametrize(
    "text", ["1.50", "1e5", "-0.0", "0.1000000000000000055", "18446744073709551616", '"\\u00e9\\/"']
)
def test_json_is_not_even_written_anew(sample: Old, text: str) -> None:
    """On the way in, that is: what the worker reads is what was sent, digit for digit."""
    sample.send_frame(b'{"args":{"value":%s},"command":"value","id":9}' % text.encode())
    assert sample.answer()["result"] == json.loads(text)


def test_a_large_integer_in_msgpack_and_deep_nesting(sample: Old) -> None:
    value: Any = 2**64 - 1
    for _ in range(50):
        value = [value]
    assert sample.result("value", {"value": value}, "msgpack") == value
    assert sample.result("value", {"value": value}) == value


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65535, 65536, 1 << 20, 20 << 20])
def test_sizes(sample: Old, encoding: str, size: int) -> None:
    text = "é" * (size // 2) + "x" * (size % 2)
    assert sample.result("value", {"value": text}, encoding) == text


# ---- The wrapped old worker ----


@pytest.fixture(scope="module", params=["msgpack", "json"])
def wrapped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str]]:
    address = f"unix:{tmp_path_factory.mktemp('wrap')}/w"
    command = [PROGRAM, "wrap", "--address", address, "--", *LEGACY_WORKER, "--protocol", request.param]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    client = Client(address)
    assert client.capabilities()["codecs"] == request.param
    yield client, request.param
    client.channel.close()
    assert process.stdin
    process.stdin.close()
    process.wait(10)


@given(st.data())
@quick
def test_through_wrap(wrapped: tuple[Client, str], data: st.DataObject) -> None:
    client, codec = wrapped
    leaves = scalars | st.binary(max_size=20) if codec == "msgpack" else scalars
    value = data.draw(nested(leaves))
    assert same(client.execute("value", {"value": value}, codec), value)


@given(nested(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts))
@quick
def test_through_wrap_in_the_other_codec(wrapped: tuple[Client, str], value: Any) -> None:
    client, codec = wrapped
    assert same(client.execute("value", {"value": value}, "json" if codec == "msgpack" else "msgpack"), value)
