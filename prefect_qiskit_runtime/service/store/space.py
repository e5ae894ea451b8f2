"""Statements for retention: the space that each user takes, and the evidence for the clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert as insert_or

from prefect_qiskit_runtime.service.store.records import SERVICE_OWNERS
from prefect_qiskit_runtime.service.store.tables import (
    deleted_keys,
    interim_results,
    job_inputs,
    job_results,
    jobs,
    program_versions,
    programs,
    service_state,
)

# Approximate space of a row with its indexes, in addition to its bodies.
_JOB_BYTES = 1024
_INTERIM_BYTES = 64
KEY_BYTES = 200
"""Approximate space of the key of a deleted job."""

_LONGEST_STEP = timedelta(days=7)
_DOUBT = timedelta(days=1)
_SERVICES = [owner.user for owner in SERVICE_OWNERS]


@dataclass(frozen=True)
class Space:
    """The bytes that one user takes.

    Attributes:
        total: Bytes of jobs, with inputs and results, of programs and of keys.
        ended: The part that belongs to ended jobs, which can be deleted.
    """

    total: int
    ended: int


@dataclass(frozen=True)
class EndedJob:
    """An ended job, and the bytes that it takes without its log."""

    id: str
    num_bytes: int


def used_bytes(connection: Connection) -> int:
    """Return the number of bytes in use in the database file."""
    page_size, pages, free = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page_size * (pages - free)


def space_by_user(connection: Connection, log_bytes: Mapping[str, int]) -> dict[str, Space]:
    """Return the space of each user.

    Args:
        connection: The database.
        log_bytes: Sizes of the jobs' logs by the id of the job.
    """
    total: dict[str, int] = defaultdict(int)
    ended: dict[str, int] = defaultdict(int)
    for owner, is_ended, num_bytes in _job_bytes(connection, log_bytes):
        total[owner] += num_bytes
        ended[owner] += num_bytes if is_ended else 0
    for owner, num_bytes in _other_bytes(connection):
        total[owner] += num_bytes
    return {owner: Space(total[owner], ended[owner]) for owner in total}


def oldest_ended_of(connection: Connection, user: str, *, limit: int) -> list[EndedJob]:
    """Return the jobs of a user that ended first, with their sizes."""
    statement = (
        select(jobs.c.id, _bytes_of_job())
        .where(jobs.c.owner == user, jobs.c.ended_at.is_not(None))
        .order_by(jobs.c.ended_at)
        .limit(limit)
    )
    return [EndedJob(job_id, num_bytes) for job_id, num_bytes in connection.execute(statement)]


def note_time(connection: Connection, now: datetime) -> bool:
    """Write down the time; return False if the clock is not to be trusted yet.

    A clock that is more than a week ahead of the time noted last (of the newest job in a database
    without a noted time) may be wrong. It is trusted once a day has passed by it and it has not
    been set back; restarts of the service do not matter.
    """
    seen = _noted(connection, "seen_at") or _newest_time(connection) or now
    doubted_from = _noted(connection, "doubted_from")
    if now - seen > _LONGEST_STEP:
        if doubted_from is None or now < doubted_from:
            _note(connection, "doubted_from", now)
            return False
        if now - doubted_from < _DOUBT:
            return False
    _note(connection, "seen_at", now)
    connection.execute(delete(service_state).where(service_state.c.name == "doubted_from"))
    return True


def _length(column: ColumnElement[Any]) -> ColumnElement[int]:
    return func.coalesce(func.sum(func.length(column)), 0)


def _bytes_of_job() -> ColumnElement[int]:
    """Return the size of a job of a statement: its inputs, result, interim results and row."""
    parts: list[ColumnElement[int]] = [
        select(_length(column)).where(table.c.job_id == jobs.c.id).scalar_subquery()
        for table, column in (
            (job_inputs, job_inputs.c.params),
            (job_results, job_results.c.data),
            (interim_results, interim_results.c.data),
        )
    ]
    rows = (
        select(func.count())
        .where(interim_results.c.job_id == jobs.c.id)
        .correlate(jobs)
        .scalar_subquery()
    )
    return parts[0] + parts[1] + parts[2] + rows * _INTERIM_BYTES + _JOB_BYTES


def _job_bytes(
    connection: Connection, log_bytes: Mapping[str, int]
) -> Sequence[tuple[str, bool, int]]:
    statement = select(jobs.c.owner, jobs.c.ended_at.is_not(None), jobs.c.id, _bytes_of_job())
    return [
        (owner, is_ended, num_bytes + log_bytes.get(job_id, 0))
        for owner, is_ended, job_id, num_bytes in connection.execute(statement)
    ]


def _other_bytes(connection: Connection) -> list[tuple[str, int]]:
    """Return the bytes of programs and of keys; the services' programs are charged to no user."""
    contents = _length(program_versions.c.source) + _length(program_versions.c.description)
    sources = (
        select(programs.c.owner, contents)
        .join(program_versions, programs.c.id == program_versions.c.program_id)
        .where(programs.c.owner.not_in(_SERVICES))
        .group_by(programs.c.owner)
    )
    keys = select(deleted_keys.c.owner, func.count() * KEY_BYTES).group_by(deleted_keys.c.owner)
    rows = [*connection.execute(sources), *connection.execute(keys)]
    return [(owner, num_bytes) for owner, num_bytes in rows]


def _newest_time(connection: Connection) -> datetime | None:
    newest = select(func.max(jobs.c.created_at), func.max(jobs.c.ended_at))
    times = [time for time in connection.execute(newest).one() if time is not None]
    return max(times, default=None)


def _noted(connection: Connection, name: str) -> datetime | None:
    found = connection.execute(
        select(service_state.c.value).where(service_state.c.name == name)
    ).scalar_one_or_none()
    return None if found is None else datetime.fromisoformat(found)


def _note(connection: Connection, name: str, moment: datetime) -> None:
    statement = insert_or(service_state).values(name=name, value=moment.isoformat())
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": moment.isoformat()})
    )
