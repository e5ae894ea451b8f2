"""Writes a job's messages to its pipe, in the form described in `messages.schema.json`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prefect_qiskit_runtime.errors import EncodingError

__all__ = ["MESSAGES_VERSION", "MessageLimitError", "MessageLimits", "MessageWriter"]

MESSAGES_VERSION = 1


class MessageLimits(NamedTuple):
    """Limits of the service on the messages of a job; sizes are of encoded messages, in bytes.

    Attributes:
        result: The final result.
        interim: One interim result.
        interim_total: All interim results of the job.
        interim_count: How many interim results the job may have.
    """

    result: int
    interim: int
    interim_total: int
    interim_count: int


class MessageLimitError(EncodingError):
    """A result is larger than the service accepts, or one too many; it was not sent."""


class MessageWriter:
    """Sends each message immediately and completely, from any thread of its process."""

    def __init__(self, descriptor: int, limits: MessageLimits) -> None:
        self._descriptor = descriptor
        self._limits = limits
        self._interim_left = limits.interim_total
        self._count_left = limits.interim_count
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def started(self, versions: Mapping[str, str]) -> None:
        """Report that the process has started, and the versions of its libraries."""
        self._send({"type": "started", "versions": dict(versions)})

    def interim(self, data: str) -> None:
        """Send an encoded interim result.

        Raises:
            MessageLimitError: It is too large, all interim results together are, or there are too
                many of them.
        """
        payload = _encode(data)
        _check("An interim result", len(payload), self._limits.interim)
        with self._lock:
            if not self._count_left:
                raise MessageLimitError(
                    f"An interim result was not sent: a job may publish"
                    f" {self._limits.interim_count}, and this one has. Publish less often: for"
                    " example every tenth iteration, or several values at once."
                )
            if len(payload) > self._interim_left:
                raise MessageLimitError(
                    f"An interim result of {len(payload)} bytes was not sent: the job's interim"
                    f" results may have {self._limits.interim_total} bytes in total, of which"
                    f" {self._interim_left} are left. Publish less, or less often."
                )
            self._interim_left -= len(payload)
            self._count_left -= 1
        self._send({"type": "interim"}, payload)

    def result(self, data: str) -> None:
        """Send the encoded final result.

        Raises:
            MessageLimitError: It is too large.
        """
        payload = _encode(data)
        _check("The result", len(payload), self._limits.result)
        self._send({"type": "result"}, payload)

    def error(
        self,
        *,
        error_type: str,
        message: str,
        reason_code: int,
        traceback: str,
        limit: Mapping[str, Any] | None = None,
    ) -> None:
        """Report that the program ended without a result, and the limit that ended it, if any."""
        header: dict[str, Any] = {
            "type": "error",
            "error_type": error_type,
            "message": message,
            "reason_code": reason_code,
        }
        if limit is not None:
            header["limit"] = dict(limit)
        self._send(header, _encode(traceback))

    def usage(
        self, *, seconds: float, quantum_seconds: float, simulation_methods: Sequence[str]
    ) -> None:
        """Report the time that the job has used, and how it simulated."""
        header = {
            "type": "usage",
            "seconds": seconds,
            "quantum_seconds": quantum_seconds,
            "simulation_methods": list(simulation_methods),
        }
        self._send(header)

    def _send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        if os.getpid() != self._owner:
            # Two processes would write into each other's messages.
            raise RuntimeError(
                "publish was called in a child process of the job; return the value to the "
                "job's own process and publish it there"
            )
        line = json.dumps({"v": MESSAGES_VERSION, **header, "bytes": len(payload)}) + "\n"
        with self._lock:
            self._write(line.encode("ascii"), payload)

    def _write(self, line: bytes, payload: bytes) -> None:
        # Nearly all messages take one system call; large ones are not copied.
        written = os.writev(self._descriptor, [line, payload])
        rest = memoryview(payload)
        if written < len(line):
            os.write(self._descriptor, line[written:])
            written = len(line)
        rest = rest[written - len(line) :]
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _check(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise MessageLimitError(
            f"{what} has {size} bytes, and the service accepts at most {limit}. Return less: for"
            " example counts in place of shots, or an array in place of lists."
        )
