"""The result of a completed job, fetched again if the answer was empty, cut or garbled.

The errors of results that the service no longer has are here too.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    DecodingError,
    NotFoundError,
    ProtocolError,
)

T = TypeVar("T")

_PAUSES_SECONDS = (0.5, 1.0, 2.0)


class _Results(Protocol):
    async def job_result(self, job_id: str) -> bytes | None: ...


async def read_result(
    api: _Results, job_id: str, read: Callable[[str], T], *, is_sent_once: bool
) -> tuple[str, T]:
    """Fetch the result of a completed job and read it; the job is not affected by any error.

    An answer that is empty or cannot be read is fetched again a few times. An answer that is the
    same twice is not damaged: the error of `read` is raised, unless it is a page of a gateway.

    Args:
        api: The service.
        job_id: The job, which must have completed.
        read: Converts the encoded text; called in a thread.
        is_sent_once: Whether the service deletes the result when it sends it, as IBM's does for
            private jobs (see `RuntimeApi.sends_once`): it is then fetched only once.

    Returns:
        The encoded text, and the value that `read` returned.

    Raises:
        DecodingError: `read` failed. The message says so if the result cannot be fetched again.
        NotFoundError: The result is sent only once, and was read before.
        ProtocolError: All answers were empty or pages of a gateway.
    """
    earlier: int | None = None
    for pause_seconds in () if is_sent_once else _PAUSES_SECONDS:
        body = await api.job_result(job_id)
        try:
            if body and not is_page_of_gateway(body):
                return await asyncio.to_thread(_read, body, read)
        except DecodingError:
            if hash(body) == earlier:
                raise
            earlier = hash(body)
        await asyncio.sleep(pause_seconds)
    body = await api.job_result(job_id)
    if body and is_page_of_gateway(body):
        raise page_for_result(job_id, may_pass=not is_sent_once)
    if not body:
        raise already_read(job_id) if is_sent_once else _empty(job_id)
    try:
        return await asyncio.to_thread(_read, body, read)
    except DecodingError as error:
        raise (_lost(job_id, error) if is_sent_once else error) from error


async def read_error(api: _Results, job_id: str) -> bytes | None:
    """Return the error text that a job without a result has left; None if there is none.

    The job must exist: that its result is not found, or was read before, hides no reason of its
    end.
    """
    try:
        return await api.job_result(job_id)
    except NotFoundError:
        return None


def is_page_of_gateway(body: bytes) -> bool:
    """Return whether an answer is HTML or XML, and so cannot be a result, which is JSON."""
    return body.lstrip()[:1] == b"<"


def page_for_result(job_id: str, *, may_pass: bool) -> ProtocolError:
    """Return the error for a page in place of a result.

    Args:
        job_id: The job.
        may_pass: Whether the result may be fetched again without asking the user.
    """
    error = ProtocolError(
        f"Job {job_id} has completed, but the answer is a page of a proxy or a gateway, not its"
        " result. The job is not affected: fetch its result again later."
    )
    error.transient = may_pass
    return error


def already_read(job_id: str, where: str = "") -> NotFoundError:
    """Return the error for the result of a private job that the service has deleted.

    Args:
        job_id: The job.
        where: Where the result was searched for besides the service, as in ", and it is not in X".
    """
    return NotFoundError(
        f"The result of the private job {job_id} has already been read{where}: it was read"
        " elsewhere, a process died with it, or the answer that contained it was lost. The service"
        " returns it only once. The job is not sent again automatically.",
        kind="result",
        identifier=job_id,
    )


def error_of_deleted_job(job_id: str, where: str) -> NotFoundError:
    """Return the error of a call whose job was deleted before its result was fetched.

    Args:
        job_id: The job.
        where: Where it is not submitted again, as in " for this evaluation."; advice may follow.
    """
    return NotFoundError(
        f"Job {job_id} was deleted in the service, and its result with it. It is not submitted"
        f" again{where}",
        kind=DELETED_JOB,
        identifier=job_id,
    )


@contextmanager
def explain_deletion(job_id: str, where: str) -> Iterator[None]:
    """Turn the service's answer that it has no such job into the error of a deleted job."""
    try:
        yield
    except NotFoundError as error:
        if error.kind not in ("job", DELETED_JOB) or error.identifier != job_id:
            raise
        raise error_of_deleted_job(job_id, where) from error


def _read(body: bytes, read: Callable[[str], T]) -> tuple[str, T]:
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise DecodingError(
            f"The result ({len(body)} bytes) is not UTF-8 text: {exc.reason} at byte {exc.start}."
        ) from exc
    return text, read(text)


def _lost(job_id: str, error: DecodingError) -> DecodingError:
    """Return the error of a result that cannot be read and is not sent again."""
    text = (
        f"{error} Job {job_id} is private, and its service sends the result only once: it cannot be"
        " fetched again. The job is not sent again automatically."
    )
    clearer = copy.copy(error)
    clearer.args = (text,)
    return clearer


def _empty(job_id: str) -> ProtocolError:
    return ProtocolError(
        f"Job {job_id} has completed, but the service answered with an empty result"
        f" {len(_PAUSES_SECONDS) + 1} times. The job is not affected: fetch its result again later."
    )
