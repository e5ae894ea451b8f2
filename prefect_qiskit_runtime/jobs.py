"""Jobs: submit, run, attach, stream, wait, fetch, cancel.

A job lives in the service. The functions here only hold its id and send requests. If a local
process stops, the job continues and `attach_job` finds it again. Each function is a pair:
`run_program` for synchronous flows and `arun_program` for asynchronous ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

from prefect_qiskit_runtime.backend import BackendLike, OptionsLike, as_backend
from prefect_qiskit_runtime.client import InputsLike, read_inputs
from prefect_qiskit_runtime.codec import Decoders, ResultDecoderLike
from prefect_qiskit_runtime.dry_run import DryRun, async_dry_run_task, dry_run_of, sync_dry_run_task
from prefect_qiskit_runtime.errors import DELETED_JOB, NotFoundError
from prefect_qiskit_runtime.evaluation.kept_results import CacheLike
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.evaluation.running import run, submit
from prefect_qiskit_runtime.flow_run.tasks import (
    async_generator_task,
    async_task,
    sync_generator_task,
    sync_task,
)
from prefect_qiskit_runtime.following.callbacks import InterimCallback, check_callback
from prefect_qiskit_runtime.models import JobInfo, JobMetrics, JobStatus
from prefect_qiskit_runtime.runtime_job import RuntimeJob
from prefect_qiskit_runtime.sessions import SessionLike, in_session, opened


@async_dry_run_task
async def asubmit_program(
    program_id: str,
    inputs: InputsLike = None,
    *,
    backend: BackendLike,
    options: OptionsLike = None,
    result_decoder: ResultDecoderLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    dry_run: bool = False,
) -> RuntimeJob | DryRun:
    """Submit a job that runs a program, and return immediately.

    Args:
        program_id: The id returned by `upload_program`.
        inputs: Keyword arguments of the program's `main`, of any type that the codec can encode;
            or the namespace from `get_program(...).parameters()` with values assigned.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        options: `RuntimeOptions`, or a dict of its fields; they override those of the backend.
        result_decoder: How `job.result()` decodes: a class, a pair (interim, final), or an
            import path.
        session: The session or batch of the job, or its id.
        durable_key: A name that you choose for the evaluation: equal calls with the same key, in
            any flow run or outside of one, are one job.
        dry_run: Submit nothing, and return a `DryRun` that describes the request.

    Returns:
        The job, which continues even if the flow stops.

    Raises:
        EncodingError: An input cannot be encoded; the error names its path.
        InvalidInputError: The inputs break the program's schema, or the backend does not meet
            its requirements.
        NotFoundError: The program, backend or session does not exist.
        SessionClosedError: The session accepts no more jobs.
    """
    backend = as_backend(backend)
    decoders = Decoders.choose(result_decoder)
    given = await asyncio.to_thread(read_inputs, inputs)
    merged = backend.program_options(in_session(options, session))
    request = Request(program_id, given, backend, merged, durable_key, session=opened(session))
    if dry_run:
        return await dry_run_of([request])
    return await submit(request, decoders)


submit_program = sync_dry_run_task(asubmit_program)
"""Synchronous twin of `asubmit_program`."""


@async_dry_run_task
async def arun_program(
    program_id: str,
    inputs: InputsLike = None,
    *,
    backend: BackendLike,
    options: OptionsLike = None,
    callback: InterimCallback | None = None,
    include_final: bool = False,
    result_decoder: ResultDecoderLike = None,
    session: SessionLike = None,
    durable_key: str | None = None,
    cache: CacheLike = None,
    dry_run: bool = False,
) -> Any | DryRun:
    """Run a program and wait for its result, with its interim results along the way.

    If the flow run is run again, after a crash or as a retry, the call attaches to the job that it
    submitted before. If the caller is cancelled, interrupted or times out, the job is cancelled.

    Args:
        program_id: The id returned by `upload_program`.
        inputs: Keyword arguments of the program's `main`, of any type that the codec can encode;
            or the namespace from `get_program(...).parameters()` with values assigned.
        backend: A `RuntimeBackend`, or the name of a backend of the embedded service.
        options: `RuntimeOptions`, or a dict of its fields; they override those of the backend.
        callback: Called as `callback(job_id, interim)` with each interim result while the job
            runs, in order, once each. A parameter named `seq` receives the number of the result.
            If the callback raises, the error is logged and the flow continues.
        include_final: Whether the callback receives the final result as well.
        result_decoder: A class with `decode(text)`, a pair of them (interim, final), or an
            import path as text. Default: `ResultDecoder`.
        session: The session or batch of the job, or its id.
        durable_key: A name that you choose for the evaluation: equal calls with the same key, in
            any flow run or outside of one, are one job.
        cache: True reuses the result of an earlier equal call, in any flow run, or keeps this
            one; "refresh" runs the job and keeps its result; False does neither. Default:
            `cache_results` of the backend. See the how-to "Keep results".
        dry_run: Submit nothing, and return a `DryRun` that describes the request.

    Returns:
        The return value of the program, decoded.

    Raises:
        ConfigurationError: The callback or the decoder is invalid.
        EncodingError: An input cannot be encoded; the error names its path.
        InvalidInputError: The inputs break the program's schema, or the backend does not meet
            its requirements.
        NotFoundError: The program, backend or session does not exist.
        SessionClosedError: The session accepts no more jobs.
        JobError: The job ended without a result; the error's class gives the reason.
    """
    backend = as_backend(backend)
    decoders = Decoders.choose(result_decoder)
    check_callback(callback)
    given = await asyncio.to_thread(read_inputs, inputs)
    merged = backend.program_options(in_session(options, session))
    request = Request(program_id, given, backend, merged, durable_key, session=opened(session))
    if dry_run:
        return await dry_run_of([request])
    return await run(request, decoders, callback=callback, include_final=include_final, cache=cache)


run_program = sync_dry_run_task(arun_program)
"""Synchronous twin of `arun_program`."""


@async_task
async def aattach_job(
    job_id: str, *, backend: BackendLike, result_decoder: ResultDecoderLike = None
) -> RuntimeJob:
    """Attach to a job that already exists, regardless of who submitted it.

    Args:
        job_id: The job.
        backend: Any backend of the service that has the job.
        result_decoder: How `job.result()` decodes, as in `run_program`.

    Returns:
        The job, with the backend that it runs on.

    Raises:
        NotFoundError: The service does not have this job.
    """
    backend = as_backend(backend)
    async with backend.connect() as api:
        try:
            info = await api.get_job(job_id)
        except NotFoundError as error:
            if error.kind == DELETED_JOB:
                raise
            where = "the embedded service" if backend.service == "embedded" else api.url
            raise NotFoundError(
                f"{error} The search was in {where}. A job is visible only in the service, to the"
                " user and in the instance that it was submitted with: check backend=.",
                kind="job",
                identifier=job_id,
            ) from error
    return RuntimeJob.from_info(info, backend, decoders=Decoders.choose(result_decoder))


attach_job = sync_task(aattach_job)
"""Synchronous twin of `aattach_job`."""


@async_task
async def alist_jobs(
    *,
    backend: BackendLike,
    limit: int | None = 10,
    skip: int = 0,
    pending: bool | None = None,
    program_id: str | None = None,
    tags: Sequence[str] = (),
    session: SessionLike = None,
    backend_name: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    descending: bool = True,
) -> list[JobInfo]:
    """List the jobs of a service, newest first.

    Args:
        backend: Any backend of the service; jobs on its other backends are listed too.
        limit: Maximum number of jobs; None for all.
        skip: Number of jobs to skip at the start.
        pending: True for only queued and running jobs, False for only ended ones.
        program_id: Only jobs of this program.
        tags: Only jobs that have all of these tags.
        session: Only jobs of this session or batch.
        backend_name: Only jobs on the backend with this name.
        created_after: Only jobs created at this time or later; local time if it has no time zone.
        created_before: Only jobs created at this time or earlier; local time if it has no time
            zone.
        descending: False for the oldest first.
    """
    session_id = in_session(None, session).session_id
    async with as_backend(backend).connect() as api:
        return await api.list_jobs(
            limit=limit,
            offset=skip,
            pending=pending,
            program_id=program_id,
            backend=backend_name,
            tags=tags,
            session_id=session_id,
            created_after=created_after,
            created_before=created_before,
            oldest_first=not descending,
        )


list_jobs = sync_task(alist_jobs)
"""Synchronous twin of `alist_jobs`."""


@async_generator_task
async def astream_results(
    job_id: str,
    *,
    backend: BackendLike,
    from_: int = 0,
    result_decoder: ResultDecoderLike = None,
) -> AsyncGenerator[Any, None]:
    """Stream the interim results of a job from any number on, during the job or after it.

    Args:
        job_id: The job.
        backend: Any backend of the service that has the job.
        from_: Number of the first interim result; they are numbered from 0 without gaps.
        result_decoder: Decoder of the interim results, as in `run_program`.

    Yields:
        Each interim result, decoded.
    """
    job = RuntimeJob(job_id, as_backend(backend), decoders=Decoders.choose(result_decoder))
    async for interim in job.astream(from_):
        yield interim


stream_results = sync_generator_task(astream_results)
"""Synchronous twin of `astream_results`."""


@async_task
async def await_for_job(
    job_id: str, *, backend: BackendLike, timeout_seconds: float | None = None
) -> JobStatus:
    """Wait until a job has ended, however it ends.

    Raises:
        TimeoutError: The job did not end in time; it continues.
    """
    return await RuntimeJob(job_id, as_backend(backend)).await_for_final_state(timeout_seconds)


wait_for_job = sync_task(await_for_job)
"""Synchronous twin of `await_for_job`."""


@async_task
async def afetch_result(
    job_id: str, *, backend: BackendLike, result_decoder: ResultDecoderLike = None
) -> Any:
    """Wait for a job and return its result, decoded.

    Raises:
        JobError: The job ended without a result; the error's class gives the reason.
    """
    return await RuntimeJob(job_id, as_backend(backend)).aresult(result_decoder)


fetch_result = sync_task(afetch_result)
"""Synchronous twin of `afetch_result`."""


@async_task
async def acancel_job(job_id: str, *, backend: BackendLike) -> None:
    """Cancel a job, queued or running.

    Raises:
        ConflictError: The job has already ended.
    """
    async with as_backend(backend).connect() as api:
        await api.cancel_job(job_id)


cancel_job = sync_task(acancel_job)
"""Synchronous twin of `acancel_job`."""


@async_task
async def adelete_job(job_id: str, *, backend: BackendLike) -> None:
    """Delete a job with its inputs, results and log; cancel it first if it has not ended."""
    async with as_backend(backend).connect() as api:
        await api.delete_job(job_id)


delete_job = sync_task(adelete_job)
"""Synchronous twin of `adelete_job`."""


@async_task
async def afetch_job_logs(job_id: str, *, backend: BackendLike) -> str:
    """Return the output and the log of the program, even while it runs."""
    async with as_backend(backend).connect() as api:
        return await api.job_logs(job_id)


fetch_job_logs = sync_task(afetch_job_logs)
"""Synchronous twin of `afetch_job_logs`."""


@async_task
async def afetch_job_metrics(job_id: str, *, backend: BackendLike) -> JobMetrics:
    """Return the times and the usage of a job."""
    async with as_backend(backend).connect() as api:
        return await api.job_metrics(job_id)


fetch_job_metrics = sync_task(afetch_job_metrics)
"""Synchronous twin of `afetch_job_metrics`."""


@async_task
async def aupdate_job_tags(job_id: str, tags: Sequence[str], *, backend: BackendLike) -> None:
    """Replace the tags of a job."""
    async with as_backend(backend).connect() as api:
        await api.update_job_tags(job_id, list(tags))


update_job_tags = sync_task(aupdate_job_tags)
"""Synchronous twin of `aupdate_job_tags`."""
