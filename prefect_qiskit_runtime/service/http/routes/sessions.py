"""Endpoints of sessions and batches."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from prefect_qiskit_runtime.models import SessionInfo
from prefect_qiskit_runtime.service import sessions
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.openapi import answers, list_of, object_of, takes
from prefect_qiskit_runtime.service.http.views import session_view
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER, read_model
from prefect_qiskit_runtime.service.store import sessions as statements

router = APIRouter(prefix="/sessions")


@router.post(
    "",
    status_code=201,
    openapi_extra=takes(sessions.SessionRequest),
    responses=answers(SessionInfo, 404, status=201),
)
async def open_session(
    request: Request,
    context: Context,
    owner: Caller,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> dict[str, Any]:
    """Open a session or a batch; the same request with the same key returns the same one."""
    asked = await read_model(request, sessions.SessionRequest, "session")
    session = await sessions.open_session(context, owner, asked, idempotency_key)
    return session_view(session, context.clock.now())


@router.get(
    "", responses=answers(object_of(sessions=list_of(SessionInfo), count={"type": "integer"}))
)
async def list_sessions(
    context: Context,
    owner: Caller,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, le=LARGEST_INTEGER)] = 0,
    is_open: Annotated[bool | None, Query(alias="open")] = None,
) -> dict[str, Any]:
    """List the caller's sessions, newest first."""
    page, count = await context.store.read(
        statements.page_sessions, owner, limit=limit, offset=offset, is_open=is_open
    )
    now = context.clock.now()
    return {"sessions": [session_view(session, now) for session in page], "count": count}


@router.get("/{session_id}", responses=answers(SessionInfo))
async def get_session(session_id: str, context: Context, owner: Caller) -> dict[str, Any]:
    """Return a session."""
    session = await sessions.find(context, session_id, owner)
    return session_view(session, context.clock.now())


@router.patch(
    "/{session_id}",
    status_code=204,
    openapi_extra=takes(sessions.SessionChange),
    responses=answers(status=204),
)
async def stop_accepting(
    session_id: str, request: Request, context: Context, owner: Caller
) -> Response:
    """Close the session to new jobs; it closes fully once its jobs are done."""
    await read_model(request, sessions.SessionChange, "session")
    await sessions.stop_accepting(context, session_id, owner)
    return Response(status_code=204)


@router.delete("/{session_id}/close", status_code=204, responses=answers(status=204))
async def cancel_session(session_id: str, context: Context, owner: Caller) -> Response:
    """Close the session now and cancel its queued jobs."""
    await sessions.cancel(context, session_id, owner)
    return Response(status_code=204)
