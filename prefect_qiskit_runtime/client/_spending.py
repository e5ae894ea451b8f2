"""The usage of jobs, as measured by the service.

Usage that the service has not reported, or that is not final, is not known, and is never taken as
0: where usage is limited, the expected usage takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.models import JobInfo, JobMetrics, JobUsage, SessionInfo, SessionState

LONGEST_JOB_SECONDS = 10_800
"""IBM's highest max_execution_time of a job."""

_AT_ONCE = 8
_NAMED = 3


class _Metrics(Protocol):
    async def job_metrics(self, job_id: str) -> JobMetrics: ...


class _Service(_Metrics, Protocol):
    async def get_session(self, session_id: str) -> SessionInfo: ...


async def usage_of(api: _Metrics, jobs: Iterable[JobInfo]) -> list[JobUsage]:
    """Return the usage of each job so far; one request for each, a few at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(job: JobInfo) -> JobUsage:
        async with gate:
            metrics = await _metrics_of(api, job)
        return JobUsage(
            job_id=job.id,
            status=job.state.status,
            program_id=job.program.id,
            backend=job.backend,
            created=job.created,
            session_id=job.session_id,
            seconds=metrics.usage.get("seconds"),
            quantum_seconds=metrics.quantum_seconds,
        )

    return list(await asyncio.gather(*map(ask, jobs)))


async def _metrics_of(api: _Metrics, job: JobInfo) -> JobMetrics:
    try:
        return await api.job_metrics(job.id)
    except NotFoundError:  # IBM has no metrics for a job that did not start
        return JobMetrics(usage=job.usage or {})


def expected_seconds(job: JobInfo, estimates: Mapping[str, float] | None = None) -> float:
    """Return the QPU time to reserve for a job whose usage is not known.

    Args:
        job: The job.
        estimates: Known estimates by the ids of jobs.
    """
    estimate = (estimates or {}).get(job.id)
    if estimate is not None:
        return estimate
    return job.estimated_running_time_seconds or job.cost or LONGEST_JOB_SECONDS


@dataclass(frozen=True)
class Spent:
    """The seconds that jobs and sessions have used.

    Attributes:
        seconds: All of them, including those that are assumed.
        assumed: The seconds that are assumed for ended jobs and for sessions whose usage the
            service has not reported, by their ids.
        is_known: Whether the assumed seconds are an upper limit; if not, nothing is known.
    """

    seconds: float
    assumed: Mapping[str, float] = field(default_factory=dict)
    is_known: bool = True

    @property
    def note(self) -> str:
        """Which part is assumed, as a sentence that follows another; empty if none is."""
        if not self.assumed:
            return ""
        named = ", ".join(list(self.assumed)[:_NAMED])
        more = f" and {len(self.assumed) - _NAMED} more" if len(self.assumed) > _NAMED else ""
        return (
            f" The service has not reported the usage of {named}{more} yet:"
            f" {sum(self.assumed.values()):.1f} s are assumed."
        )


@dataclass
class Spending:
    """Adds up the usage of jobs as IBM bills it; final values are requested only once.

    A job outside a session, or in a batch, is billed for its time on the QPU. A session that
    holds the device is billed instead of its jobs, for the time during which it was active.

    Attributes:
        jobs: The seconds of ended jobs, once they are final.
        sessions: The seconds of closed sessions; None for batches.
    """

    jobs: dict[str, float] = field(default_factory=dict)
    sessions: dict[str, float | None] = field(default_factory=dict)

    async def seconds(
        self, api: _Service, jobs: Collection[JobInfo], expected: Callable[[JobInfo], float]
    ) -> Spent:
        """Return the seconds that jobs have used.

        Args:
            api: The service.
            jobs: The jobs.
            expected: Returns the expected usage of a job that has not ended, or whose usage is not
                known.
        """
        active, assumed = await self._sessions_of(api, jobs)
        alone = [job for job in jobs if job.session_id not in active]
        ended = [job for job in alone if job.state.status.is_terminal]
        await self._learn(api, ended)
        assumed |= {job.id: expected(job) for job in ended if job.id not in self.jobs}
        known = sum(self.jobs[job.id] for job in ended if job.id in self.jobs)
        coming = sum(expected(job) for job in jobs if not job.state.status.is_terminal)
        unknown = sum(assumed[job.id] for job in ended if job.id in assumed)
        return Spent(sum(active.values()) + known + unknown + coming, assumed)

    async def active_seconds(self, api: _Service, jobs: Iterable[JobInfo]) -> dict[str, float]:
        """Return how long the sessions of jobs have held the device, without batches.

        Where the service does not report it, it is the most that the session can have used.
        """
        return (await self._sessions_of(api, jobs))[0]

    async def _learn(self, api: _Service, ended: Iterable[JobInfo]) -> None:
        """Record the final usage of ended jobs, which some services report only by metrics."""
        unknown: list[JobInfo] = []
        for job in ended:
            if job.id not in self.jobs:
                if job.quantum_seconds is None:
                    unknown.append(job)
                else:
                    self.jobs[job.id] = job.quantum_seconds
        for usage in await usage_of(api, unknown):
            if usage.quantum_seconds is not None:
                self.jobs[usage.job_id] = usage.quantum_seconds

    async def _sessions_of(
        self, api: _Service, jobs: Iterable[JobInfo]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the seconds of the jobs' sessions, and those of them that are assumed."""
        found: dict[str, float] = {}
        assumed: dict[str, float] = {}
        for session_id in {job.session_id for job in jobs if job.session_id is not None}:
            if session_id in self.sessions:
                seconds = self.sessions[session_id]
            else:
                session = await self._ask_session(api, session_id)
                seconds = _billed_seconds(session)
                if session is not None and seconds is not None and session.elapsed_time is None:
                    assumed[session_id] = seconds
            if seconds is not None:
                found[session_id] = seconds
        return found, {name: seconds for name, seconds in assumed.items() if seconds}

    async def _ask_session(self, api: _Service, session_id: str) -> SessionInfo | None:
        """Return a session, and record its seconds once they are final."""
        try:
            session = await api.get_session(session_id)
        except NotFoundError:  # the service has deleted it: use the times of its jobs
            return None
        is_closed = session.state is SessionState.CLOSED and session.elapsed_time is not None
        if session.mode == "batch" or is_closed:
            self.sessions[session_id] = _billed_seconds(session)
        return session


def _billed_seconds(session: SessionInfo | None) -> float | None:
    """Return the seconds for which a session is billed; None if its jobs are billed instead."""
    if session is None or session.mode == "batch":
        return None
    return session.most_seconds
