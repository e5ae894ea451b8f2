"""The result stream: ours over HTTP, and IBM's over a websocket."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service import jobs
from prefect_qiskit_runtime.service.answer_shares import LARGE_BYTES
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.http.auth import Caller, Context, caller, get_context
from prefect_qiskit_runtime.service.http.connections import until_sent
from prefect_qiskit_runtime.service.http.large_answers import Share, pieces, share_of
from prefect_qiskit_runtime.service.http.openapi import answers
from prefect_qiskit_runtime.service.http.views import state_view
from prefect_qiskit_runtime.service.problem import error_response
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.records import InterimPage, Job, Owner
from prefect_qiskit_runtime.service.store.results import (
    StoredBytes,
    read_interim,
    stored_interim,
    stored_result,
)

HEARTBEAT_SECONDS = 15.0
# Each stream that is not read keeps one page in memory.
_PAGE_BYTES = 128 * 1024
_COPIES_OF_MESSAGE = 3  # in memory while it is sent: as text, as a frame, and as what is unsent
_HEARTBEAT = b'{"type": "heartbeat"}\n'


@dataclass(frozen=True)
class StreamSource:
    """The source of a stream: a job's stored results."""

    store: Store
    feed: Feed
    job_id: str

    async def read_page(self, from_seq: int) -> InterimPage:
        """Return the results from a number on, up to the size of a page."""
        return await self.store.read(
            read_interim, self.job_id, from_seq, max_bytes=_PAGE_BYTES, large=LARGE_BYTES
        )


async def follow(
    source: StreamSource, from_seq: int, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[InterimPage | None]:
    """Yield pages of a job's interim results from a number on, as they are stored.

    The last page is complete and has the ended job. The pages end without it only if the job is
    deleted or the service stops.

    Args:
        source: The job.
        from_seq: Number of the first interim result.
        heartbeat_seconds: Maximum time without a page, after which None is yielded.
    """
    with source.feed.watch(source.job_id) as watch:
        while not source.feed.closed:
            watch.expect()  # before the read: data stored after it ends the wait below
            page = await source.read_page(from_seq)
            if page.job is None:
                return
            yield page
            if page.results:
                from_seq = page.results[-1][0] + 1
            if not page.complete:
                continue
            if page.job.state.is_terminal:
                return
            while not source.feed.closed and not await watch.wait(heartbeat_seconds):
                yield None


async def event_lines(source: StreamSource, from_seq: int, share: Share) -> AsyncGenerator[bytes]:
    """Yield the stream as newline-delimited JSON, one `models.StreamEvent` per line.

    The stream starts with the job's state and reports each later state when it is entered. The
    end of a job follows all its results.
    """
    reported: JobStatus | None = None
    async with aclosing(follow(source, from_seq)) as pages:
        async for page in pages:
            if page is None or page.job is None:
                yield _HEARTBEAT
                continue
            job, lines = page.job, []
            new_state = _new_state(reported, job)
            if new_state is not None:
                reported = new_state
                lines.append(_status_line(new_state))
            lines += [_interim_line(seq, text) for seq, text in page.results if text is not None]
            if page.complete and job.state.is_terminal:
                if reported is not job.state:
                    lines.append(_status_line(job.state))
                lines.append(_end_line(job))
            if lines:
                yield b"".join(lines)
            async for part in _large_parts(source, page, share):
                yield part


async def interim_array(source: StreamSource, share: Share) -> AsyncGenerator[bytes]:
    """Yield the interim results so far as a JSON array of encoded texts."""
    from_seq, complete, separator = 0, False, b"["
    while not complete:
        page = await source.read_page(from_seq)
        small = [json.dumps(text).encode() for _, text in page.results if text is not None]
        if small:
            yield separator + b",".join(small)
            separator = b","
        async for part in _large_parts(source, page, share, separator, b""):
            yield part
            separator = b","
        complete = page.complete
        from_seq = page.results[-1][0] + 1 if page.results else from_seq
    yield b"[]" if separator == b"[" else b"]"


async def _large_parts(
    source: StreamSource,
    page: InterimPage,
    share: Share,
    before: bytes = b'{"type": "interim", "seq": %d, "data": ',
    after: bytes = b"}\n",
) -> AsyncGenerator[bytes]:
    """Yield the result of a page that is large, if one is, as JSON in small parts.

    Nothing is yielded if its job was deleted meanwhile: the next page reports that.
    """
    seq = next((seq for seq, text in page.results if text is None), None)
    if seq is None:
        return
    stored = stored_interim(source.job_id, seq)
    found = await source.store.read(stored.peek, 0)
    if found is None:
        return
    async with share(found[0]) as holder:
        content = await source.store.read(stored.read)
        if content is None:
            return
        yield (before % seq if b"%d" in before else before) + b'"'
        decoder = codecs.getincrementaldecoder("utf-8")()
        for piece in pieces(content):
            yield json.dumps(decoder.decode(piece))[1:-1].encode()
            holder.move()
            await asyncio.sleep(0)  # a client that reads fast must not hold the event loop
        yield b'"' + after


def _new_state(reported: JobStatus | None, job: Job) -> JobStatus | None:
    """Return the state to report before a page's results; None if it has not changed."""
    if reported is None:
        return job.state
    if reported is JobStatus.QUEUED and job.started_at is not None:
        return JobStatus.RUNNING
    return None


def _status_line(state: JobStatus) -> bytes:
    return b'{"type": "status", "status": "%s"}\n' % state.value.encode()


def _interim_line(seq: int, text: str) -> bytes:
    # Written by hand: a validated model per result costs more than the rest of the stream.
    return b'{"type": "interim", "seq": %d, "data": %s}\n' % (seq, json.dumps(text).encode())


def _end_line(job: Job) -> bytes:
    end = {"type": "end", "state": state_view(job), "interim_count": job.interim_count}
    return json.dumps(end).encode() + b"\n"


router = APIRouter()
_LARGEST_SEQ = 2**63 - 1
_CLOSE_GOING_AWAY = 1001


@router.get(
    "/jobs/{job_id}/stream",
    responses=answers({"type": "string"}, media_type="application/x-ndjson"),
)
async def stream_job(
    job_id: str,
    request: Request,
    context: Context,
    owner: Caller,
    from_seq: Annotated[int, Query(alias="from", ge=0, le=_LARGEST_SEQ)] = 0,
) -> StreamingResponse:
    """Follow a job from a given interim result on, as newline-delimited JSON."""
    job = await jobs.find(context, job_id, owner)
    share = share_of(context.answers, owner.user, request)
    lines = event_lines(source_of(context, job), from_seq, share)
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
    with context.feed.reader(job.id):
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
    async with aclosing(follow(source_of(context, job), 0)) as pages:
        async for page in pages:
            if page is None or page.job is None:
                continue
            for seq, text in page.results:
                if text is not None:
                    await websocket.send_text(text)
                else:
                    await _send_large(websocket, context, owner, stored_interim(job.id, seq))
            ended = page.job if page.complete and page.job.state.is_terminal else None
    if ended is None:
        await websocket.close(_CLOSE_GOING_AWAY)  # the client connects again
        return
    if ended.state is JobStatus.COMPLETED:
        await _send_large(websocket, context, owner, stored_result(job.id))
    if replays:
        context.replays.record(owner, job.id)
    await websocket.close()


async def _send_large(
    websocket: WebSocket, context: ServiceContext, owner: Owner, stored: StoredBytes
) -> None:
    """Send a text, which may be large, as one message; null if it was deleted."""
    share = share_of(context.answers, owner.user, websocket)
    found = await context.store.read(stored.peek, 0)
    async with share(0 if found is None else _COPIES_OF_MESSAGE * found[0]) as holder:
        content = await context.store.read(stored.read)
        await websocket.send_text("null" if content is None else content.decode())
        del content
        await until_sent(websocket, holder.move)


async def _until_disconnected(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def source_of(context: ServiceContext, job: Job) -> StreamSource:
    """Return the source of a job's streams."""
    return StreamSource(context.store, context.feed, job.id)
