"""Endpoints of the service itself: identity, status and shutdown."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from prefect_qiskit_runtime.errors import ConflictError
from prefect_qiskit_runtime.models import (
    CAPABILITIES,
    PROTOCOL_VERSION,
    JobStatus,
    ServiceIdentity,
    ServiceStatus,
    package_version,
)
from prefect_qiskit_runtime.models.embedded_home import identity_proof
from prefect_qiskit_runtime.service.http.auth import Context, Observer
from prefect_qiskit_runtime.service.http.openapi import answers
from prefect_qiskit_runtime.service.store.jobs import count_pending
from prefect_qiskit_runtime.service.store.sessions import count_open

router = APIRouter()
embedded_router = APIRouter()


@router.get("/.well-known/qiskit-runtime", responses=answers(ServiceIdentity))
async def identify(
    context: Context,
    nonce: Annotated[str | None, Query(pattern="^[0-9a-fA-F]{16,128}$")] = None,
) -> dict[str, Any]:
    """Identify the service and, given a nonce, prove that it knows the token. No token needed."""
    token = context.embedded_token
    proof = identity_proof(token, nonce) if token and nonce else None
    return ServiceIdentity(
        product="prefect-qiskit-runtime",
        protocol_version=PROTOCOL_VERSION,
        package_version=package_version(),
        proof=proof,
        capabilities=list(CAPABILITIES),
    ).model_dump(mode="json")


@router.get("/service/status", responses=answers(ServiceStatus))
async def get_status(context: Context, _: Observer) -> dict[str, Any]:
    """Return the status of the service. The request does not prevent an idle stop."""
    pending = await context.store.read(count_pending)
    counts = dict.fromkeys(JobStatus, 0)
    for (_backend, state), count in pending.items():
        counts[state] += count
    return ServiceStatus(
        package_version=package_version(),
        protocol_version=PROTOCOL_VERSION,
        pid=os.getpid(),
        started_at=context.started_at,
        jobs_queued=counts[JobStatus.QUEUED],
        jobs_running=counts[JobStatus.RUNNING],
        streams_open=context.feed.open_streams,
        sessions_open=await context.store.read(count_open),
    ).model_dump(mode="json")


@embedded_router.post(
    "/service/shutdown", status_code=202, responses=answers({"type": "object"}, 409, status=202)
)
async def shut_down(context: Context, _: Observer, only_if_idle: bool = True) -> Response:
    """Stop the service. Running jobs are interrupted; with `only_if_idle`, this is refused."""
    if only_if_idle and await context.store.read(count_pending):
        raise ConflictError("Jobs are running or queued, so the service was not stopped.")
    context.activity.ending = True
    if context.request_end is not None:
        context.request_end()
    return JSONResponse({}, status_code=202)
