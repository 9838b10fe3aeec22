"""Values and their bytes: JSON, MessagePack, and the first generation's reading. Knows no handler and no server."""

from __future__ import annotations

import json
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import npy
from .errors import Error

try:
    import msgpack
except ImportError:  # an optional dependency: without it the worker announces JSON alone
    msgpack = None

VALUE_KEY = "snakemux.value"  # carries a result that is not a map with string keys
MAX_DEPTH = 64
ARRAY = 1  # the extension type of MessagePack that holds a .npy file

# The bytes of a value are whole, or in pieces of which the large ones are memory of the value itself.
Buffer = bytes | bytearray | memoryview
Encoded = bytes | list[Buffer]

_LARGE = 4096  # bytes: copying fewer is faster than a second piece
_MUCH = 1024 * 1024  # bytes: a packer that has grown beyond is given back
_SMALL = frozenset((type(None), bool, int, float, str, list, tuple, dict))  # what is neither bytes nor an array
_EXTENSION = struct.Struct(">BIb")  # ext 32: the code, the length, the type
_BYTES = struct.Struct(">BI")  # bin 32
_SMALLEST_ARRAY = 64  # bytes: no header is shorter

# What the encoders and decoders raise for values that they can't express or bytes that they can't read.
_REFUSALS = (TypeError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Codec:
    """One way to write values as bytes; what `dump` and `load` can't do they refuse with an exception."""

    name: str
    dump: Callable[[Any], Encoded]
    load: Callable[[bytes | memoryview], Any]

    def encode(self, result: Any, where: str = "result") -> dict[str, Encoded]:
        """A result as a map of bytes; one that isn't a map with string keys travels under `snakemux.value`.

        A value that is an array or bytes is a list of pieces, one behind the other: a header, and the memory of the
        value. Whoever sends them reads them before the handler goes on, which may write there. In each piece an item
        is a byte. Raises Error `internal`, naming the path and the type of the first part that can't be encoded.
        """
        if not _is_string_map(result):
            return {VALUE_KEY: self._dump(result, where)}
        return {_checked_key(key, where): self._dump(item, f"{where}.{key}") for key, item in result.items()}

    def decode(self, args: Mapping[str, bytes | memoryview]) -> dict[str, Any]:
        """The values of a map of bytes; an array is a view on them.

        Raises Error `invalid_argument`, naming the argument that can't be read.
        """
        values = {}
        for key, data in args.items():
            try:
                values[key] = self.load(data)
            except _REFUSALS as error:
                raise Error("invalid_argument", f"args.{key}: not valid {self.name}: {error}") from None
        return values

    def _dump(self, value: Any, path: str) -> Encoded:
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


def join(encoded: Mapping[str, Encoded]) -> dict[str, bytes]:
    """What `encode` gives, for a transport that takes whole values only."""
    return {key: b"".join(data) if isinstance(data, list) else data for key, data in encoded.items()}


def _is_string_map(value: Any) -> bool:
    # A map whose only key is the reserved one is wrapped once more: the reader takes one off.
    if not isinstance(value, dict) or (len(value) == 1 and VALUE_KEY in value):
        return False
    return set(map(type, value)) <= {str}


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
        dtype = f" of dtype {value.dtype}" if hasattr(value, "dtype") else ""
        return f"{name}{dtype} (its tolist() can)"
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


def _load_json(data: bytes | memoryview) -> Any:
    return _json_decode(str(data, "utf-8"))


class _Packer(threading.local):
    """A packer for each thread: to make one takes longer than to pack a small value."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Lets go of the memory that a packer keeps."""
        self.pack = msgpack.Packer(default=_packable).pack


def _packable(value: Any) -> Any:
    if npy.is_array(value):
        return msgpack.ExtType(ARRAY, b"".join(npy.dump(value)))
    return _plain(value)


def _dump_msgpack(value: Any) -> Encoded:
    if type(value) not in _SMALL:
        if npy.is_array(value):
            # Always the longest of the heads, so that its length, and with it where the data begin, is known.
            header, data = npy.dump(value, _EXTENSION.size)
            return [_EXTENSION.pack(0xC9, len(header) + len(data), ARRAY) + header, data]
        if isinstance(value, (bytes, bytearray, memoryview)):
            piece = _flat(value)
            if len(piece) >= _LARGE:
                return [_BYTES.pack(0xC6, len(piece)), piece]
            value = bytes(piece)
    packed: bytes = _packer.pack(value)
    if len(packed) > _MUCH:
        _packer.renew()
    return packed


def _flat(value: Buffer) -> Buffer:
    """The same bytes without a shape: the same memory, unless it is in pieces or of a format that can't be cast."""
    if not isinstance(value, memoryview):
        return value
    try:
        return value.cast("B")
    except (TypeError, ValueError):
        return value.tobytes()


def _load_msgpack(data: bytes | memoryview) -> Any:
    if len(data) >= _SMALLEST_ARRAY and 0xC7 <= data[0] <= 0xC9:
        width = 1 << data[0] - 0xC7  # of the length
        if data[1 + width] == ARRAY and int.from_bytes(data[1 : 1 + width]) == len(data) - width - 2:
            return npy.load(data, width + 2)
    try:
        return msgpack.unpackb(data, strict_map_key=False, ext_hook=_extension)
    except (msgpack.UnpackException, msgpack.ExtraData) as error:
        raise ValueError(str(error) or "it ends too early") from None


def _extension(kind: int, data: bytes) -> Any:
    return npy.load(data) if kind == ARRAY else msgpack.ExtType(kind, data)


def _dump_first_generation(value: Any) -> Encoded:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value if isinstance(value, bytes) else [_flat(value)]
    return _dump_json(value)


def _load_first_generation(data: bytes | memoryview) -> Any:
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        return bytes(data)
    try:
        return _json_decode(text)
    except ValueError:
        return text


_packer: Any = _Packer() if msgpack is not None else None
JSON = Codec("json", _dump_json, _load_json)
MSGPACK = Codec("msgpack", _dump_msgpack, _load_msgpack)
FIRST_GENERATION = Codec("text or json", _dump_first_generation, _load_first_generation)

# In the order of preference; what GetInfo announces.
CODECS = {codec.name: codec for codec in ((MSGPACK, JSON) if msgpack is not None else (JSON,))}
