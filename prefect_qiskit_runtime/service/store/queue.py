"""The choice of the next job: a session's jobs on the slot it holds, all others in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, update

from prefect_qiskit_runtime.models import JobStatus, ReasonCode
from prefect_qiskit_runtime.service.store import sessions
from prefect_qiskit_runtime.service.store.jobs import get_job
from prefect_qiskit_runtime.service.store.records import ClaimedJob
from prefect_qiskit_runtime.service.store.tables import job_inputs, jobs, program_versions


def claim_next(
    connection: Connection,
    now: datetime,
    *,
    slots: int,
    running: Sequence[str | None],
    held: Collection[str] = (),
) -> ClaimedJob | None:
    """Set the next queued job to Running and return it with everything needed to run it.

    A session that holds a slot runs its jobs there, one at a time, ahead of the queue. The other
    slots are used by all other jobs, in order of submission.

    Args:
        connection: The write in which the job is claimed.
        now: The time of the job's start.
        slots: Maximum number of jobs that run at once.
        running: For each running job, its session or None.
        held: Ids of the queued jobs that must not start yet.
    """
    # NULL is distinct from any code: a job waits for credentials only if it has this code.
    may_start = [jobs.c.reason_code.is_distinct_from(ReasonCode.CREDENTIALS_MISSING)]
    if held:
        may_start.append(jobs.c.id.not_in(held))
    holding = sessions.holding_slots(connection)
    waiting = holding.difference(running)
    number = _first(connection, jobs.c.session_id.in_(waiting), *may_start) if waiting else None
    others_running = sum(session_id not in holding for session_id in running)
    if number is None and len(holding) + others_running < slots:
        other = jobs.c.session_id.is_(None) | jobs.c.session_id.not_in(holding)
        number = _first(connection, *([other] if holding else []), *may_start)
    if number is None:
        return None
    claimed = connection.execute(
        update(jobs)
        .where(jobs.c.number == number, jobs.c.state == JobStatus.QUEUED.value)
        .values(state=JobStatus.RUNNING.value, started_at=now)
        .returning(jobs.c.id, jobs.c.session_id)
    ).one()
    if claimed.session_id is not None:
        sessions.job_started(connection, claimed.session_id, now)
    return _claimed_job(connection, claimed.id)


def put_back(connection: Connection, job_id: str) -> bool:
    """Queue a job again that was claimed and did not start; return False if it has ended."""
    claimed = (jobs.c.id == job_id) & (jobs.c.state == JobStatus.RUNNING.value)
    changed = connection.execute(
        update(jobs).where(claimed).values(state=JobStatus.QUEUED.value, started_at=None)
    )
    return bool(changed.rowcount)


def _first(connection: Connection, *conditions: ColumnElement[bool]) -> int | None:
    """Return the number of the oldest queued job that meets conditions."""
    queued = jobs.c.state == JobStatus.QUEUED.value
    return connection.execute(
        select(func.min(jobs.c.number)).where(queued, *conditions)
    ).scalar_one()


def _claimed_job(connection: Connection, job_id: str) -> ClaimedJob:
    job = get_job(connection, job_id)
    assert job is not None  # noqa: S101 - it was just claimed
    params = connection.execute(
        select(job_inputs.c.params).where(job_inputs.c.job_id == job.id)
    ).scalar_one()
    source = connection.execute(
        select(program_versions.c.source).where(
            program_versions.c.program_id == job.program_id,
            program_versions.c.version == job.program_version,
        )
    ).scalar_one()
    return ClaimedJob(job, source, params)
