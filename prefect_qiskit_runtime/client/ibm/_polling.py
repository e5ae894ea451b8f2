"""Follow the jobs of a service that has no stream by polling all of them together.

A process has one poller for each instance. It uses a separate thread and connection, so callers
may wait in any thread and event loop, and none of them can delay the others.
"""

from __future__ import annotations

import asyncio
import copy
import math
import os
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from prefect_qiskit_runtime.errors import (
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
    is_retryable,
)
from prefect_qiskit_runtime.models import (
    EndEvent,
    JobInfo,
    JobState,
    JobStatus,
    StatusEvent,
    StreamEvent,
)

_BETWEEN_REQUESTS_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
# A change of state is noticed after at most this share of the time spent in the old state.
_SHARE = 0.1
_GIVE_UP_SECONDS = 1800.0
_PAGE_SIZE = 200
_AT_ONCE = 8

# Module-level names, so that tests can simulate hours.
_now = time.monotonic
_sleep = asyncio.sleep


class _Jobs(Protocol):
    """The requests of the poller. They do not retry, because the poller controls the pace."""

    async def pending_jobs(
        self, *, limit: int, offset: int
    ) -> tuple[list[JobInfo], int | None]: ...

    async def ask_job(self, job_id: str) -> JobInfo: ...


Connect = Callable[[], AbstractAsyncContextManager[_Jobs]]
"""Opens the poller's connection."""


@dataclass(eq=False)
class _Waiting:
    """A caller that waits for a job, and the last known state of that job.

    Attributes:
        since: When the job was first seen in its state.
        heard_at: When the service last answered about it.
        loop: The event loop in which the caller reads the inbox.
        inbox: Unread news: new states, or the error that ended the polling.
        alone_at: The earliest time of a separate request for the job.
    """

    job_id: str
    since: float
    heard_at: float
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    inbox: asyncio.Queue[JobState | Exception] = field(default_factory=asyncio.Queue)
    status: JobStatus | None = None
    alone_at: float = -math.inf

    def hear(self, state: JobState) -> None:
        """Record the state of the job, and send it to the caller if it is new."""
        self.heard_at = _now()
        if state.status != self.status:
            self.status, self.since = state.status, _now()
            self.send(state)

    def send(self, news: JobState | Exception) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the caller with it
            self.loop.call_soon_threadsafe(self.inbox.put_nowait, news)

    def pause_seconds(self) -> float:
        return min(_SHARE * (_now() - self.since), _LONGEST_PAUSE_SECONDS)


class JobPoller:
    """Polls the states of an instance's jobs as long as a caller waits for one of them.

    A single job is requested by its id. For several jobs, the list of pending jobs is requested;
    jobs missing from that list are then requested once by their ids. The poll interval is a tenth
    of the time that the most recently changed job has been in its state, at most a minute, less
    some jitter. Consecutive requests are at least a second apart, for any number of jobs.

    Args:
        connect: Opens the connection of the poller.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._thread: threading.Thread | None = None
        self._asked_at = self._earliest_at = -math.inf
        self._jitter = 1.0
        self._faults = 0

    async def events(self, job_id: str) -> AsyncGenerator[StreamEvent]:
        """Yield each new state of a job, `EndEvent` last.

        Raises:
            NotFoundError: The job does not exist.
            ServiceUnavailableError: The service has not answered for half an hour.
        """
        with self._joined(job_id) as waiting:
            while True:
                news = await waiting.inbox.get()
                if isinstance(news, Exception):
                    raise news
                yield StatusEvent(status=news.status)
                if news.status.is_terminal:
                    yield EndEvent(state=news)
                    return

    @contextmanager
    def _joined(self, job_id: str) -> Iterator[_Waiting]:
        waiting = _Waiting(job_id, since=_now(), heard_at=_now())
        with self._lock:
            self._waiting.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="qiskit-runtime-poller", daemon=True
                )
                self._thread.start()
        try:
            yield waiting
        finally:
            with self._lock:
                self._waiting.remove(waiting)

    # In the poller's thread ---------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over():
            try:
                asyncio.run(self._ask_until_over())
            except Exception as failure:  # noqa: BLE001 - raised in the waiting callers
                self._fail(self._snapshot(), failure)

    def _is_over(self) -> bool:
        with self._lock:
            active = any(not _has_final_news(one) for one in self._waiting)
            if not active:
                self._thread = None
            return not active

    def _snapshot(self) -> list[_Waiting]:
        with self._lock:
            return [one for one in self._waiting if not _has_final_news(one)]

    async def _ask_until_over(self) -> None:
        async with self._connect() as jobs:
            while self._snapshot():
                await self._until(self._due_at)
                if waiting := self._snapshot():
                    await self._ask(jobs, waiting)

    def _due_at(self) -> float:
        pauses = [one.pause_seconds() for one in self._snapshot()]
        pause_seconds = max(min(pauses, default=0.0), self._fault_pause_seconds())
        return max(self._earliest_at, self._asked_at + self._jitter * pause_seconds)

    def _fault_pause_seconds(self) -> float:
        pause_seconds = _BETWEEN_REQUESTS_SECONDS * 2.0**self._faults if self._faults else 0.0
        return min(pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _until(self, moment: Callable[[], float]) -> None:
        """Sleep until a moment, which a new caller may move forward, or until no caller waits."""
        while (left_seconds := moment() - _now()) > 0 and self._snapshot():
            await _sleep(min(left_seconds, _BETWEEN_REQUESTS_SECONDS))

    async def _ask(self, jobs: _Jobs, waiting: list[_Waiting]) -> None:
        """Request the states of all jobs once."""
        self._asked_at = _now()
        # Processes that started at the same time must not all poll at the same time.
        self._jitter = random.uniform(0.75, 1.0)  # noqa: S311 - not a secret
        asked = {one.job_id for one in waiting}
        try:
            if len(asked) > 1:
                found = await self._ask_list(jobs, waiting, asked)
                missing = [one for one in waiting if one.job_id not in found]
                await self._ask_alone(jobs, [one for one in missing if one.alone_at <= _now()])
            else:
                async with self._turn():
                    await self._ask_alone(jobs, waiting)
            self._faults = 0
        except QiskitRuntimeError as fault:
            self._note_fault(fault)
            patience = _GIVE_UP_SECONDS if is_retryable(fault) else 0.0
            given_up = [one for one in waiting if _now() - one.heard_at >= patience]
            self._fail(given_up, fault)

    async def _ask_list(
        self, jobs: _Jobs, waiting: Collection[_Waiting], asked: set[str]
    ) -> set[str]:
        """List pending jobs until all the requested ones are found, or the list ends.

        A list that cannot be read is treated as ended: a fault of one job must not end the wait for
        the others, which are requested by their ids.
        """
        states: dict[str, JobState] = {}
        offset, total = 0, None
        while offset != total and len(asked & states.keys()) < len(asked):
            try:
                async with self._turn():
                    page, total = await jobs.pending_jobs(limit=_PAGE_SIZE, offset=offset)
            except ProtocolError:
                break
            if all(job.id in states for job in page):
                break
            states.update((job.id, job.state) for job in page)
            offset += len(page)
        for one in waiting:
            if one.job_id in states:
                one.hear(states[one.job_id])
        return asked & states.keys()

    async def _ask_alone(self, jobs: _Jobs, waiting: list[_Waiting]) -> None:
        """Request jobs by their ids, a few at a time."""
        by_job: dict[str, list[_Waiting]] = {}
        for one in waiting:
            by_job.setdefault(one.job_id, []).append(one)
        asked = list(by_job.items())
        for first in range(0, len(asked), _AT_ONCE):
            answers = [self._ask_one(jobs, *one) for one in asked[first : first + _AT_ONCE]]
            # All of them finish: one fault must not lose the states of the other jobs.
            faults = await asyncio.gather(*answers, return_exceptions=True)
            for fault in faults:
                if fault is not None:
                    raise fault

    async def _ask_one(self, jobs: _Jobs, job_id: str, waiting: list[_Waiting]) -> None:
        try:
            job = await jobs.ask_job(job_id)
        except QiskitRuntimeError as fault:
            if isinstance(fault, NotFoundError) and is_retryable(fault):
                for one in waiting:  # a new job is not visible yet
                    one.alone_at = _now() + one.pause_seconds()
                return
            if is_retryable(fault):
                raise
            self._fail(waiting, fault)  # the fault concerns this job only
            return
        for one in waiting:
            one.hear(job.state)
            # A job that is not yet in the list is not requested separately at every poll.
            one.alone_at = _now() + one.pause_seconds()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Delay a request until enough time has passed since the previous one."""
        await self._until(lambda: self._earliest_at)
        try:
            yield
        finally:
            # Measured from its end, because the request may have waited for a login.
            self._earliest_at = _now() + _BETWEEN_REQUESTS_SECONDS

    def _note_fault(self, fault: QiskitRuntimeError) -> None:
        self._faults += 1
        asked_seconds = min(fault.retry_after_seconds or 0.0, _GIVE_UP_SECONDS)
        self._earliest_at = max(self._earliest_at, _now() + asked_seconds)

    def _fail(self, waiting: list[_Waiting], failure: Exception) -> None:
        for one in waiting:
            one.status = JobStatus.FAILED  # no more requests for these
            # Each caller adds its own traceback.
            one.send(copy.copy(failure) if isinstance(failure, QiskitRuntimeError) else failure)


def _has_final_news(one: _Waiting) -> bool:
    """Return whether the caller has been sent the final state or an error."""
    return one.status is not None and one.status.is_terminal


def job_poller(key: Hashable, connect: Connect) -> JobPoller:
    """Return the poller of an instance, shared by the whole process."""
    return _pollers().setdefault(key, JobPoller(connect))


@cache
def _pollers() -> dict[Hashable, JobPoller]:
    return {}


# A forked child process has none of the threads of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pollers.cache_clear)
