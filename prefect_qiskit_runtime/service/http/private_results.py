"""The results of private jobs, which are given out once.

IBM's clients get one whole answer; then it is deleted. A client that says so acknowledges instead:
it may ask again until it has what it asked for in a safe place, and then deletes it itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.problem import ResultGoneError
from prefect_qiskit_runtime.service.store import results
from prefect_qiskit_runtime.service.store.records import Job

_CHUNK_BYTES = 64 * 1024


async def read(context: ServiceContext, job: Job) -> str | None:
    """Return the result of a job, or the text of its error; None if there is neither.

    Raises:
        ResultGoneError: The job is private, and its result was given out.
    """
    text = await context.store.read(results.find_result, job.id)
    if text is None and is_given_once(job):
        raise ResultGoneError(
            f"The result of job {job.id} is not here any more: the job is private, and its result"
            " was given out before, which is done once.",
            kind="result",
            identifier=job.id,
        )
    return text


def is_given_once(job: Job) -> bool:
    """Say whether a job's result is deleted when somebody has it. The text of an error is not."""
    return job.private and job.state is JobStatus.COMPLETED


async def delete(context: ServiceContext, job: Job) -> None:
    """Delete the result, and interim results, of a private job; of others nothing."""
    if is_given_once(job):
        await context.store.write(results.delete_results, job.id)


def answer_once(context: ServiceContext, job: Job, text: str) -> Response:
    """Return an answer that deletes the result once all of it is sent."""
    return _OnceResponse(text, lambda: delete(context, job))


class _OnceResponse(PlainTextResponse):
    """An answer that is followed by a deed, if somebody was there to the end of it."""

    def __init__(self, content: str, afterwards: Callable[[], Awaitable[None]]) -> None:
        super().__init__(content)
        self._afterwards = afterwards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer in parts, so that a client that has gone is noticed."""
        request = Request(scope, receive)
        await request.body()
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        for first in range(0, len(self.body), _CHUNK_BYTES):
            chunk = bytes(self.body[first : first + _CHUNK_BYTES])
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if not await request.is_disconnected():
            await self._afterwards()
        await send({"type": "http.response.body", "body": b""})
