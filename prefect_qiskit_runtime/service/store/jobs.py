"""Statements about jobs: changes of state, and listings.

A change of state is one UPDATE with the old state in its WHERE: if two would end the same job, the
second finds no row to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or

from prefect_qiskit_runtime.models import JobStatus, ReasonCode, UsedUpLimit
from prefect_qiskit_runtime.service.store import sessions
from prefect_qiskit_runtime.service.store.records import (
    DeletedJob,
    Job,
    JobEnd,
    JobFilter,
    NewJob,
    Owner,
)
from prefect_qiskit_runtime.service.store.tables import (
    deleted_keys,
    interim_results,
    job_inputs,
    job_results,
    job_tags,
    jobs,
)

_PENDING = (JobStatus.QUEUED, JobStatus.RUNNING)

_INTERIM_COUNT = (
    select(func.coalesce(func.max(interim_results.c.seq) + 1, 0))
    .where(interim_results.c.job_id == jobs.c.id)
    .correlate(jobs)
    .scalar_subquery()
    .label("interim_count")
)
_JOB = select(jobs, _INTERIM_COUNT)

# A queued job on hardware has these values while its credentials are not in the service's memory.
_WAITING = {
    "reason": "Waiting for hardware credentials. The flow that waits for the job sends them"
    " automatically.",
    "reason_code": ReasonCode.CREDENTIALS_MISSING,
}


def insert_job(connection: Connection, new: NewJob) -> bool:
    """Queue a job; if its key has been used before, change nothing and return False.

    The key of a deleted job has been used as well.
    """
    if find_deleted(connection, new.owner, key=new.idempotency_key) is not None:
        return False
    columns = {
        "id": new.id,
        "owner": new.owner.user,
        "instance": new.owner.instance,
        "program_id": new.program_id,
        "program_version": new.program_version,
        "backend": new.backend,
        "image": new.image,
        "session_id": new.session_id,
        "log_level": new.log_level,
        "max_execution_seconds": new.max_execution_seconds,
        "private": new.private,
        "attempt": new.attempt,
        "idempotency_key": new.idempotency_key,
        "request_hash": new.request_hash,
        "state": JobStatus.QUEUED.value,
        "created_at": new.created_at,
        "hardware": new.hardware,
        "simulation": new.simulation,
        **(_WAITING if new.hardware else {}),
    }
    unique = ["owner", "instance", "idempotency_key"]
    statement = insert_or(jobs).values(columns).on_conflict_do_nothing(index_elements=unique)
    if connection.execute(statement).rowcount == 0:
        return False
    connection.execute(insert(job_inputs).values(job_id=new.id, params=new.params))
    _insert_tags(connection, new.id, new.tags)
    return True


def find_by_key(connection: Connection, key: str, owner: Owner) -> Job | None:
    """Return the job that was submitted with an idempotency key."""
    return _one(connection, jobs.c.idempotency_key == key, _owned_by(owner))


def find_deleted(
    connection: Connection, owner: Owner, *, key: str | None = None, job_id: str | None = None
) -> DeletedJob | None:
    """Return the owner's deleted job with a key or an id, if its key is still known."""
    if key is None and job_id is None:
        return None
    wanted = deleted_keys.c.job_id == job_id if key is None else deleted_keys.c.key == key
    owned = (deleted_keys.c.owner == owner.user) & (deleted_keys.c.instance == owner.instance)
    row = connection.execute(select(deleted_keys).where(wanted, owned).limit(1)).one_or_none()
    return None if row is None else DeletedJob(row.job_id, row.request_hash, row.deleted_at)


def find_job(connection: Connection, job_id: str, owner: Owner) -> Job | None:
    """Return the owner's job with an id."""
    return _one(connection, jobs.c.id == job_id, _owned_by(owner))


def get_job(connection: Connection, job_id: str) -> Job | None:
    """Return a job of any owner, for the service's internal use."""
    return _one(connection, jobs.c.id == job_id)


def page_jobs(connection: Connection, owner: Owner, which: JobFilter) -> tuple[list[Job], int]:
    """Return a page of the owner's jobs, and their total number."""
    conditions = [_owned_by(owner), *_conditions(which)]
    count = connection.execute(
        select(func.count()).select_from(jobs).where(*conditions)
    ).scalar_one()
    order = jobs.c.number.asc() if which.oldest_first else jobs.c.number.desc()
    rows = connection.execute(
        _JOB.where(*conditions).order_by(order).limit(which.limit).offset(which.offset)
    ).all()
    return _jobs_with_tags(connection, rows), count


def require_credentials(connection: Connection) -> list[str]:
    """Make all queued jobs on hardware wait for credentials; return their ids."""
    queued = (jobs.c.state == JobStatus.QUEUED.value) & jobs.c.hardware.is_not(None)
    statement = update(jobs).where(queued).values(_WAITING).returning(jobs.c.id)
    return list(connection.execute(statement).scalars())


def clear_credentials_wait(connection: Connection, job_id: str) -> bool:
    """Let a queued job start, because its credentials are available; return False if not queued."""
    queued = (jobs.c.id == job_id) & (jobs.c.state == JobStatus.QUEUED.value)
    changed = connection.execute(update(jobs).where(queued).values(reason=None, reason_code=None))
    return bool(changed.rowcount)


def end_job(
    connection: Connection, job_id: str, end: JobEnd, now: datetime, *, was: JobStatus
) -> bool:
    """End a job that is in a given state; return False if it is not."""
    which = (jobs.c.id == job_id) & (jobs.c.state == was.value)
    ended = bool(_end(connection, which, end, now))
    if ended and end.data is not None:
        connection.execute(insert(job_results).values(job_id=job_id, data=end.data))
    return ended


def end_all_running(connection: Connection, end: JobEnd, now: datetime) -> list[str]:
    """End every running job, all in the same way; return their ids."""
    return _end(connection, jobs.c.state == JobStatus.RUNNING.value, end, now)


def end_queued_of(connection: Connection, session_id: str, end: JobEnd, now: datetime) -> list[str]:
    """End a session's queued jobs, all in the same way; return their ids."""
    queued = jobs.c.state == JobStatus.QUEUED.value
    return _end(connection, queued & (jobs.c.session_id == session_id), end, now)


def replace_tags(connection: Connection, job_id: str, tags: Sequence[str]) -> None:
    """Replace a job's tags."""
    connection.execute(delete(job_tags).where(job_tags.c.job_id == job_id))
    _insert_tags(connection, job_id, tags)


def delete_ended_job(connection: Connection, job_id: str, now: datetime) -> bool:
    """Delete a job with all its data except its key; return False if it has not ended."""
    pending = [state.value for state in _PENDING]
    ended = (jobs.c.id == job_id) & jobs.c.state.not_in(pending)
    kept = select(
        jobs.c.owner,
        jobs.c.instance,
        jobs.c.idempotency_key,
        jobs.c.id,
        jobs.c.request_hash,
        literal(now, type_=deleted_keys.c.deleted_at.type),
    ).where(ended, jobs.c.idempotency_key.is_not(None))
    columns = ["owner", "instance", "key", "job_id", "request_hash", "deleted_at"]
    connection.execute(insert(deleted_keys).from_select(columns, kept))
    return bool(connection.execute(delete(jobs).where(ended)).rowcount)


def forget_deleted_keys(connection: Connection, before: datetime) -> int:
    """Forget the keys of jobs that were deleted before a time; return their number."""
    old = deleted_keys.c.deleted_at < before
    return connection.execute(delete(deleted_keys).where(old)).rowcount


def count_pending(connection: Connection) -> dict[tuple[str, JobStatus], int]:
    """Count queued and running jobs by backend and state."""
    pending = [state.value for state in _PENDING]
    rows = connection.execute(
        select(jobs.c.backend, jobs.c.state, func.count())
        .where(jobs.c.state.in_(pending))
        .group_by(jobs.c.backend, jobs.c.state)
    )
    return {(backend, JobStatus(state)): count for backend, state, count in rows}


def used_quantum_seconds(connection: Connection, owner: Owner) -> float:
    """Return the total device time of the owner's jobs."""
    used = func.coalesce(func.sum(jobs.c.quantum_seconds), 0.0)
    return connection.execute(select(used).where(_owned_by(owner))).scalar_one()


def oldest_ended(connection: Connection, *, limit: int, before: datetime) -> list[str]:
    """Return the ids of the jobs that ended first, of those that ended before a time."""
    statement = select(jobs.c.id).where(jobs.c.ended_at < before)
    return list(connection.execute(statement.order_by(jobs.c.ended_at).limit(limit)).scalars())


def _end(
    connection: Connection, which: ColumnElement[bool], end: JobEnd, now: datetime
) -> list[str]:
    """End jobs and update their sessions; return the jobs' ids."""
    ended = connection.execute(
        update(jobs)
        .where(which)
        .values(
            state=end.state.value,
            reason=end.reason,
            reason_code=end.reason_code,
            reason_solution=end.reason_solution,
            used_up_limit=None if end.limit is None else end.limit.model_dump(),
            ended_at=now,
            usage_seconds=end.usage_seconds,
            simulation_methods=end.simulation_methods,
            quantum_seconds=end.quantum_seconds,
            versions=end.versions,
        )
        .returning(jobs.c.id, jobs.c.session_id, jobs.c.started_at)
    ).all()
    for job in ended:
        if job.session_id is not None:
            ran = 0.0 if job.started_at is None else (now - job.started_at).total_seconds()
            sessions.job_ended(connection, job.session_id, now, ran_seconds=ran)
    return [job.id for job in ended]


def _one(connection: Connection, *conditions: ColumnElement[bool]) -> Job | None:
    rows = connection.execute(_JOB.where(*conditions)).all()
    found = _jobs_with_tags(connection, rows)
    return found[0] if found else None


def _owned_by(owner: Owner) -> ColumnElement[bool]:
    return (jobs.c.owner == owner.user) & (jobs.c.instance == owner.instance)


def _conditions(which: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if which.pending is not None:
        pending = jobs.c.state.in_([state.value for state in _PENDING])
        conditions.append(pending if which.pending else ~pending)
    for column, wanted in (
        (jobs.c.program_id, which.program_id),
        (jobs.c.backend, which.backend),
        (jobs.c.session_id, which.session_id),
    ):
        if wanted is not None:
            conditions.append(column == wanted)
    if which.created_after is not None:
        conditions.append(jobs.c.created_at >= which.created_after)
    if which.created_before is not None:
        conditions.append(jobs.c.created_at <= which.created_before)
    for tag in which.tags:
        tagged = select(job_tags.c.job_id).where(job_tags.c.tag == tag)
        conditions.append(jobs.c.id.in_(tagged))
    return conditions


def _insert_tags(connection: Connection, job_id: str, tags: Sequence[str]) -> None:
    rows = [
        {"job_id": job_id, "position": position, "tag": tag}
        for position, tag in enumerate(dict.fromkeys(tags))
    ]
    if rows:
        connection.execute(insert(job_tags), rows)


def _jobs_with_tags(connection: Connection, rows: Sequence[Row[Any]]) -> list[Job]:
    tags: dict[str, list[str]] = {row.id: [] for row in rows}
    if rows:
        found = connection.execute(
            select(job_tags.c.job_id, job_tags.c.tag)
            .where(job_tags.c.job_id.in_(tags))
            .order_by(job_tags.c.job_id, job_tags.c.position)
        )
        for job_id, tag in found:
            tags[job_id].append(tag)
    return [_job(row, tuple(tags[row.id])) for row in rows]


def _job(row: Row[Any], tags: tuple[str, ...]) -> Job:
    return Job(
        id=row.id,
        owner=Owner(row.owner, row.instance),
        program_id=row.program_id,
        program_version=row.program_version,
        backend=row.backend,
        image=row.image,
        session_id=row.session_id,
        log_level=row.log_level,
        max_execution_seconds=row.max_execution_seconds,
        private=row.private,
        attempt=row.attempt,
        idempotency_key=row.idempotency_key,
        request_hash=row.request_hash,
        state=JobStatus(row.state),
        reason=row.reason,
        reason_code=row.reason_code,
        reason_solution=row.reason_solution,
        limit=row.used_up_limit and UsedUpLimit.model_validate(row.used_up_limit),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        usage_seconds=row.usage_seconds,
        quantum_seconds=row.quantum_seconds,
        versions=row.versions,
        interim_count=row.interim_count,
        tags=tags,
        hardware=row.hardware,
        simulation=row.simulation,
        simulation_methods=row.simulation_methods,
    )
