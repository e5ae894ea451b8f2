"""The results of private jobs, which can be fetched once.

IBM's clients get one complete answer, after which the result is deleted. A client can announce
that it acknowledges results: it may then fetch again until it has stored the result safely, and
deletes it itself.
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
        ResultGoneError: The job is private, and its result has already been fetched.
    """
    text = await context.store.read(results.find_result, job.id)
    if text is None and is_given_once(job):
        raise ResultGoneError(
            f"The result of job {job.id} is no longer available: the job is private, and its result"
            " can be fetched only once.",
            kind="result",
            identifier=job.id,
        )
    return text


def is_given_once(job: Job) -> bool:
    """Return whether a job's result is deleted once fetched. The text of an error never is."""
    return job.private and job.state is JobStatus.COMPLETED


async def delete(context: ServiceContext, job: Job) -> None:
    """Delete the result and interim results of a private job; do nothing for other jobs."""
    if is_given_once(job):
        await context.store.write(results.delete_results, job.id)


def answer_once(context: ServiceContext, job: Job, text: str) -> Response:
    """Return an answer that deletes the result once it has been sent completely."""
    return _OnceResponse(text, lambda: delete(context, job))


class _OnceResponse(PlainTextResponse):
    """An answer followed by an action, if the client received it completely."""

    def __init__(self, content: str, afterwards: Callable[[], Awaitable[None]]) -> None:
        super().__init__(content)
        self._afterwards = afterwards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer in parts, so that a disconnected client is noticed."""
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
