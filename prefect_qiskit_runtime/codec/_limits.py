"""Limits of decoding: a short text must not become gigabytes, or keep a processor busy.

All values of one text share a budget of bytes. The memory of a value is charged before it is
built: the size of an unpacked array, the bits of a circuit, and for constructors whose time grows
faster than their input an equivalent of that time.
"""

from __future__ import annotations

import ast
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from prefect_qiskit_runtime.errors import DecodingError

BYTES_VARIABLE = "PREFECT_QISKIT_RUNTIME_DECODED_BYTES"
"""The environment variable that changes the budget; read here, since images lack pydantic."""

DECODED_BYTES = 1024**3
"""The budget of one text, if the variable is not set."""

DEPTH = 500
"""How deep lists and objects may be nested."""

_NPY_MAGIC = b"\x93NUMPY"
_LONGEST_NPY_HEADER = 10_000
_CHUNK_BYTES = 64 * 1024


class _Budget:
    """The bytes that the values of one text may still take."""

    def __init__(self) -> None:
        self.total = self.left = _allowed_bytes()


_active: ContextVar[_Budget | None] = ContextVar("decoding budget", default=None)


def _allowed_bytes() -> int:
    text = os.environ.get(BYTES_VARIABLE, "")
    return int(text) if text.isdecimal() and int(text) else DECODED_BYTES


@contextmanager
def budget() -> Iterator[None]:
    """Share one budget among all values that are decoded in this block."""
    if _active.get() is not None:
        yield
        return
    token = _active.set(_Budget())
    try:
        yield
    finally:
        _active.reset(token)


def charge(num_bytes: int, what: str) -> None:
    """Take bytes from the budget.

    Raises:
        DecodingError: The budget does not have them.
    """
    current = _active.get() or _Budget()
    if num_bytes > current.left:
        raise DecodingError(
            f"Cannot decode {what}: it would take {_size(num_bytes)}, with {_size(current.left)}"
            f" left of {_size(current.total)} for one text. If you trust its origin, set"
            f" {BYTES_VARIABLE} to a larger number."
        )
    current.left -= num_bytes


def _size(num_bytes: int) -> str:
    for factor, unit in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}" if num_bytes < 2**60 else "more than 2^60 B"
    return f"{num_bytes} B"


def require_shallow(value: Any) -> None:
    """Refuse a value whose lists and dicts are nested too deep.

    Raises:
        DecodingError: It is nested more than `DEPTH` levels.
    """
    level = [value]
    for _ in range(DEPTH):
        level = [
            item
            for container in level
            if isinstance(container, (list, dict))
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (list, dict))
        ]
        if not level:
            return
    raise DecodingError(f"Cannot decode a value that is nested more than {DEPTH} levels deep.")


def may_be_deep(text: str) -> bool:
    """Return whether JSON text has enough brackets to be nested too deep."""
    return text.count("[") + text.count("{") > DEPTH


def inflate(data: bytes, what: str, *, start: bytes, factor: int = 1) -> bytes:
    """Decompress data, and charge its size as it grows.

    Args:
        data: The compressed data.
        what: Names the value in errors.
        start: The first bytes of the decompressed data; others are refused.
        factor: Bytes in memory for each decompressed byte.

    Raises:
        DecodingError: The budget is too small.
        zlib.error: The data is not complete compressed data.
    """
    parts = []
    for part in _inflated(data):
        if not parts and not part.startswith(start):
            raise DecodingError(f"Cannot decode {what}: its data does not begin with {start!r}.")
        charge(factor * len(part), what)
        parts.append(part)
    return b"".join(parts)


def _inflated(data: bytes) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    rest = data
    while not stream.eof:
        part = stream.decompress(rest, _CHUNK_BYTES)
        rest = stream.unconsumed_tail
        if not part and not rest and not stream.eof:
            raise zlib.error("incomplete data")
        yield part


def inflate_array(data: bytes) -> Any:
    """Return the array of a compressed file in numpy's format; its size is as its header says.

    Raises:
        DecodingError: It is not exactly one plain array, or the budget is too small.
        zlib.error: The data is not complete compressed data.
    """
    parts = _inflated(data)
    head = next(parts, b"")
    header = _npy_header(head)
    charge(header.num_bytes, f"an array of the shape {header.shape}")
    buffer = bytearray(header.num_bytes)
    position = len(head)
    header.require_size(max(position, header.num_bytes))
    buffer[:position] = head
    for part in parts:
        header.require_size(max(position + len(part), header.num_bytes))
        buffer[position : position + len(part)] = part
        position += len(part)
    header.require_size(position)
    return header.array(buffer)


def require_array(data: bytes | memoryview) -> _ArrayHeader:
    """Check a file in numpy's format without reading its values; return its header.

    Raises:
        DecodingError: It is not exactly one plain array.
    """
    header = _npy_header(bytes(data[:_CHUNK_BYTES]))
    header.require_size(len(data))
    return header


@dataclass(frozen=True)
class _ArrayHeader:
    """The header of a file in numpy's format.

    Attributes:
        start: Where the values begin.
    """

    dtype: Any
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    start: int

    @property
    def num_bytes(self) -> int:
        """Size of the whole file."""
        return self.start + self.dtype.itemsize * math.prod(self.shape)

    def require_size(self, num_bytes: int) -> None:
        """Refuse a file of another size."""
        if num_bytes != self.num_bytes:
            raise DecodingError(
                f"Cannot decode an array: by its header it has {self.num_bytes} bytes, and not"
                f" {num_bytes}."
            )

    def array(self, data: bytearray) -> Any:
        """Return the array whose values are in the data, without a copy."""
        import numpy as np

        return np.ndarray(self.shape, self.dtype, data, self.start, order=self.order)


def _npy_header(data: bytes) -> _ArrayHeader:
    """Read the header of a file in numpy's format.

    Raises:
        DecodingError: It is another file, or an array of Python objects.
    """
    import numpy as np

    major = data[6] if data.startswith(_NPY_MAGIC) and len(data) > 12 else 0
    if major not in (1, 2, 3):
        raise DecodingError("Cannot decode an array: its data is not in numpy's npy format.")
    size = struct.Struct("<H" if major == 1 else "<I")
    (length,) = size.unpack_from(data, 8)
    start = 8 + size.size + length
    if length > _LONGEST_NPY_HEADER or start > len(data):
        raise DecodingError("Cannot decode an array: its header is too long.")
    fields = ast.literal_eval(data[8 + size.size : start].decode("utf-8").strip())
    shape = fields["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise DecodingError(f"Cannot decode an array of the shape {shape!r:.80}.")
    dtype = np.lib.format.descr_to_dtype(fields["descr"])
    if dtype.hasobject:
        raise DecodingError("Cannot decode an array of Python objects: they would be pickled.")
    if dtype.itemsize == 0 and math.prod(shape) > 0:
        raise DecodingError("Cannot decode an array whose elements have no size.")
    return _ArrayHeader(dtype, shape, "F" if fields["fortran_order"] else "C", start)
