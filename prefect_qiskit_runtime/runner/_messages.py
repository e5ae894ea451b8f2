"""Writes a job's messages to its pipe, in the form described in `messages.schema.json`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MESSAGES_VERSION", "MessageWriter"]

MESSAGES_VERSION = 1


class MessageWriter:
    """Sends each message immediately and completely, from any thread of its process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def started(self, versions: Mapping[str, str]) -> None:
        """Report that the process has started, and the versions of its libraries."""
        self._send({"type": "started", "versions": dict(versions)})

    def interim(self, data: str) -> None:
        """Send an encoded interim result."""
        self._send({"type": "interim"}, data)

    def result(self, data: str) -> None:
        """Send the encoded final result."""
        self._send({"type": "result"}, data)

    def error(self, *, error_type: str, message: str, reason_code: int, traceback: str) -> None:
        """Report that the program ended without a result."""
        header = {
            "type": "error",
            "error_type": error_type,
            "message": message,
            "reason_code": reason_code,
        }
        self._send(header, traceback)

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

    def _send(self, header: dict[str, Any], body: str = "") -> None:
        if os.getpid() != self._owner:
            # Two processes would write into each other's messages.
            raise RuntimeError(
                "publish was called in a child process of the job; return the value to the "
                "job's own process and publish it there"
            )
        payload = body.encode("utf-8", "backslashreplace")
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
