"""The file with a job's output, limited in size: its beginning and its end are kept."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

__all__ = ["JobLog"]


class JobLog:
    """Appends to a file that can be read at any time and never grows beyond `limit` bytes.

    When the file is full, its middle is replaced by one line with the number of bytes dropped: the
    first quarter of `limit` stays permanently, followed by the newest quarter. All calls block.
    Output that cannot be written (`OSError`) is lost; later writes continue.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._dropped = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)
        self._head = b""
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append data."""
        if self._size + len(data) > self._limit:
            self._shorten(data)
        else:
            self._size += self._file.write(data) or 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _shorten(self, data: bytes) -> None:
        quarter = self._limit // 4
        content = self._path.read_bytes()
        if not self._dropped:
            content += data
            self._head = _first_lines(content, quarter)
            rest = content[len(self._head) :]
        else:
            rest = content[len(self._head) + len(self._marker()) :] + data
        tail = _last_lines(rest, quarter)
        before = self._dropped
        self._dropped += len(rest) - len(tail)
        try:
            self._replace(self._head + self._marker() + tail)
        except OSError:
            self._dropped = before  # as in the marker of the file that stays
            raise

    def _marker(self) -> bytes:
        return b"[... %d bytes of the log were dropped here ...]\n" % self._dropped

    def _replace(self, content: bytes) -> None:
        # Atomic, so that a reader finds either the old file or the new one.
        draft = self._path.with_name(self._path.name + ".draft")
        file = draft.open("wb", buffering=0)
        try:
            _write_all(file, content)
            os.replace(draft, self._path)  # noqa: PTH105 - keeps the open file
        except OSError:
            file.close()
            draft.unlink()
            raise
        self._file.close()
        self._file, self._size = file, len(content)


def _write_all(file: io.FileIO, content: bytes) -> None:
    if file.write(content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _first_lines(content: bytes, size: int) -> bytes:
    head = content[:size]
    end = head.rfind(b"\n") + 1
    return head[:end] if end else head + b"\n"


def _last_lines(content: bytes, size: int) -> bytes:
    tail = content[-size:]
    begin = tail.find(b"\n") + 1
    return tail[begin:] if 0 < begin < len(tail) else tail
