"""Statements about sessions: their states, and how their jobs change them.

A session changes within the write that causes the change (a job's start, a job's end), so a session
and its jobs are always consistent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from prefect_qiskit_runtime.models import JobStatus, SessionState
from prefect_qiskit_runtime.service.store.records import NewSession, Owner, Session
from prefect_qiskit_runtime.service.store.tables import jobs, sessions

_PENDING = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)


def insert_session(connection: Connection, new: NewSession) -> bool:
    """Open a session; return False if it already exists."""
    inserted = connection.execute(
        insert_or(sessions)
        .values(
            id=new.id,
            owner=new.owner.user,
            instance=new.owner.instance,
            backend=new.backend,
            mode=new.mode,
            state=SessionState.OPEN.value,
            accepting_jobs=True,
            max_ttl_seconds=new.max_ttl_seconds,
            interactive_ttl_seconds=new.interactive_ttl_seconds,
            created_at=new.created_at,
            used_seconds=0.0,
            changes=[(SessionState.OPEN.value, new.created_at.isoformat())],
        )
        .on_conflict_do_nothing(index_elements=["id"])
    )
    return inserted.rowcount == 1


def find_session(connection: Connection, session_id: str, owner: Owner) -> Session | None:
    """Return the owner's session with an id."""
    session = get_session(connection, session_id)
    return session if session is not None and session.owner == owner else None


def get_session(connection: Connection, session_id: str) -> Session | None:
    """Return a session of any owner, for the service's internal use."""
    row = connection.execute(select(sessions).where(sessions.c.id == session_id)).one_or_none()
    return None if row is None else _session(row)


def page_sessions(
    connection: Connection, owner: Owner, *, limit: int, offset: int, is_open: bool | None
) -> tuple[list[Session], int]:
    """Return a page of the owner's sessions, newest first, and their total number."""
    conditions: list[ColumnElement[bool]] = [
        sessions.c.owner == owner.user,
        sessions.c.instance == owner.instance,
    ]
    if is_open is not None:
        closed = sessions.c.state == SessionState.CLOSED.value
        conditions.append(~closed if is_open else closed)
    count = connection.execute(
        select(func.count()).select_from(sessions).where(*conditions)
    ).scalar_one()
    newest_first = (sessions.c.created_at.desc(), sessions.c.id)
    rows = connection.execute(
        select(sessions).where(*conditions).order_by(*newest_first).limit(limit).offset(offset)
    )
    return [_session(row) for row in rows], count


def open_ids(connection: Connection) -> list[str]:
    """Return the ids of all sessions that are not closed."""
    statement = select(sessions.c.id).where(sessions.c.state != SessionState.CLOSED.value)
    return list(connection.execute(statement).scalars())


def count_open(connection: Connection) -> int:
    """Count the sessions that are not closed."""
    return connection.execute(
        select(func.count())
        .select_from(sessions)
        .where(sessions.c.state != SessionState.CLOSED.value)
    ).scalar_one()


def holding_slots(connection: Connection) -> frozenset[str]:
    """Return the ids of the sessions that hold a slot: the active dedicated ones."""
    statement = select(sessions.c.id).where(
        sessions.c.state == SessionState.ACTIVE.value, sessions.c.mode == "dedicated"
    )
    return frozenset(connection.execute(statement).scalars())


def count_pending(connection: Connection, session_id: str) -> int:
    """Count the session's queued and running jobs."""
    return connection.execute(
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.session_id == session_id, jobs.c.state.in_(_PENDING))
    ).scalar_one()


def job_started(connection: Connection, session_id: str, now: datetime) -> None:
    """Record the start of a session's job, which activates the session."""
    session = get_session(connection, session_id)
    if session is None:  # a job from before sessions existed
        return
    _set(connection, session_id, last_job_started_at=now, started_at=session.started_at or now)
    if session.state in (SessionState.OPEN, SessionState.INACTIVE):
        _set(
            connection,
            session_id,
            activated_at=now,
            **_state_change(session, SessionState.ACTIVE, now),
        )


def job_ended(
    connection: Connection, session_id: str, now: datetime, *, ran_seconds: float
) -> None:
    """Record the end of a session's job; the last job may close the session.

    Args:
        connection: The write in which the job ends.
        session_id: The job's session.
        now: The time.
        ran_seconds: Running time of the job; 0 if it never started.
    """
    session = get_session(connection, session_id)
    if session is None:
        return
    used = 0.0
    if session.mode == "batch":
        used = ran_seconds
    elif session.closed_at is not None and ran_seconds:
        # The job kept running after its session closed, so its slot became free only now.
        used = (now - session.closed_at).total_seconds()
    _set(connection, session_id, last_job_ended_at=now, used_seconds=session.used_seconds + used)
    if not session.accepting_jobs and not count_pending(connection, session_id):
        close(connection, session_id, now)


def stop_accepting(connection: Connection, session_id: str, now: datetime) -> None:
    """Close a session to new jobs; it closes fully once it has no jobs left."""
    _set(connection, session_id, accepting_jobs=False)
    if not count_pending(connection, session_id):
        close(connection, session_id, now)


def deactivate(connection: Connection, session_id: str, now: datetime) -> None:
    """Make an active session inactive: it releases its slot until its next job starts."""
    session = get_session(connection, session_id)
    if session is None or session.state is not SessionState.ACTIVE:
        return
    _set(
        connection,
        session_id,
        used_seconds=session.used_until(now),
        **_state_change(session, SessionState.INACTIVE, now),
    )


def close(connection: Connection, session_id: str, now: datetime) -> None:
    """Close a session unless it is already closed. Its jobs do not change."""
    session = get_session(connection, session_id)
    if session is None or session.state is SessionState.CLOSED:
        return
    _set(
        connection,
        session_id,
        accepting_jobs=False,
        closed_at=now,
        used_seconds=session.used_until(now),
        **_state_change(session, SessionState.CLOSED, now),
    )


def delete_closed(connection: Connection, before: datetime) -> int:
    """Delete the sessions that were closed before a time and have no jobs left."""
    has_jobs = select(jobs.c.id).where(jobs.c.session_id == sessions.c.id).exists()
    statement = delete(sessions).where(sessions.c.closed_at < before, ~has_jobs)
    return connection.execute(statement).rowcount


def _set(connection: Connection, session_id: str, **values: Any) -> None:
    connection.execute(update(sessions).where(sessions.c.id == session_id).values(**values))


def _state_change(session: Session, state: SessionState, now: datetime) -> dict[str, Any]:
    """Return the columns of a change of state."""
    changes = [*session.changes, (state.value, now.isoformat())]
    return {"state": state.value, "changes": changes}


def _session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        owner=Owner(row.owner, row.instance),
        backend=row.backend,
        mode=row.mode,
        state=SessionState(row.state),
        accepting_jobs=row.accepting_jobs,
        max_ttl_seconds=row.max_ttl_seconds,
        interactive_ttl_seconds=row.interactive_ttl_seconds,
        created_at=row.created_at,
        started_at=row.started_at,
        activated_at=row.activated_at,
        closed_at=row.closed_at,
        last_job_started_at=row.last_job_started_at,
        last_job_ended_at=row.last_job_ended_at,
        used_seconds=row.used_seconds,
        changes=tuple((status, moment) for status, moment in row.changes),
    )
