"""The result stream: ours over HTTP, and IBM's form over a websocket."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service import jobs
from prefect_qiskit_runtime.service.auth import Caller, Context, caller, get_context
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.openapi import answers
from prefect_qiskit_runtime.service.problem import error_response
from prefect_qiskit_runtime.service.store.records import Job, Owner
from prefect_qiskit_runtime.service.store.results import find_result
from prefect_qiskit_runtime.service.stream import StreamSource, event_lines, follow

router = APIRouter()

_LARGEST_SEQ = 2**63 - 1
_CLOSE_GOING_AWAY = 1001


@router.get(
    "/jobs/{job_id}/stream",
    responses=answers({"type": "string"}, media_type="application/x-ndjson"),
)
async def stream_job(
    job_id: str,
    context: Context,
    owner: Caller,
    from_seq: Annotated[int, Query(alias="from", ge=0, le=_LARGEST_SEQ)] = 0,
) -> StreamingResponse:
    """Follow a job from one of its interim results on, as newline-delimited JSON."""
    job = await jobs.find(context, job_id, owner)
    lines = event_lines(_source(context, job), from_seq)
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.websocket("/stream/jobs/{job_id}")
async def stream_job_to_ibm_client(websocket: WebSocket, job_id: str) -> None:
    """Follow a job as IBM's clients up to 0.15 do: an ACK, then one frame per result."""
    context = get_context(websocket)
    try:
        owner = await caller(websocket)
        job = await jobs.find(context, job_id, owner)
    except QiskitRuntimeError as exc:
        await websocket.send_denial_response(error_response(exc))
        return
    await websocket.accept()
    listening = asyncio.create_task(_until_disconnected(websocket))
    sending = asyncio.create_task(_send(websocket, context, owner, job))
    await asyncio.wait((listening, sending), return_when=asyncio.FIRST_COMPLETED)
    for task in (listening, sending):
        task.cancel()
    outcomes = await asyncio.gather(listening, sending, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect):
            raise outcome


async def _send(websocket: WebSocket, context: ServiceContext, owner: Owner, job: Job) -> None:
    await websocket.send_text('{"type": "ack"}')
    replays = job.state.is_terminal
    if replays and context.replays.refuses(owner, job.id):
        await websocket.close()
        return
    ended: Job | None = None
    async with aclosing(follow(_source(context, job), 0)) as pages:
        async for page in pages:
            if page is None or page.job is None:
                continue
            for _seq, text in page.results:
                await websocket.send_text(text)
            ended = page.job if page.complete and page.job.state.is_terminal else None
    if ended is None:
        await websocket.close(_CLOSE_GOING_AWAY)  # the client connects again
        return
    if ended.state is JobStatus.COMPLETED:
        result = await context.store.read(find_result, job.id)
        await websocket.send_text(result or "null")
    if replays:
        context.replays.record(owner, job.id)
    await websocket.close()


async def _until_disconnected(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def _source(context: ServiceContext, job: Job) -> StreamSource:
    return StreamSource(context.store, context.feed, job.id)
