"""The results of jobs; those of private jobs can be fetched once.

IBM's clients get one complete answer, after which the result of a private job is deleted. A client
can announce that it acknowledges results: it may then fetch again until it has stored the result
safely, and deletes it itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.answer_shares import LARGE_BYTES
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.http.large_answers import LargeResponse
from prefect_qiskit_runtime.service.problem import ResultGoneError
from prefect_qiskit_runtime.service.store import results
from prefect_qiskit_runtime.service.store.records import Job


@dataclass(frozen=True)
class FoundResult:
    """The result of a job, or the text of its error.

    Attributes:
        num_bytes: Its size.
        content: The result itself, unless it is large.
    """

    num_bytes: int
    content: bytes | None


async def find(context: ServiceContext, job: Job) -> FoundResult | None:
    """Return the result of a job, or the text of its error; None if there is neither.

    Raises:
        ResultGoneError: The job is private, and its result has already been fetched.
    """
    found = await context.store.read(results.stored_result(job.id).peek, LARGE_BYTES)
    if found is None and is_given_once(job):
        raise _gone(job)
    return None if found is None else FoundResult(*found)


async def read(context: ServiceContext, job: Job) -> bytes:
    """Return the result of a job, or the text of its error.

    Raises:
        ResultGoneError: It has just been deleted.
    """
    content = await context.store.read(results.stored_result(job.id).read)
    if content is None:
        raise _gone(job)
    return content


def is_given_once(job: Job) -> bool:
    """Return whether a job's result is deleted once fetched. The text of an error never is."""
    return job.private and job.state is JobStatus.COMPLETED


async def delete(context: ServiceContext, job: Job) -> None:
    """Delete the result and interim results of a private job; do nothing for other jobs."""
    if is_given_once(job):
        await context.store.write(results.delete_results, job.id)


def answer(context: ServiceContext, job: Job, found: FoundResult, *, is_last: bool) -> Response:
    """Return the answer with the result of a job.

    Args:
        context: The service.
        job: The job.
        found: Its result.
        is_last: Whether the result of a private job is deleted once it has been sent completely.
    """

    async def load() -> bytes:
        return await read(context, job) if found.content is None else found.content

    async def delete_it() -> None:
        await delete(context, job)

    return LargeResponse(
        context.answers,
        job.owner.user,
        found.num_bytes,
        load,
        media_type="text/plain; charset=utf-8",
        afterwards=delete_it if is_last and is_given_once(job) else None,
    )


def _gone(job: Job) -> ResultGoneError:
    return ResultGoneError(
        f"The result of job {job.id} is no longer available: "
        + (
            "the job is private, and its result can be fetched only once."
            if is_given_once(job)
            else "it was deleted."
        ),
        kind="result",
        identifier=job.id,
    )
