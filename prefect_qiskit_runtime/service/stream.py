"""The result stream of a job, read from the store at the reader's own pace."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.records import InterimPage, Job
from prefect_qiskit_runtime.service.store.results import read_interim
from prefect_qiskit_runtime.service.views import state_view

HEARTBEAT_SECONDS = 15.0
_PAGE_BYTES = 1024**2
_HEARTBEAT = b'{"type": "heartbeat"}\n'


@dataclass(frozen=True)
class StreamSource:
    """Where a stream comes from."""

    store: Store
    feed: Feed
    job_id: str


async def follow(
    source: StreamSource, from_seq: int, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[InterimPage | None]:
    """Give a job's interim results from a number on, as they are stored; None now and then.

    The last page is that of the ended job, complete. It ends without such a page only when the
    job is deleted or the service goes.

    Args:
        source: The job.
        from_seq: The first number to give.
        heartbeat_seconds: How long to be silent at most; None is given then.
    """
    with source.feed.watch(source.job_id) as watch:
        while not source.feed.closed:
            watch.expect()  # before the read: what is stored after it ends the wait below
            page = await source.store.read(
                read_interim, source.job_id, from_seq, max_bytes=_PAGE_BYTES
            )
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


async def event_lines(source: StreamSource, from_seq: int) -> AsyncGenerator[bytes]:
    """Give the stream as newline-delimited JSON, one `models.StreamEvent` a line.

    It begins with the job's state and tells each further one as it is entered; the end of a
    job comes after all of its results.
    """
    told: JobStatus | None = None
    async with aclosing(follow(source, from_seq)) as pages:
        async for page in pages:
            if page is None or page.job is None:
                yield _HEARTBEAT
                continue
            job, lines = page.job, []
            entered = _entered(told, job)
            if entered is not None:
                told = entered
                lines.append(_status_line(entered))
            lines += [_interim_line(seq, text) for seq, text in page.results]
            if page.complete and job.state.is_terminal:
                if told is not job.state:
                    lines.append(_status_line(job.state))
                lines.append(_end_line(job))
            if lines:
                yield b"".join(lines)


def _entered(told: JobStatus | None, job: Job) -> JobStatus | None:
    """Return the state to tell before a page's results; None if there is no news."""
    if told is None:
        return job.state
    if told is JobStatus.QUEUED and job.started_at is not None:
        return JobStatus.RUNNING
    return None


def _status_line(state: JobStatus) -> bytes:
    return b'{"type": "status", "status": "%s"}\n' % state.value.encode()


def _interim_line(seq: int, text: str) -> bytes:
    # Written by hand: a validated model per result costs more than all the rest of a stream.
    return b'{"type": "interim", "seq": %d, "data": %s}\n' % (seq, json.dumps(text).encode())


def _end_line(job: Job) -> bytes:
    end = {"type": "end", "state": state_view(job), "interim_count": job.interim_count}
    return json.dumps(end).encode() + b"\n"
