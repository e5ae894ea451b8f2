"""Endpoints of jobs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from prefect_qiskit_runtime.models import JobInfo, JobMetrics, JobSubmitted
from prefect_qiskit_runtime.service import jobs
from prefect_qiskit_runtime.service.access_tokens import Purpose
from prefect_qiskit_runtime.service.answer_shares import LARGE_BYTES
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.devices import actual_name
from prefect_qiskit_runtime.service.http import private_results
from prefect_qiskit_runtime.service.http.auth import Caller, Context
from prefect_qiskit_runtime.service.http.dialect import (
    ApiVersion,
    FollowsLinks,
    IsIbms,
    ReadsListedInputs,
)
from prefect_qiskit_runtime.service.http.large_answers import LargeResponse, share_of
from prefect_qiskit_runtime.service.http.openapi import (
    TEXT,
    answers,
    list_of,
    object_of,
    schema_of,
    takes,
)
from prefect_qiskit_runtime.service.http.routes.stream import interim_array, source_of
from prefect_qiskit_runtime.service.http.views import (
    job_text,
    listing_text,
    metrics_view,
    submission_view,
)
from prefect_qiskit_runtime.service.instances import is_ours
from prefect_qiskit_runtime.service.problem import ResultGoneError
from prefect_qiskit_runtime.service.request_json import LARGEST_INTEGER, read_model, read_object
from prefect_qiskit_runtime.service.store import jobs as statements, results
from prefect_qiskit_runtime.service.store.records import Job, JobFilter, Owner

router = APIRouter(prefix="/jobs")
links = APIRouter()

# The inputs are not part of the model, because they are stored exactly as sent.
_SUBMISSION = {
    "allOf": [schema_of(jobs.JobRequest), {"properties": {"params": {"type": "object"}}}]
}

_LINK_SECONDS = 60
_LONGEST_NUMBER = 4300  # digits; Python does not parse longer integers

_INPUTS_PAGE_BYTES = 8 * 1024**2


@router.post(
    "",
    openapi_extra=takes(_SUBMISSION),
    responses=answers(JobSubmitted, 403, 404, 409, 410, 422),
)
async def submit_job(
    request: Request,
    context: Context,
    owner: Caller,
    idempotency_key: Annotated[str | None, Header()] = None,
    idempotency_fingerprint: Annotated[str | None, Header(min_length=32, max_length=128)] = None,
) -> JSONResponse:
    """Submit a job; the same key returns the same job, and 410 after that job was deleted."""
    body = await read_object(request, context.checker, owner.user, unparsed=["params"])
    submitted = await jobs.submit(context, owner, body, idempotency_key, idempotency_fingerprint)
    answer = submission_view(submitted.job)
    if submitted.warnings:
        answer["messages"] = [{"data": warning} for warning in submitted.warnings]
    headers = {"Idempotent-Replayed": "true"} if submitted.replayed else None
    return JSONResponse(answer, headers=headers)


@dataclass
class _Listing:
    """Query of a listing, with the protocol's names."""

    limit: Annotated[int, Query(ge=1, le=1000)] = 200
    offset: Annotated[int, Query(ge=0, le=LARGEST_INTEGER)] = 0
    pending: bool | None = None
    program: str | None = None
    backend: str | None = None
    session_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    sort: Literal["ASC", "DESC", "asc", "desc"] = "DESC"
    provider: Annotated[str | None, Query(description="A hub/group/project.")] = None

    def filter(self, tags: list[str]) -> JobFilter:
        """Return the query as the store's filter."""
        return JobFilter(
            limit=self.limit,
            offset=self.offset,
            oldest_first=self.sort.upper() == "ASC",
            pending=self.pending,
            program_id=self.program,
            backend=None if self.backend is None else actual_name(self.backend),
            session_id=self.session_id,
            created_after=_utc(self.created_after),
            created_before=_utc(self.created_before),
            tags=tuple(tags),
        )


@router.get("", responses=answers(object_of(jobs=list_of(JobInfo), count={"type": "integer"})))
async def list_jobs(
    context: Context,
    owner: Caller,
    listing: Annotated[_Listing, Depends()],
    version: ApiVersion,
    *,
    reads_inputs: ReadsListedInputs,
    tags: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """List the caller's jobs, by default newest first.

    qiskit-ibmq-provider gets their inputs as well, and fewer jobs than its limit if these are
    large; it continues where the page ends.
    """
    listed, count = [], 0
    if listing.provider is None or is_ours(*listing.provider.split("/")):
        which = listing.filter(tags or [])
        listed, count = await context.store.read(statements.page_jobs, owner, which)
    page: list[tuple[Job, bytes | None]] = [(job, None) for job in listed]
    if reads_inputs:
        page = await context.store.read(results.page_inputs, listed, max_bytes=_INPUTS_PAGE_BYTES)
    return Response(listing_text(page, count, version), media_type="application/json")


@router.get("/{job_id}", responses=answers(JobInfo))
async def get_job(
    job_id: str,
    context: Context,
    owner: Caller,
    version: ApiVersion,
    exclude_params: bool = False,
) -> Response:
    """Return a job, with its inputs as sent unless it is private."""
    job = await jobs.find(context, job_id, owner)
    inputs = results.stored_inputs(job_id)
    found = None
    if not exclude_params and not job.private:
        found = await context.store.read(inputs.peek, LARGE_BYTES)
    if found is None:
        return Response(job_text(job, version), media_type="application/json")
    num_bytes, content = found

    async def load() -> bytes:
        loaded = await context.store.read(inputs.read) if content is None else content
        if loaded is None:
            await jobs.find(context, job_id, owner)  # raises: the job has just been deleted
        return loaded or b"{}"

    # The inputs are inserted exactly as they were sent.
    return LargeResponse(
        context.answers,
        owner.user,
        num_bytes,
        load,
        media_type="application/json",
        around=(job_text(job, version)[:-1] + b', "params": ', b"}"),
    )


@router.get(
    "/{job_id}/results", responses=answers({"type": "string"}, 410, media_type=TEXT, also=204)
)
async def get_result(
    job_id: str,
    request: Request,
    context: Context,
    owner: Caller,
    *,
    follows_links: FollowsLinks,
    is_ibms: IsIbms,
    result_acknowledgement: Annotated[Literal["explicit"] | None, Header()] = None,
) -> Response:
    """Return the encoded final result, or a failed job's error; 204 if there is neither.

    The result of a private job is deleted once it is sent, unless the client announces that it
    will acknowledge it. Later requests get 410; IBM's clients get 204, as from IBM's service.
    """
    job = await jobs.find(context, job_id, owner)
    try:
        found = await private_results.find(context, job)
    except ResultGoneError:
        if not is_ibms:
            raise
        found = None
    if found is None:
        return Response(status_code=204)
    if follows_links and _is_bare(found.content):
        return JSONResponse({"url": _result_link(request, context, owner, job_id)})
    return private_results.answer(context, job, found, is_last=result_acknowledgement is None)


@router.delete("/{job_id}/results", status_code=204, responses=answers(status=204))
async def acknowledge_result(job_id: str, context: Context, owner: Caller) -> Response:
    """Delete the result of a private job, which its user now has; do nothing for other jobs."""
    await private_results.delete(context, await jobs.find(context, job_id, owner))
    return Response(status_code=204)


@links.get(
    "/linked-results/{link}", responses=answers({"type": "string"}, 401, 410, media_type=TEXT)
)
async def get_linked_result(link: str, context: Context) -> Response:
    """Return the result that a link refers to. The link itself grants access."""
    access = context.authenticator.access.read(link, Purpose.RESULT)
    job = await jobs.find(context, access.subject, access.owner)
    found = await private_results.find(context, job)
    if found is None:
        return PlainTextResponse("")
    return private_results.answer(context, job, found, is_last=True)


@router.get("/{job_id}/interim_results", responses=answers(list_of({"type": "string"})))
async def get_interim_results(
    job_id: str, request: Request, context: Context, owner: Caller
) -> Response:
    """Return the interim results so far, as a JSON array of encoded texts."""
    job = await jobs.find(context, job_id, owner)
    share = share_of(context.answers, owner.user, request)
    texts = interim_array(source_of(context, job), share)
    return StreamingResponse(texts, media_type="application/json")


@router.get("/{job_id}/logs", responses=answers({"type": "string"}, media_type=TEXT))
async def get_logs(job_id: str, context: Context, owner: Caller) -> Response:
    """Return the job's log, even while the job is running."""
    await jobs.find(context, job_id, owner)
    path = context.log_path(job_id)
    return LargeResponse(
        context.answers,
        owner.user,
        await asyncio.to_thread(_size_of, path),
        lambda: asyncio.to_thread(_read_if_there, path),
        media_type="text/plain; charset=utf-8",
    )


@router.get("/{job_id}/metrics", responses=answers(JobMetrics))
async def get_metrics(
    job_id: str, context: Context, owner: Caller, version: ApiVersion
) -> dict[str, Any]:
    """Return times, usage and versions."""
    return metrics_view(await jobs.find(context, job_id, owner), version)


@router.put(
    "/{job_id}/tags",
    status_code=204,
    openapi_extra=takes(jobs.TagsChange),
    responses=answers(status=204),
)
async def update_tags(job_id: str, request: Request, context: Context, owner: Caller) -> Response:
    """Replace the job's tags."""
    change = await read_model(request, jobs.TagsChange, "tags")
    job = await jobs.find(context, job_id, owner)
    await context.store.write(statements.replace_tags, job.id, change.tags)
    return Response(status_code=204)


@router.put(
    "/{job_id}/hardware-credentials",
    status_code=204,
    openapi_extra=takes({"type": "object"}),
    responses=answers(None, 409, status=204),
)
async def hand_over_credentials(
    job_id: str, request: Request, context: Context, owner: Caller
) -> Response:
    """Accept the credentials that a queued job on hardware waits for. They stay in memory."""
    body = await read_object(request)
    await jobs.hand_over(context, job_id, owner, body.fields)
    return Response(status_code=204)


@router.post("/{job_id}/cancel", status_code=204, responses=answers(None, 409, status=204))
async def cancel_job(job_id: str, context: Context, owner: Caller) -> Response:
    """Cancel the job and answer once it has ended."""
    await jobs.cancel(context, job_id, owner)
    return Response(status_code=204)


@router.delete("/{job_id}", status_code=204, responses=answers(None, 409, status=204))
async def delete_job(job_id: str, context: Context, owner: Caller) -> Response:
    """Delete the job with all its data. A queued or running job is cancelled first."""
    await jobs.delete(context, job_id, owner)
    return Response(status_code=204)


def _is_bare(text: bytes | None) -> bool:
    """Return whether a result is a JSON number, true, false or null.

    IBM's clients up to 0.15 look for the key "url" in every result, which raises TypeError for
    these values. Such results are sent through a link, which the clients follow without
    credentials.
    """
    try:
        value = json.loads(text) if text is not None and len(text) < _LONGEST_NUMBER else ""
    except ValueError:  # the text of an error
        return False
    return value is None or isinstance(value, int | float)


def _result_link(request: Request, context: ServiceContext, owner: Owner, job_id: str) -> str:
    link = context.authenticator.access.issue(
        owner, Purpose.RESULT, seconds=_LINK_SECONDS, subject=job_id
    )
    return f"{str(request.base_url).rstrip('/')}/linked-results/{link}"


def _utc(moment: datetime | None) -> datetime | None:
    """Interpret a time without a zone as UTC, as IBM's service does."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
