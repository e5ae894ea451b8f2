"""The runner's end of the control socket: one JSON object per line, with attached descriptors.

From the service: `launch` (job_id, scratch, descriptors: the number attached, in the order of
`JobPipes`) and `signal` (job_id, number). To the service: `ready` (versions, site_folders),
`launched` and `exited` (job_id, exit_code, signal). End of file means that the service is gone.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Control", "JobPipes"]

_READ_BYTES = 64 * 1024
_DESCRIPTORS_PER_READ = 64


class JobPipes(NamedTuple):
    """Descriptors of a job.

    Attributes:
        messages: The pipe for its messages to the service.
        log: The pipe for its output.
        hardware: Its end of the pipe to a broker; None for a job on a simulator.
    """

    messages: int
    log: int
    hardware: int | None = None

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self:
            if descriptor is not None:
                os.close(descriptor)


class Control:
    """Reads requests and sends answers."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._buffer = b""
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def send(self, answer: Mapping[str, Any]) -> None:
        """Send one answer."""
        self._socket.sendall(json.dumps(answer).encode("ascii") + b"\n")

    def read(self) -> Iterator[dict[str, Any]]:
        """Wait for the next bytes and yield the requests that they complete.

        Raises:
            EOFError: The service is gone.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, _READ_BYTES, _DESCRIPTORS_PER_READ
            )
        except ConnectionError:
            data, descriptors = b"", []
        if not data:
            raise EOFError("the service closed the control socket")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors += descriptors
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def take_pipes(self, count: int) -> JobPipes:
        """Return the descriptors of the launch request being handled."""
        taken = self._descriptors[:count]
        del self._descriptors[:count]
        return JobPipes(*taken)

    def close(self) -> None:
        """Close the socket and the descriptors received for other jobs."""
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
