"""Parse the messages that a job writes to its pipe (schema: `runner/messages.schema.json`)."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from typing import Any

from prefect_qiskit_runtime.errors import ProtocolError
from prefect_qiskit_runtime.service.execution.executor import (
    Event,
    Interim,
    ProgramError,
    Result,
    Started,
    Usage,
)

__all__ = ["MessageParser"]

_VERSION = 1
_HEADER_BYTES = 64 * 1024


class MessageParser:
    """Turns chunks of bytes into events. An incomplete message yields no event."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Add the next bytes and yield the events that they complete.

        Raises:
            ProtocolError: The bytes are not a job's messages, or have another version.
        """
        self._buffer += data
        position = 0
        try:
            while True:
                if self._header is None:
                    end = self._buffer.find(b"\n", position)
                    if end < 0:
                        self._check_length(position)
                        return
                    self._header = _parse_header(self._buffer[position:end])
                    position = end + 1
                end = position + self._header["bytes"]
                if len(self._buffer) < end:
                    return
                event = _event_of(self._header, self._buffer[position:end])
                position = end
                self._header = None
                yield event
        finally:
            # Once per read, not once per message, because this moves the rest of the buffer.
            del self._buffer[:position]

    def _check_length(self, position: int) -> None:
        if len(self._buffer) - position > _HEADER_BYTES:
            raise ProtocolError("a message of the job has an endless header")


def _parse_header(line: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(line)
        header["bytes"] = operator.index(header["bytes"])
        known = header["v"] == _VERSION and header["type"] in _EVENTS and header["bytes"] >= 0
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise ProtocolError("the job's pipe contains something that is not a message") from exc
    if not known:
        raise ProtocolError(
            f"the job sent a message of type {header['type']!r} in version {header['v']!r}; "
            f"version {_VERSION} is understood"
        )
    return header


def _event_of(header: dict[str, Any], body: bytearray) -> Event:
    try:
        return _EVENTS[header["type"]](header, body.decode("utf-8"))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
        raise ProtocolError(f"the job sent a malformed message {header['type']!r}") from exc


def _text(value: str) -> str:
    # Half of a surrogate pair is valid in JSON, but not in a database or an answer.
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


_EVENTS: dict[str, Callable[[dict[str, Any], str], Event]] = {
    "started": lambda header, _: Started(dict(header["versions"])),
    "interim": lambda _, body: Interim(body),
    "result": lambda _, body: Result(body),
    "error": lambda header, body: ProgramError(
        _text(header["error_type"]), _text(header["message"]), int(header["reason_code"]), body
    ),
    "usage": lambda header, _: Usage(
        float(header["seconds"]),
        float(header["quantum_seconds"]),
        [_text(method) for method in header.get("simulation_methods", ())],
    ),
}
