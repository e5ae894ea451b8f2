"""Statements about sessions: their states, and what their jobs do to them.

Those that change a session run within the write that causes it (a job's start, a job's end), so
a session and its jobs never disagree.
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
    """Open a session; say whether it was not there before."""
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
    """Return the owner's session of an id."""
    session = get_session(connection, session_id)
    return session if session is not None and session.owner == owner else None


def get_session(connection: Connection, session_id: str) -> Session | None:
    """Return a session, whoever owns it: for what the service itself does."""
    row = connection.execute(select(sessions).where(sessions.c.id == session_id)).one_or_none()
    return None if row is None else _session(row)


def page_sessions(
    connection: Connection, owner: Owner, *, limit: int, offset: int, is_open: bool | None
) -> tuple[list[Session], int]:
    """Return a page of the owner's sessions, the newest first, and how many there are in all."""
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
    """Return the ids of the sessions that hold a slot: those dedicated and active."""
    statement = select(sessions.c.id).where(
        sessions.c.state == SessionState.ACTIVE.value, sessions.c.mode == "dedicated"
    )
    return frozenset(connection.execute(statement).scalars())


def count_pending(connection: Connection, session_id: str) -> int:
    """Count the session's jobs that wait or run."""
    return connection.execute(
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.session_id == session_id, jobs.c.state.in_(_PENDING))
    ).scalar_one()


def job_started(connection: Connection, session_id: str, now: datetime) -> None:
    """Take note that a job of the session starts, which activates it."""
    session = get_session(connection, session_id)
    if session is None:  # a job from before there were sessions
        return
    _set(connection, session_id, last_job_started_at=now, started_at=session.started_at or now)
    if session.state in (SessionState.OPEN, SessionState.INACTIVE):
        _set(
            connection, session_id, activated_at=now, **_entered(session, SessionState.ACTIVE, now)
        )


def job_ended(
    connection: Connection, session_id: str, now: datetime, *, ran_seconds: float
) -> None:
    """Take note that a job of the session has ended, the last of which may close it.

    Args:
        connection: The write in which the job ends.
        session_id: Its session.
        now: The time.
        ran_seconds: How long it ran; 0 if it never started.
    """
    session = get_session(connection, session_id)
    if session is None:
        return
    used = 0.0
    if session.mode == "batch":
        used = ran_seconds
    elif session.closed_at is not None and ran_seconds:
        # It ran on when its session was closed, and the slot was not free before its end.
        used = (now - session.closed_at).total_seconds()
    _set(connection, session_id, last_job_ended_at=now, used_seconds=session.used_seconds + used)
    if not session.accepting_jobs and not count_pending(connection, session_id):
        close(connection, session_id, now)


def stop_accepting(connection: Connection, session_id: str, now: datetime) -> None:
    """Take no more jobs into a session; it closes when it has none left."""
    _set(connection, session_id, accepting_jobs=False)
    if not count_pending(connection, session_id):
        close(connection, session_id, now)


def deactivate(connection: Connection, session_id: str, now: datetime) -> None:
    """Make an active session inactive: it gives its slot back until its next job starts."""
    session = get_session(connection, session_id)
    if session is None or session.state is not SessionState.ACTIVE:
        return
    _set(
        connection,
        session_id,
        used_seconds=session.used_until(now),
        **_entered(session, SessionState.INACTIVE, now),
    )


def close(connection: Connection, session_id: str, now: datetime) -> None:
    """Close a session that is not closed yet. Its jobs are not looked at."""
    session = get_session(connection, session_id)
    if session is None or session.state is SessionState.CLOSED:
        return
    _set(
        connection,
        session_id,
        accepting_jobs=False,
        closed_at=now,
        used_seconds=session.used_until(now),
        **_entered(session, SessionState.CLOSED, now),
    )


def delete_closed(connection: Connection, before: datetime) -> int:
    """Delete the sessions that were closed before a time and have no jobs any more."""
    has_jobs = select(jobs.c.id).where(jobs.c.session_id == sessions.c.id).exists()
    statement = delete(sessions).where(sessions.c.closed_at < before, ~has_jobs)
    return connection.execute(statement).rowcount


def _set(connection: Connection, session_id: str, **values: Any) -> None:
    connection.execute(update(sessions).where(sessions.c.id == session_id).values(**values))


def _entered(session: Session, state: SessionState, now: datetime) -> dict[str, Any]:
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
