"""Credentials for the hardware of jobs: in memory, from their hand-over to the start of the job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from prefect_qiskit_runtime.models import JobStatus, ReasonCode
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.store.records import JobEnd

NO_CREDENTIALS = JobEnd(
    JobStatus.FAILED,
    reason="Nobody has handed over the credentials of its hardware in time. It did not start.",
    reason_code=ReasonCode.CREDENTIALS_MISSING,
)


class CredentialsDesk:
    """Keeps credentials for jobs that wait to start. They are never written down.

    Args:
        clock: What the wait is timed by.
        wait_seconds: How long a job may wait for its credentials.
        give_up: Called with a job that has waited too long.
    """

    def __init__(
        self, clock: Clock, wait_seconds: float, give_up: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._give_up = give_up
        self._held: dict[str, dict[str, Any]] = {}

    def expect(self, job_id: str) -> None:
        """Give up a job whose credentials do not come."""

        def ring() -> object:
            # A task, which the clock keeps.
            return None if job_id in self._held else asyncio.ensure_future(self._give_up(job_id))

        self._clock.call_later(self._wait_seconds, ring)

    def put(self, job_id: str, credentials: dict[str, Any]) -> None:
        """Keep the credentials of a job."""
        self._held[job_id] = credentials

    def take(self, job_id: str) -> dict[str, Any] | None:
        """Give the credentials of a job away; None where there are none."""
        return self._held.pop(job_id, None)
