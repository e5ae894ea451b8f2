"""What the time does to sessions, within the writes of the store.

The rules are IBM's. A session that never had a job closes after half an hour. From the start of
its first job on it lives for its max time, busy or not; then what waits in it fails and what
runs goes on. Without a job for its interactive time it becomes inactive: its slot goes back to
the queue, and its next job, which waits there like all others, makes it active again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prefect_qiskit_runtime.models import JobStatus, ReasonCode, SessionState
from prefect_qiskit_runtime.service.store import jobs, sessions
from prefect_qiskit_runtime.service.store.records import JobEnd, Session

_UNUSED = timedelta(minutes=30)


def progress(connection: Connection, session_id: str, now: datetime) -> list[str]:
    """Do to a session what is due by now; return the jobs that ended with it."""
    ended: list[str] = []
    step = _next_step(connection, session_id)
    while step is not None and step.due <= now:
        ended += step.take(connection, now)
        step = _next_step(connection, session_id)
    return ended


def next_due(connection: Connection, session_id: str) -> datetime | None:
    """Return when the time changes a session next; None if only its jobs can."""
    step = _next_step(connection, session_id)
    return None if step is None else step.due


def close_now(connection: Connection, session_id: str, end: JobEnd, now: datetime) -> list[str]:
    """Close a session and give the jobs that wait in it an end; return their ids."""
    ended = jobs.end_queued_of(connection, session_id, end, now)
    sessions.close(connection, session_id, now)
    return ended


@dataclass(frozen=True)
class _Step:
    """Something that is to happen at a time; it returns the jobs that it ends."""

    due: datetime
    take: Callable[[Connection, datetime], list[str]]


def _next_step(connection: Connection, session_id: str) -> _Step | None:
    session = sessions.get_session(connection, session_id)
    if session is None or session.state is SessionState.CLOSED:
        return None
    steps: list[_Step] = []
    if session.started_at is not None:
        max_ttl = timedelta(seconds=session.max_ttl_seconds)
        steps.append(_Step(session.started_at + max_ttl, _expire(session)))
    if not sessions.count_pending(connection, session_id):
        idle_since = max(filter(None, (session.created_at, session.last_job_ended_at)))
        if session.state is SessionState.OPEN:
            steps.append(_Step(idle_since + _UNUSED, _expire(session)))
        elif session.state is SessionState.ACTIVE:
            interactive_ttl = timedelta(seconds=session.interactive_ttl_seconds)
            steps.append(_Step(idle_since + interactive_ttl, _deactivate(session)))
    return min(steps, key=lambda step: step.due, default=None)


def _expire(session: Session) -> Callable[[Connection, datetime], list[str]]:
    end = JobEnd(
        JobStatus.FAILED,
        reason=f"Its session {session.id} closed before it could start: the session's max time"
        f" of {session.max_ttl_seconds} s was over.",
        reason_code=ReasonCode.SESSION_CLOSED,
    )
    return lambda connection, now: close_now(connection, session.id, end, now)


def _deactivate(session: Session) -> Callable[[Connection, datetime], list[str]]:
    def take(connection: Connection, now: datetime) -> list[str]:
        sessions.deactivate(connection, session.id, now)
        return []

    return take
