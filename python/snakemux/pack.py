"""A small MessagePack writer for error metadata, which is MessagePack also where the msgpack package is missing."""

from __future__ import annotations

import struct
from typing import Any


def pack(value: Any) -> bytes:
    """`value` as MessagePack; whatever MessagePack can't express goes as the text of its `repr`."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return struct.pack(">bq", -0x2D, value)
        if value < 2**64 and value > 0:
            return struct.pack(">BQ", 0xCF, value)
        return pack(repr(value))
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        data = value.encode("utf-8", "replace")
        return _head(0xD9, 0xDA, 0xDB, len(data)) + data
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return _head(0xC4, 0xC5, 0xC6, len(data)) + data
    if isinstance(value, (list, tuple)):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        pairs = (pack(key) + pack(item) for key, item in value.items())
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(pairs)
    return pack(repr(value))


def _head(code8: int, code16: int, code32: int, size: int) -> bytes:
    if size < 2**8:
        return struct.pack(">BB", code8, size)
    if size < 2**16:
        return struct.pack(">BH", code16, size)
    return struct.pack(">BI", code32, size)
