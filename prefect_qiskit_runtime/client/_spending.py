"""The usage of jobs, as measured by the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.models import JobInfo, JobMetrics, JobUsage, SessionInfo, SessionState

_AT_ONCE = 8


class _Metrics(Protocol):
    async def job_metrics(self, job_id: str) -> JobMetrics: ...


class _Service(_Metrics, Protocol):
    async def get_session(self, session_id: str) -> SessionInfo: ...


async def usage_of(api: _Metrics, jobs: Iterable[JobInfo]) -> list[JobUsage]:
    """Return the usage of each job so far; one request for each, a few at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(job: JobInfo) -> JobUsage:
        async with gate:
            metrics = await api.job_metrics(job.id)
        return JobUsage(
            job_id=job.id,
            status=job.state.status,
            program_id=job.program.id,
            backend=job.backend,
            created=job.created,
            session_id=job.session_id,
            seconds=metrics.usage.get("seconds", 0.0),
            quantum_seconds=metrics.usage.get("quantum_seconds", 0.0),
        )

    return list(await asyncio.gather(*map(ask, jobs)))


@dataclass
class Spending:
    """Adds up the usage of jobs as IBM bills it; final values are requested only once.

    A job outside a session, or in a batch, is billed for its time on the QPU. A session that
    holds the device is billed instead of its jobs, for the time during which it was active.

    Attributes:
        jobs: The seconds of ended jobs.
        sessions: The seconds of closed sessions; None for batches.
    """

    jobs: dict[str, float] = field(default_factory=dict)
    sessions: dict[str, float | None] = field(default_factory=dict)

    async def seconds(
        self, api: _Service, jobs: Collection[JobInfo], expected: Callable[[JobInfo], float]
    ) -> float:
        """Return the seconds that jobs have used.

        Args:
            api: The service.
            jobs: The jobs.
            expected: Returns the expected usage of a job that has not ended.
        """
        active = await self.active_seconds(api, jobs)
        ended = [job for job in jobs if job.state.status.is_terminal]
        unknown = [job for job in ended if job.id not in self.jobs and job.session_id not in active]
        for usage in await usage_of(api, unknown):
            self.jobs[usage.job_id] = usage.quantum_seconds
        alone = sum(self.jobs[job.id] for job in ended if job.session_id not in active)
        coming = sum(expected(job) for job in jobs if not job.state.status.is_terminal)
        return sum(active.values()) + alone + coming

    async def active_seconds(self, api: _Service, jobs: Iterable[JobInfo]) -> dict[str, float]:
        """Return how long the sessions of jobs have held the device, without batches."""
        found: dict[str, float] = {}
        for session_id in {job.session_id for job in jobs if job.session_id is not None}:
            seconds = await self._active_seconds_of(api, session_id)
            if seconds is not None:
                found[session_id] = seconds
        return found

    async def _active_seconds_of(self, api: _Service, session_id: str) -> float | None:
        if session_id in self.sessions:
            return self.sessions[session_id]
        try:
            session = await api.get_session(session_id)
        except NotFoundError:  # the service has deleted it: use the times of its jobs
            return None
        seconds = None if session.mode == "batch" else session.elapsed_time or 0.0
        if seconds is None or session.state is SessionState.CLOSED:
            self.sessions[session_id] = seconds
        return seconds
