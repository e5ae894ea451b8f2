"""The pipe from a program to the broker, which holds the credentials for the hardware.

Requests and their answers carry the same number; answers arrive in any order and are read by a
thread. Each message is a JSON header on one line, followed by the number of bytes it announces.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from concurrent.futures import Future
from typing import Any

from prefect_qiskit_runtime.errors import QiskitRuntimeError, from_fields

_VERSION = 1


class HardwarePipe:
    """Sends requests to the broker, from any thread.

    Args:
        descriptor: The program's end of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[bytes]] = {}
        self._next = 0
        self._reader: threading.Thread | None = None

    def ask(self, ask: str, body: str = "", **fields: Any) -> Future[bytes]:
        """Send a request; requests arrive in the order in which they are sent."""
        answer: Future[bytes] = Future()
        payload = body.encode()
        with self._lock:
            number, self._next = self._next, self._next + 1
            header = {"v": _VERSION, "id": number, "ask": ask, **fields, "bytes": len(payload)}
            self._waiting[number] = answer
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="hardware", daemon=True)
                self._reader.start()
            try:
                self._socket.sendall(json.dumps(header).encode() + b"\n" + payload)
            except OSError:
                del self._waiting[number]
                answer.set_exception(_gone())
        return answer

    def _read(self) -> None:
        with self._socket.makefile("rb") as stream:
            while line := stream.readline():
                header = json.loads(line)
                body = stream.read(header["bytes"])
                if "note" in header:
                    sys.stderr.write(header["note"] + "\n")  # part of the job's log
                    sys.stderr.flush()
                    continue
                with self._lock:
                    answer = self._waiting.pop(header["id"])
                if "error" in header:
                    answer.set_exception(from_fields(header["error"]))
                else:
                    answer.set_result(body)
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_exception(_gone())


def _gone() -> QiskitRuntimeError:
    return QiskitRuntimeError(
        "The broker of the job's hardware has ended: nothing can be submitted any more. The log of"
        " the service reports why."
    )
