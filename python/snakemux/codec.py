"""Values and their bytes: JSON, MessagePack, and the first generation's reading. Knows no handler and no server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import Error

try:
    import msgpack
except ImportError:  # an optional dependency: without it the worker announces JSON alone
    msgpack = None

VALUE_KEY = "snakemux.value"  # carries a result that is not a map with string keys
MAX_DEPTH = 64

# What the encoders and decoders raise for values that they can't express or bytes that they can't read.
_REFUSALS = (TypeError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Codec:
    """One way to write values as bytes; what `dump` and `load` can't do they refuse with an exception."""

    name: str
    dump: Callable[[Any], bytes]
    load: Callable[[bytes], Any]

    def encode(self, result: Any, where: str = "result") -> dict[str, bytes]:
        """A result as a map of bytes; one that isn't a map with string keys travels under `snakemux.value`.

        Raises Error `internal`, naming the path and the type of the first part that can't be encoded.
        """
        if not _is_string_map(result):
            return {VALUE_KEY: self._dump(result, where)}
        return {_checked_key(key, where): self._dump(item, f"{where}.{key}") for key, item in result.items()}

    def decode(self, args: Mapping[str, bytes]) -> dict[str, Any]:
        """The values of a map of bytes. Raises Error `invalid_argument`, naming the argument that can't be read."""
        values = {}
        for key, data in args.items():
            try:
                values[key] = self.load(data)
            except _REFUSALS as error:
                raise Error("invalid_argument", f"args.{key}: not valid {self.name}: {error}") from None
        return values

    def _dump(self, value: Any, path: str) -> bytes:
        try:
            return self.dump(value)
        except _REFUSALS:
            path, what = self._find_fault(value, path)
            raise Error("internal", f"{path}: {what} can't be encoded as {self.name}") from None

    def _find_fault(self, value: Any, path: str, depth: int = 0) -> tuple[str, str]:
        """The path to the first part of `value` that can't be dumped, and what it is."""
        if depth > MAX_DEPTH:
            return path, f"a value nested deeper than {MAX_DEPTH} levels"
        if isinstance(value, Mapping):
            for key, item in value.items():
                if not self._fits({key: None}):
                    return path, f"a key of type {_type_name(key)}"
                if not self._fits(item):
                    return self._find_fault(item, f"{path}.{key}", depth + 1)
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                if not self._fits(item):
                    return self._find_fault(item, f"{path}[{index}]", depth + 1)
        return path, _describe(value)

    def _fits(self, value: Any) -> bool:
        try:
            self.dump(value)
        except _REFUSALS:
            return False
        return True


def choose(name: str | None) -> Codec:
    """The codec that a caller asks for; a caller that asks for none is of the first generation.

    Raises Error `invalid_argument`, listing the codecs there are.
    """
    if name is None:
        return FIRST_GENERATION
    if name not in CODECS:
        raise Error("invalid_argument", f"no codec {name!r}: this worker speaks {', '.join(CODECS)}")
    return CODECS[name]


def _is_string_map(value: Any) -> bool:
    # A map whose only key is the reserved one is wrapped once more: the reader takes one off.
    return isinstance(value, dict) and all(type(key) is str for key in value) and value.keys() != {VALUE_KEY}


def _checked_key(key: str, where: str) -> str:
    # protobuf carries UTF-8 only, and readers in C end a string at NUL.
    try:
        valid = "\0" not in key and key.encode()
    except UnicodeEncodeError:
        valid = False
    if valid is False:
        raise Error("internal", f"{where}: the key {key!r} is not UTF-8 text without NUL")
    return key


def _plain(value: Any) -> Any:
    """Called by the encoders for a type they don't know: a NumPy scalar becomes the Python number that it is."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        item = value.item()
        if not isinstance(item, numpy.generic):
            return item
    raise TypeError(_type_name(value))


def _type_name(value: Any) -> str:
    module = type(value).__module__
    name = type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def _describe(value: Any) -> str:
    name = _type_name(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{name} (of the codecs only msgpack carries bytes)"
    if hasattr(value, "tolist"):
        return f"{name} (its tolist() can)"
    if isinstance(value, (float, int)):
        return f"{name} {value}" if -(2**128) < value < 2**128 or value != value else f"{name} out of range"
    if isinstance(value, str):
        return f"{name} with a lone surrogate"
    return name


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_json_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode
_json_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _dump_json(value: Any) -> bytes:
    return _json_encode(value).encode()


def _load_json(data: bytes) -> Any:
    return _json_decode(data.decode())


def _dump_msgpack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=_plain)
    return packed


def _load_msgpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (msgpack.UnpackException, msgpack.ExtraData) as error:
        raise ValueError(str(error) or "it ends too early") from None


def _dump_first_generation(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return _dump_json(value)


def _load_first_generation(data: bytes) -> Any:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    try:
        return _json_decode(text)
    except ValueError:
        return text


JSON = Codec("json", _dump_json, _load_json)
MSGPACK = Codec("msgpack", _dump_msgpack, _load_msgpack)
FIRST_GENERATION = Codec("text or json", _dump_first_generation, _load_first_generation)

# In the order of preference; what GetInfo announces.
CODECS = {codec.name: codec for codec in ((MSGPACK, JSON) if msgpack is not None else (JSON,))}
