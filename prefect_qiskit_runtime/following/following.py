"""Follow a job from inside a flow: deliver its interim results, wait for its end.

Used by the tasks of `jobs` and by `RuntimeJob`. A failed request or an error in decoding never
changes the job. A caller that is cancelled cancels its job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from prefect_qiskit_runtime.client import (
    RuntimeApi,
    error_of_deleted_job,
    explain_deletion,
    job_error,
    read_error,
    read_result,
)
from prefect_qiskit_runtime.codec import Decoders, decode
from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    ConflictError,
    JobCancelledError,
    JobError,
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
)
from prefect_qiskit_runtime.flow_run.cancelled import end_if_cancelled
from prefect_qiskit_runtime.flow_run.ending import flow_ending, time_limit_passed
from prefect_qiskit_runtime.flow_run.events import send_state_event
from prefect_qiskit_runtime.flow_run.lineage import Lineage, note_end
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.following.callbacks import InterimDelivery
from prefect_qiskit_runtime.following.private_results import KeptPrivateResults
from prefect_qiskit_runtime.models import EndEvent, InterimEvent, JobState, JobStatus, StatusEvent
from prefect_qiskit_runtime.twins.clean_up import cleaned_up
from prefect_qiskit_runtime.twins.sync import deliver

CANCEL_SECONDS = 10.0
"""How long a cancelled caller tries to cancel its job."""

LOG_TAIL_CHARACTERS = 4000
_NOT_SUBMITTED_AGAIN = (
    ", in this flow run or a retry of it. To run it again, start another flow run or give the call"
    " another durable_key."
)
_STATE_PHRASES = {
    JobStatus.QUEUED: "is queued",
    JobStatus.RUNNING: "is running",
    JobStatus.COMPLETED: "has completed",
    JobStatus.FAILED: "has failed",
    JobStatus.CANCELLED: "was cancelled",
}


def _phrase_of(status: JobStatus) -> str:
    unknown = f"has the status {status.value!r}, which this version does not know: waiting for more"
    return _STATE_PHRASES.get(status, unknown)


async def follow(
    api: RuntimeApi, job_id: str, delivery: InterimDelivery, about: Mapping[str, str] | None = None
) -> EndEvent:
    """Read the stream of a job from the position of the delivery to its end, and deliver it.

    Args:
        api: The service.
        job_id: The job.
        delivery: Receives the interim results.
        about: Labels of the job for its events; None to send no events.

    Raises:
        NotFoundError: The job was deleted; its `kind` is "deleted_job".
    """
    with deletion_explained(job_id):
        return await _follow(api, job_id, delivery, about)


async def _follow(
    api: RuntimeApi, job_id: str, delivery: InterimDelivery, about: Mapping[str, str] | None
) -> EndEvent:
    logger = logger_here()
    seen: JobStatus | None = None
    async for event in api.stream(job_id, delivery.next_seq):
        if isinstance(event, InterimEvent):
            await delivery(event)
        elif isinstance(event, StatusEvent) and event.status != seen:
            seen = event.status
            # In order with the callbacks, which may run in another thread.
            await deliver(logger.info, "Job %s %s.", job_id, _phrase_of(seen))
            if seen is JobStatus.RUNNING and about is not None:
                send_state_event(seen, job_id, about)
        elif isinstance(event, EndEvent):
            if about is not None:
                _send_end_event(event.state, job_id, about)
            return event
    raise ProtocolError(
        f"The stream of job {job_id} stopped before it reported the end of the job. The job is not "
        f"affected; attach to it again with attach_job({job_id!r}, backend=…)."
    )


def deleted_job(job_id: str) -> NotFoundError:
    """Return the error of a call whose job was deleted before its result was fetched."""
    return error_of_deleted_job(job_id, _NOT_SUBMITTED_AGAIN)


def deletion_explained(job_id: str) -> AbstractContextManager[None]:
    """Turn the service's answer that it has no such job into the error of a deleted job."""
    return explain_deletion(job_id, _NOT_SUBMITTED_AGAIN)


def _send_end_event(state: JobState, job_id: str, about: Mapping[str, str]) -> None:
    code = state.reason_code
    reason = {} if code is None else {"reason-code": str(code)}
    send_state_event(state.status, job_id, {**about, **reason})


async def fetch_decoded(
    api: RuntimeApi, job_id: str, status: JobStatus, decoders: Decoders, *, private: bool
) -> Any:
    """Fetch and decode the result of a job that has ended, as `fetch_result` does."""
    return (await fetch_result(api, job_id, status, decoders, private=private))[1]


async def fetch_result(
    api: RuntimeApi, job_id: str, status: JobStatus, decoders: Decoders, *, private: bool
) -> tuple[str, Any]:
    """Fetch the result of a job that has ended; return it as encoded text and decoded.

    Args:
        api: The service.
        job_id: The job.
        status: The final status of the job.
        decoders: Decode the result. One that cannot be decoded is fetched again if possible.
        private: Whether the result can be read only once: it is then stored, on IBM before it is
            decoded, elsewhere before it is acknowledged.

    Raises:
        JobError: The job ended without a result; the class shows the cause.
        DecodingError: The result was fetched, but the decoder failed on it.
        NotFoundError: The job was deleted, and its `kind` is "deleted_job"; or it is private, and
            its result was read before.
        ProtocolError: The service sends an empty result.
        prefect.exceptions.Abort: The job was cancelled with a flow run around the call.
    """
    kept = KeptPrivateResults(api) if private else None
    try:
        if status is not JobStatus.COMPLETED:
            error = await fetch_job_error(api, job_id)
            if error is not None:
                note_end(job_id)
                if isinstance(error, JobCancelledError):
                    await end_if_cancelled(f"Job {job_id} was cancelled")
                raise error
        fetched = await read_result(
            kept or api,
            job_id,
            decoders.decode_final,
            is_sent_once=api.sends_once(private=private),
        )
        if kept is not None:
            await kept.settle(job_id, fetched[0])
    except NotFoundError as missing:
        if missing.kind in ("job", DELETED_JOB) and missing.identifier == job_id:
            with deletion_explained(job_id):
                await api.get_job(job_id)  # the job may exist even if its result is not found
        raise
    return fetched


async def fetch_job_error(api: RuntimeApi, job_id: str) -> JobError | None:
    """Fetch the error of a job that ended without a result; None if it has one or still runs."""
    info = await api.get_job(job_id)
    if info.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        return None
    body, log = await asyncio.gather(read_error(api, job_id), api.job_logs(job_id))
    return job_error(info, body, log[-LOG_TAIL_CHARACTERS:] or None)


async def fetch_inputs(api: RuntimeApi, job_id: str) -> dict[str, Any]:
    """Fetch and decode the inputs of a job."""
    text = await api.job_inputs(job_id)
    return await asyncio.to_thread(decode, text)


@asynccontextmanager
async def cancel_with_caller(
    api: RuntimeApi,
    job_id: str,
    lineage: Lineage | None = None,
    on_cancelled: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Cancel the job if its caller is cancelled during the block, so that no job stays behind.

    Args:
        api: The service.
        job_id: The job.
        lineage: The place of the call in its flow run.
        on_cancelled: Called once the job was cancelled.

    Raises:
        JobCancelledError: The flow run around the call is ending.
        prefect.exceptions.Abort: A flow run around the call was cancelled.
    """
    with flow_ending(lineage) as ending:
        try:
            yield
        except asyncio.CancelledError:
            reason = ending.reason or time_limit_passed() or "its caller was cancelled"
            # In a separate task, since the current one is being cancelled. Before anything is
            # logged, since Prefect's handler ends a process whose output is no longer read.
            cancelling = await cleaned_up(cancel_quietly(api, job_id), CANCEL_SECONDS)
            if not cancelling.done():
                logger_here().error(
                    "Job %s may still be running: cancelling it takes too long.", job_id
                )
            elif cancelling.result():
                on_cancelled()
                logger_here().warning("Job %s was cancelled, because %s.", job_id, reason)
            if ending.reason is None:
                raise
            if ending.is_run_cancelled:
                await end_if_cancelled(f"Job {job_id} was cancelled")
            raise JobCancelledError(
                f"Job {job_id} was cancelled, because {reason}.", job_id=job_id
            ) from None


async def cancel_quietly(api: RuntimeApi, job_id: str) -> bool:
    """Cancel a job and return whether it was cancelled; a failure is logged."""
    try:
        await api.cancel_job(job_id)
    except (ConflictError, NotFoundError):
        logger_here().info("Job %s ended before it could be cancelled.", job_id)
        return False
    except QiskitRuntimeError as error:
        logger_here().error("Job %s may still be running: cancelling it failed: %s", job_id, error)
        return False
    return True
