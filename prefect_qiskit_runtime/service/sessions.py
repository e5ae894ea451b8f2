"""Sessions: opening, finding and closing them, and which jobs may join them."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError, SessionClosedError
from prefect_qiskit_runtime.models import JobStatus, SessionMode, SessionState
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.identifiers import id_of, new_id
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER
from prefect_qiskit_runtime.service.store import sessions as statements
from prefect_qiskit_runtime.service.store.records import JobEnd, NewSession, Owner, Session
from prefect_qiskit_runtime.settings import Settings

logger = logging.getLogger(__name__)

_CANCELLED = JobEnd(JobStatus.CANCELLED, reason="Cancelled with its session")


class SessionRequest(BaseModel):
    """Body of a request that opens a session."""

    mode: SessionMode = "dedicated"
    backend: str | None = None
    max_ttl: int | None = Field(default=None, ge=1, le=LARGEST_INTEGER)


class SessionChange(BaseModel):
    """Body of a change of a session: the only change is to stop accepting jobs."""

    accepting_jobs: Literal[False]


def draft(
    settings: Settings,
    owner: Owner,
    backend: str,
    *,
    now: datetime,
    mode: SessionMode = "dedicated",
    max_ttl: int | None = None,
) -> NewSession:
    """Return a session that is about to be opened.

    Raises:
        InvalidInputError: Its max time is longer than the service allows.
    """
    longest = settings.max_session_seconds
    if max_ttl is not None and max_ttl > longest:
        raise InvalidInputError(
            f"A session of {max_ttl} s is too long: this service allows at most {longest} s.",
            path="$.max_ttl",
            rule=f"maximum: {longest}",
        )
    return NewSession(
        id=new_id(),
        owner=owner,
        backend=backend,
        mode=mode,
        max_ttl_seconds=max_ttl or longest,
        interactive_ttl_seconds=settings.session_idle_seconds,
        created_at=now,
    )


async def open_session(
    context: ServiceContext, owner: Owner, request: SessionRequest, key: str | None
) -> Session:
    """Open a session, or return the one that the same request with the same key opened.

    Raises:
        NotFoundError: There is no such backend.
        InvalidInputError: Its max time is longer than the service allows.
    """
    backend = context.devices.choose(request.backend, {}).name
    now = context.clock.now()
    new = draft(
        context.settings, owner, backend, now=now, mode=request.mode, max_ttl=request.max_ttl
    )
    if key is not None:
        what = (new.mode, new.backend, str(new.max_ttl_seconds))
        new = replace(new, id=id_of("session", owner.user, owner.instance, key, *what))
    if await context.store.write(statements.insert_session, new):
        context.scheduler.sessions.watch(new.id)
        logger.info("Session %s (%s) opened", new.id, new.mode)
    return await find(context, new.id, owner)


async def find(context: ServiceContext, session_id: str, owner: Owner) -> Session:
    """Return a session of the owner.

    Raises:
        NotFoundError: There is no such session, or it belongs to another user.
    """
    return _require(
        await context.store.read(statements.find_session, session_id, owner), session_id
    )


async def stop_accepting(context: ServiceContext, session_id: str, owner: Owner) -> None:
    """Close a session to new jobs; it closes fully once its jobs are done.

    Raises:
        NotFoundError: There is no such session.
    """
    await find(context, session_id, owner)
    await context.store.write(statements.stop_accepting, session_id, context.clock.now())
    context.scheduler.sessions.watch(session_id)
    context.scheduler.wake()


async def cancel(context: ServiceContext, session_id: str, owner: Owner) -> None:
    """Close a session now and cancel its queued jobs; a running job continues.

    Raises:
        NotFoundError: There is no such session.
    """
    await find(context, session_id, owner)
    ended = await context.scheduler.sessions.end(session_id, _CANCELLED)
    logger.info("Session %s cancelled with %d queued jobs", session_id, len(ended))


async def backend_of(
    context: ServiceContext, session_id: str, asked: str | None, owner: Owner
) -> str:
    """Return the backend of a session and its jobs.

    Raises:
        NotFoundError: There is no such session.
        InvalidInputError: Another backend is requested.
    """
    session = await find(context, session_id, owner)
    if asked is not None and asked != session.backend:
        raise InvalidInputError(
            f"Session {session_id} is on backend {session.backend}: a job for {asked} cannot"
            " belong to it.",
            path="$.backend",
            rule=session.backend,
        )
    return session.backend


def check_accepting(connection: Connection, session_id: str, owner: Owner) -> None:
    """Check, within the write that queues a job, that its session accepts it.

    Raises:
        NotFoundError: There is no such session.
        SessionClosedError: The session accepts no more jobs.
    """
    session = _require(statements.find_session(connection, session_id, owner), session_id)
    if session.accepting_jobs:
        return
    is_closed = session.state is SessionState.CLOSED
    what = "is closed" if is_closed else "accepts no more jobs"
    raise SessionClosedError(
        f"Session {session_id} {what}. Open another one.", session_id=session_id
    )


def _require(session: Session | None, session_id: str) -> Session:
    if session is None:
        message = f"There is no session {session_id!r}."
        raise NotFoundError(message, kind="session", identifier=session_id)
    return session
