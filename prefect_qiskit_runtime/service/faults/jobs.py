"""Scenarios for jobs: keep them queued, end them, and close their sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.execution.scheduler import Interference, Scheduler
from prefect_qiskit_runtime.service.faults.book import FaultBook
from prefect_qiskit_runtime.service.faults.codes import reason_of, solution_of, status_of
from prefect_qiskit_runtime.service.faults.scenarios import (
    BackendOffline,
    CloseSession,
    EndJob,
    HoldJob,
    matches,
)
from prefect_qiskit_runtime.service.store.records import Job, JobEnd, NewJob

_ITS_END = "its end"


@dataclass
class _Plan:
    """The planned effects on one job.

    Attributes:
        holds: Ids of the scenarios that keep the job queued, with the duration of each.
        ends: How the job, or its session, is to be ended.
    """

    holds: dict[str, float | None] = field(default_factory=dict)
    ends: list[EndJob | CloseSession] = field(default_factory=list)


class JobFaults(Interference):
    """Plans the effects on each job when it is submitted. Call `attach` first."""

    def __init__(self, book: FaultBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._plans: dict[str, _Plan] = {}
        self._scheduler: Scheduler | None = None
        self._endings: set[asyncio.Task[None]] = set()
        book.on_removal(self._forget_removed)

    def attach(self, scheduler: Scheduler) -> None:
        """Set the scheduler that runs the jobs."""
        self._scheduler = scheduler

    @property
    def held(self) -> Collection[str]:
        """Ids of the queued jobs that must not start yet."""
        return [job_id for job_id, plan in self._plans.items() if plan.holds]

    @contextmanager
    def submission(self, job: NewJob) -> Iterator[None]:
        """Plan the effects on a job; their times start when it is queued."""
        plan = self._plans[job.id] = self._plan(job)
        try:
            yield
        except BaseException:
            del self._plans[job.id]
            raise
        for scenario_id, seconds in plan.holds.items():
            if seconds is not None:
                self._release_later(job.id, scenario_id, seconds)
        for how in plan.ends:
            if how.moment == "queued":
                self._end_later(job, how)

    def on_started(self, job: Job) -> None:
        """Schedule the planned ends of a job that has started, or of its session."""
        plan = self._plans.pop(job.id, _Plan())
        for how in plan.ends:
            self._end_later(job, how)

    def _plan(self, job: NewJob) -> _Plan:
        plan = _Plan()
        hold = self._book.for_job(HoldJob, job)
        if hold is not None:
            plan.holds[hold.id] = hold.scenario.seconds
        for entry, offline in self._book.entries_of(BackendOffline):
            if matches(offline.backend, job.backend):
                plan.holds[entry.id] = None
        kinds = (EndJob,) if job.session_id is None else (EndJob, CloseSession)
        for kind in kinds:
            end = self._book.for_job(kind, job)
            if end is not None:
                plan.ends.append(end.scenario)
                if end.scenario.moment == "queued":
                    plan.holds[_ITS_END] = None
        return plan

    def _release_later(self, job_id: str, scenario_id: str, seconds: float) -> None:
        def release() -> None:
            plan = self._plans.get(job_id)
            if plan is not None:
                plan.holds.pop(scenario_id, None)
                self._wake()

        self._clock.call_later(seconds, release)

    def _end_later(self, job: NewJob | Job, how: EndJob | CloseSession) -> None:
        def begin() -> None:
            if self._scheduler is not None:
                ending = asyncio.create_task(_end(self._scheduler, job, how))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

        self._clock.call_later(how.seconds, begin)

    def _forget_removed(self) -> None:
        """Release the jobs that only removed scenarios keep queued."""
        for plan in self._plans.values():
            for scenario_id in list(plan.holds):
                if scenario_id != _ITS_END and self._book.find(scenario_id) is None:
                    del plan.holds[scenario_id]
        self._wake()

    def _wake(self) -> None:
        if self._scheduler is not None:
            self._scheduler.wake()


async def _end(scheduler: Scheduler, job: NewJob | Job, how: EndJob | CloseSession) -> None:
    """End a job, or close its session."""
    if isinstance(how, EndJob):
        await scheduler.end(job.id, _end_of(how))
        if job.session_id is not None:
            scheduler.sessions.watch(job.session_id)
    elif job.session_id is not None:
        await scheduler.sessions.end(job.session_id, _end_with(job.session_id, how))


def _end_of(how: EndJob) -> JobEnd:
    reason = how.reason or reason_of(how.reason_code)
    return JobEnd(
        how.status or status_of(how.reason_code),
        reason,
        how.reason_code,
        reason_solution=how.reason_solution or solution_of(how.reason_code),
        data=reason,
    )


def _end_with(session_id: str, how: CloseSession) -> JobEnd:
    return JobEnd(
        JobStatus.FAILED,
        f"The session {session_id} was closed before the job could start, as requested by a fault"
        " mode scenario.",
        how.reason_code,
        reason_solution=solution_of(how.reason_code),
    )
