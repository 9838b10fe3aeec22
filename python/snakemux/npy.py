"""NumPy arrays as `.npy` files: version 1.0, little-endian, in C order, without pickle. Knows no codec.

NumPy is looked up where the program has it, and imported only when an array comes in.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from functools import lru_cache
from typing import Any

_MAGIC = b"\x93NUMPY\x01\x00"
_HEAD = len(_MAGIC) + 2  # and the length of the header
_HEADER = re.compile(  # as NumPy writes it, give or take a blank
    rb"\{ ?'descr': ?'(.{1,8})', ?'fortran_order': ?(True|False), ?"
    rb"'shape': ?\(((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? ?\} *\n"
)
_ALIGNMENT = 64
_DTYPES = {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"}


def is_array(value: Any) -> bool:
    """True for a NumPy array; nothing is one in a program that hasn't imported NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def dump(value: Any, offset: int = 0) -> tuple[bytes, memoryview]:
    """The header and the data of an array. The data are the array's own memory where its order and bytes allow that.

    They begin at a multiple of 64 bytes when the header is put at `offset`: a reader can use them where they are.
    Raises TypeError for a dtype that isn't plain numbers, and for a mask, which would be lost.
    """
    import numpy

    dtype = value.dtype.newbyteorder("<")
    if dtype.str not in _DTYPES or isinstance(value, numpy.ma.MaskedArray):
        raise TypeError(f"an array of dtype {value.dtype}")
    array = numpy.asarray(value, dtype, order="C")
    return _header(dtype.str, array.shape, offset), array.reshape(-1).view(numpy.uint8).data


def load(data: bytes | memoryview, offset: int = 0) -> Any:
    """The array in the file that fills `data` from `offset` on: a read-only view. Raises ValueError if it isn't one."""
    try:
        import numpy
    except ImportError:
        raise ValueError("it holds an array, and this worker has no NumPy: pip install numpy") from None

    start = offset + _HEAD
    if len(data) < start or bytes(data[offset : start - 2]) != _MAGIC:
        raise ValueError("an array isn't a .npy file of version 1.0")
    end = start + int.from_bytes(data[start - 2 : start], "little")
    dtype, shape = _read_header(bytes(data[start:end]))
    size = math.prod(shape) * numpy.dtype(dtype).itemsize
    if len(data) - end != size:
        raise ValueError(f"an array of dtype {dtype} and shape {shape} has {size} bytes, not {len(data) - end}")
    array = numpy.ndarray(shape, dtype, data, end)
    array.flags.writeable = False
    return array


@lru_cache(maxsize=64)  # callers send the same few shapes again and again
def _header(dtype: str, shape: tuple[int, ...], offset: int) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = len(text) + 1
    length += -(offset + _HEAD + length) % _ALIGNMENT
    return _MAGIC + struct.pack("<H", length) + text.ljust(length - 1) + b"\n"


@lru_cache(maxsize=64)
def _read_header(header: bytes) -> tuple[str, tuple[int, ...]]:
    found = _HEADER.fullmatch(header)
    if found is None:
        raise ValueError("an array's .npy header doesn't describe plain numbers")
    dtype, order, shape = (part.decode() for part in found.groups())
    if dtype not in _DTYPES or order != "False":
        raise ValueError(f"an array of dtype {dtype}, fortran_order {order}, isn't little-endian numbers in C order")
    return dtype, tuple(map(int, shape.replace(",", " ").split()))
