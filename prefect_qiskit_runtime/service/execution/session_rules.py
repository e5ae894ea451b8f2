"""The time limits of sessions, applied within the store's writes.

The rules are IBM's. A session that never had a job closes after half an hour. Otherwise it closes
when its max time has passed since the start of its first job, busy or not: queued jobs fail and a
running job continues. Without a job for its interactive time, a session becomes inactive: its slot
returns to the queue, and its next job, which queues like all others, makes it active again.
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
    """Apply to a session every change that is due by now; return the jobs that this ended."""
    ended: list[str] = []
    step = _next_step(connection, session_id)
    while step is not None and step.due <= now:
        ended += step.take(connection, now)
        step = _next_step(connection, session_id)
    return ended


def next_due(connection: Connection, session_id: str) -> datetime | None:
    """Return when a session's next timed change is due; None if only its jobs can change it."""
    step = _next_step(connection, session_id)
    return None if step is None else step.due


def close_now(connection: Connection, session_id: str, end: JobEnd, now: datetime) -> list[str]:
    """Close a session and end its queued jobs in a given way; return their ids."""
    ended = jobs.end_queued_of(connection, session_id, end, now)
    sessions.close(connection, session_id, now)
    return ended


@dataclass(frozen=True)
class _Step:
    """A change that is due at a time; `take` returns the jobs that it ends."""

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
        reason=f"The session {session.id} closed before the job could start: its max time"
        f" of {session.max_ttl_seconds} s was over.",
        reason_code=ReasonCode.SESSION_CLOSED,
    )
    return lambda connection, now: close_now(connection, session.id, end, now)


def _deactivate(session: Session) -> Callable[[Connection, datetime], list[str]]:
    def take(connection: Connection, now: datetime) -> list[str]:
        sessions.deactivate(connection, session.id, now)
        return []

    return take
