"""Parse the messages that a job writes to its pipe (schema: `runner/messages.schema.json`)."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prefect_qiskit_runtime.errors import ProtocolError, QiskitRuntimeError
from prefect_qiskit_runtime.models import UsedUpLimit
from prefect_qiskit_runtime.service.execution.executor import (
    Event,
    Interim,
    ProgramError,
    Result,
    Started,
    Usage,
)
from prefect_qiskit_runtime.settings import Settings

__all__ = ["MessageLimits", "MessageParser", "MessageTooLargeError"]

_VERSION = 1
_HEADER_BYTES = 64 * 1024


_TEXT_BYTES = 1024**2


@dataclass(frozen=True)
class MessageLimits:
    """Limits on the messages of one job, sizes in bytes: the runner checks them first."""

    result: int
    interim: int
    interim_total: int
    interim_count: int

    @classmethod
    def from_settings(cls, settings: Settings) -> MessageLimits:
        """Return the limits that the settings set."""
        return cls(
            settings.result_bytes,
            settings.interim_bytes,
            settings.interim_total_bytes,
            settings.interim_results,
        )

    def largest(self, kind: str) -> int:
        """Return the limit on the body of one message."""
        return {"result": self.result, "interim": self.interim}.get(kind, _TEXT_BYTES)


class MessageTooLargeError(QiskitRuntimeError):
    """A message of a job is larger than the service accepts, or one too many."""


class MessageParser:
    """Turns chunks of bytes into events. An incomplete message yields no event.

    A message over its limit is refused when its header arrives, before its body is kept.
    """

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self._interim_bytes = 0
        self._interim_count = 0
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None

    def feed(self, data: bytes) -> Iterator[Event]:
        """Add the next bytes and yield the events that they complete.

        Raises:
            ProtocolError: The bytes are not a job's messages, or have another version.
            MessageTooLargeError: A message is larger than its limit, or one too many.
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
                    self._check_limits(self._header["type"], self._header["bytes"])
                end = position + self._header["bytes"]
                if len(self._buffer) < end:
                    return
                with memoryview(self._buffer)[position:end] as body:
                    event = _event_of(self._header, body)
                position = end
                self._header = None
                yield event
        finally:
            # Once per read, not once per message, because this moves the rest of the buffer.
            del self._buffer[:position]

    def _check_limits(self, kind: str, size: int) -> None:
        limit = self._limits.largest(kind)
        if size > limit:
            raise MessageTooLargeError(
                f"a message {kind!r} of {size} bytes; at most {limit} are accepted"
            )
        if kind == "interim":
            self._interim_count += 1
            if self._interim_count > self._limits.interim_count:
                raise MessageTooLargeError(
                    f"more than {self._limits.interim_count} interim results, which is the limit"
                )
            self._interim_bytes += size
            if self._interim_bytes > self._limits.interim_total:
                raise MessageTooLargeError(
                    f"interim results of {self._interim_bytes} bytes in total; at most"
                    f" {self._limits.interim_total} are accepted"
                )

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


def _event_of(header: dict[str, Any], body: memoryview) -> Event:
    try:
        return _EVENTS[header["type"]](header, str(body, "utf-8"))
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
        _text(header["error_type"]),
        _text(header["message"]),
        int(header["reason_code"]),
        body,
        UsedUpLimit.model_validate(header["limit"]) if "limit" in header else None,
    ),
    "usage": lambda header, _: Usage(
        float(header["seconds"]),
        float(header["quantum_seconds"]),
        [_text(method) for method in header.get("simulation_methods", ())],
    ),
}
