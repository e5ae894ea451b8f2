"""The result of a completed job, fetched again if the answer was empty, cut or garbled.

The errors of results that the service no longer has are here too.
"""

from __future__ import annotations

import asyncio
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
    api: _Results, job_id: str, read: Callable[[str], T], *, private: bool
) -> tuple[str, T]:
    """Fetch the result of a completed job and read it; the job is not affected by any error.

    An answer that is empty or cannot be read is fetched again a few times. An answer that is the
    same twice is not damaged: the error of `read` is raised, unless it is a page of a gateway.

    Args:
        api: The service.
        job_id: The job, which must have completed.
        read: Converts the encoded text; called in a thread.
        private: Whether the result can be read only once: it is then fetched only once.

    Returns:
        The encoded text, and the value that `read` returned.

    Raises:
        DecodingError: `read` failed.
        NotFoundError: The job is private, and its result was read before.
        ProtocolError: All answers were empty or pages of a gateway.
    """
    earlier: int | None = None
    for pause_seconds in () if private else _PAUSES_SECONDS:
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
        raise page_for_result(job_id, may_pass=not private)
    if body:
        return await asyncio.to_thread(_read, body, read)
    raise already_read(job_id) if private else _empty(job_id)


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


def _empty(job_id: str) -> ProtocolError:
    return ProtocolError(
        f"Job {job_id} has completed, but the service answered with an empty result"
        f" {len(_PAUSES_SECONDS) + 1} times. The job is not affected: fetch its result again later."
    )
