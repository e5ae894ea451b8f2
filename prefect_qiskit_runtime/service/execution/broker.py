"""The service's side of a broker: the process with a job's credentials and hardware access."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect_qiskit_runtime.models import JobStatus, ReasonCode
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.execution.executor import is_shortage
from prefect_qiskit_runtime.service.store.records import JobEnd

NO_CREDENTIALS = JobEnd(
    JobStatus.FAILED,
    reason="The job did not start: it did not receive its hardware credentials in time.",
    reason_code=ReasonCode.CREDENTIALS_MISSING,
)


class CredentialsDesk:
    """Holds the credentials of queued jobs, in memory only.

    Args:
        clock: The clock by which the wait is timed.
        wait_seconds: How long a job may wait for its credentials.
        give_up: Called with the id of a job that has waited too long.
    """

    def __init__(
        self, clock: Clock, wait_seconds: float, give_up: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._give_up = give_up
        self._held: dict[str, dict[str, Any]] = {}

    def expect(self, job_id: str) -> None:
        """Start the wait for a job's credentials; the job is given up if they do not arrive."""

        def ring() -> object:
            # The clock keeps a reference to the task.
            return None if job_id in self._held else asyncio.ensure_future(self._give_up(job_id))

        self._clock.call_later(self._wait_seconds, ring)

    def put(self, job_id: str, credentials: dict[str, Any]) -> None:
        """Hold the credentials of a job."""
        self._held[job_id] = credentials

    def take(self, job_id: str) -> dict[str, Any] | None:
        """Remove and return the credentials of a job; None if there are none."""
        return self._held.pop(job_id, None)


logger = logging.getLogger(__name__)

LIMITS = (
    "max_seconds",
    "max_seconds_per_flow_run",
    "max_seconds_per_day",
    "max_seconds_of_instance",
)
"""The limits on device time that a submission may set."""

_MODULE = "prefect_qiskit_runtime.broker"
_START_SECONDS = 60.0
_END_SECONDS = 30.0


class BrokerError(Exception):
    """A broker could not be started, or ended early.

    Attributes:
        is_temporary: Whether files, memory or processes ran out, so that a later start may work.
    """

    def __init__(self, message: str, *, is_temporary: bool = False) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


@dataclass(frozen=True)
class BrokerOrder:
    """The order that starts a broker.

    Attributes:
        credentials: The account's credentials; not shown by `repr`.
        backend: The device.
        label: Tag of the broker's jobs at IBM.
        mode: How these jobs are grouped.
        journal: File that records the evaluation's submissions.
        limits: Limits on device time, each in seconds or None.
    """

    credentials: dict[str, Any] = field(repr=False)
    backend: str
    label: str
    mode: str
    journal: Path
    limits: dict[str, float | None]

    def line(self) -> bytes:
        """Return the order in the format that the broker reads."""
        fields = {
            "account": self.credentials,
            "backend": self.backend,
            "label": self.label,
            "mode": self.mode,
            "journal": str(self.journal),
            "limits": self.limits,
        }
        return json.dumps(fields).encode() + b"\n"


class Broker:
    """A running broker. `program` is the descriptor of the program's end of the pipe to it.

    `end` must be awaited; `let_go` closes our copy of the descriptor once the program has it.
    """

    def __init__(self, process: asyncio.subprocess.Process, program: socket.socket) -> None:
        self._process = process
        self._program = program

    @classmethod
    async def start(cls, order: BrokerOrder) -> Broker:
        """Start a broker and wait until it is ready.

        Raises:
            BrokerError: The broker did not become ready; the message gives the reason.
        """
        try:
            program, theirs = socket.socketpair()
        except OSError as exc:
            raise _not_started(exc) from exc
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", _MODULE, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Its own session: if the service is killed, the broker lives on until it has
                # closed everything it opened.
                start_new_session=True,
                cwd="/",
            )
        except OSError as exc:
            program.close()
            raise _not_started(exc) from exc
        finally:
            theirs.close()
        broker = cls(process, program)
        try:
            await broker._send(order.line())
            answer = await broker._receive(_START_SECONDS)
        except BaseException:
            broker._kill()
            raise
        if "ready" not in answer:
            broker._kill()
            raise BrokerError(answer.get("problem", "its broker ended at its start"))
        return broker

    @property
    def program(self) -> int:
        """The program's end of the pipe."""
        return self._program.fileno()

    def let_go(self) -> None:
        """Close our copy of the program's end."""
        self._program.close()

    async def end(self, how: Literal["cancel", "keep"]) -> float | None:
        """Have the broker close everything it opened; return the seconds of device time used.

        They are None if they are not known.

        Args:
            how: Whether jobs still on the device are cancelled, or kept for the next attempt.
        """
        self.let_go()
        try:
            await self._send(json.dumps({"end": how}).encode() + b"\n")
            answer = await self._receive(_END_SECONDS)
        finally:
            self._kill()
        if "quantum_seconds" in answer:
            seconds = answer["quantum_seconds"]
            return None if seconds is None else float(seconds)
        problem = answer.get("problem", "it has ended, or did not answer in time")
        logger.warning("A job's broker did not end cleanly: %s", problem)
        return None

    async def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - requested as a pipe
        with suppress(ConnectionError):
            self._process.stdin.write(line)
            await self._process.stdin.drain()

    async def _receive(self, seconds: float) -> dict[str, Any]:
        """Return the broker's next message; empty if it has ended or sends none in time."""
        assert self._process.stdout is not None  # noqa: S101 - requested as a pipe
        with suppress(TimeoutError, ValueError):
            line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
            return json.loads(line)
        return {}

    def _kill(self) -> None:
        self._program.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(ProcessLookupError):
            self._process.kill()


def _not_started(exc: OSError) -> BrokerError:
    return BrokerError(
        f"its broker cannot be started: {exc.strerror or exc}",
        is_temporary=is_shortage(exc.errno),
    )
