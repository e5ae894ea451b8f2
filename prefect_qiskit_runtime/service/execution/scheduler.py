"""The queue: start jobs in order of submission, up to the maximum number of concurrent jobs.

A job is marked as running before it starts, so that no job is ever started twice. After a crash,
the next service ends jobs that were running as interrupted, and runs those that were queued.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.execution.broker import NO_CREDENTIALS, CredentialsDesk
from prefect_qiskit_runtime.service.execution.executor import Executor
from prefect_qiskit_runtime.service.execution.run import CANCELLED, INTERRUPTED, JobFolders, JobRun
from prefect_qiskit_runtime.service.execution.session_timers import SessionTimers
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.store import Store, jobs as statements, queue
from prefect_qiskit_runtime.service.store.records import ClaimedJob, Job, JobEnd, NewJob


class Interference:
    """Hooks into the life of each job; these do nothing. The fault mode replaces them."""

    @contextmanager
    def submission(self, job: NewJob) -> Iterator[None]:  # noqa: ARG002
        """Wrap the queuing of a job."""
        yield

    @property
    def held(self) -> Collection[str]:
        """Ids of the queued jobs that must not start yet."""
        return ()

    def on_started(self, job: Job) -> None:
        """React to the start of a job."""


logger = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
# A job that cannot start for lack of files, memory or processes waits this long before each start.
_PAUSES = (1.0, 5.0, 15.0, 30.0, 30.0)


class Scheduler:
    """Runs the jobs of a store. Call `start` once.

    Attributes:
        sessions: The timers of the jobs' sessions.
    """

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        feed: Feed,
        folders: JobFolders,
        max_concurrent_jobs: int,
        clock: Clock,
        interference: Interference,
        credentials_wait_seconds: float,
    ) -> None:
        self._store = store
        self._executor = executor
        self._feed = feed
        self._folders = folders
        self._clock = clock
        self._interference = interference
        self._max_concurrent_jobs = max_concurrent_jobs
        self._runs: dict[str, JobRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self.sessions = SessionTimers(store=store, feed=feed, clock=clock, wake=self.wake)
        self._desk = CredentialsDesk(clock, credentials_wait_seconds, self._give_up)
        self._closing = False
        self._put_back: Counter[str] = Counter()
        self._paused_until = clock.monotonic()
        # Held from the claim of a job until the job is in `_runs`, so that a cancellation finds
        # every job either queued or in `_runs`.
        self._claiming = asyncio.Lock()
        self._dispatcher: asyncio.Task[None] | None = None

    @property
    def running_count(self) -> int:
        """Number of running jobs."""
        return len(self._runs)

    async def start(self) -> None:
        """Clean up after a service that crashed, then start running queued jobs."""
        now = self._clock.now()
        for job_id in await self._store.write(statements.end_all_running, INTERRUPTED, now):
            logger.warning("Job %s was running when the service stopped: interrupted", job_id)
        for job_id in await self._store.write(statements.require_credentials):
            self._desk.expect(job_id)
        await self.sessions.start()
        self._dispatcher = asyncio.create_task(self._dispatch(), name="scheduler")
        self.wake()

    def wake(self) -> None:
        """Check the queue: a job was added, or may start now."""
        self._wake.set()

    def on_queued(self, job: NewJob) -> None:
        """React to a newly queued job."""
        if job.hardware is not None:
            self._desk.expect(job.id)
        self.wake()

    async def hand_over(self, job: Job, credentials: dict[str, Any]) -> None:
        """Accept the hardware credentials of a queued job; those of other jobs are ignored."""
        if job.state is not JobStatus.QUEUED:
            return
        self._desk.put(job.id, credentials)
        if not await self._store.write(statements.clear_credentials_wait, job.id):
            self._desk.take(job.id)  # meanwhile cancelled or started
        self.wake()

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job and wait for its end; return False if it had already ended otherwise."""
        return await self.end(job_id, CANCELLED)

    async def end(self, job_id: str, end: JobEnd) -> bool:
        """End a job in a given way and wait; return False if it had already ended otherwise."""
        while True:
            async with self._claiming:
                run = self._runs.get(job_id)
                if run is None:
                    return await self._end_queued(job_id, end)
            if await run.stop(end):
                return True
            if not run.was_put_back:
                return False
            await asyncio.sleep(0)  # until `_follow` has removed it from `_runs`

    async def close(self) -> None:
        """Start no more jobs and end the running ones as interrupted. Idempotent."""
        # The dispatcher is not cancelled: that would lose a claim in progress and interrupt its
        # job for no reason.
        self._closing = True
        self.wake()
        if self._dispatcher is not None:
            await self._dispatcher
        await asyncio.gather(*(run.stop(INTERRUPTED) for run in self._runs.values()))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sessions.close()

    async def _give_up(self, job_id: str) -> None:
        if await self._end_queued(job_id, NO_CREDENTIALS):
            self.wake()

    async def _end_queued(self, job_id: str, end: JobEnd) -> bool:
        now = self._clock.now()
        ended = await self._store.write(statements.end_job, job_id, end, now, was=JobStatus.QUEUED)
        if ended:
            self._desk.take(job_id)
            del self._put_back[job_id]  # a counter also deletes what it does not have
            logger.info("Job %s %s while queued", job_id, end.state.value.lower())
            self._feed.notify(job_id)
        return ended

    async def _dispatch(self) -> None:
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._fill()
            except Exception:  # boundary: a full disk must not end the queue permanently
                logger.exception("The queue could not be read; trying again")
                await asyncio.sleep(_RETRY_SECONDS)
                self.wake()

    async def _fill(self) -> None:
        """Start queued jobs until the queue is empty or the maximum is running."""
        while self._may_claim():
            running = [run.session_id for run in self._runs.values()]
            async with self._claiming:
                claimed = await self._store.write(
                    queue.claim_next,
                    self._clock.now(),
                    slots=self._max_concurrent_jobs,
                    running=running,
                    held=self._interference.held,
                )
                if claimed is None:
                    return
                self._begin(claimed)

    def _may_claim(self) -> bool:
        paused = self._clock.monotonic() < self._paused_until
        return not (self._closing or paused or len(self._runs) >= self._max_concurrent_jobs)

    def _begin(self, claimed: ClaimedJob) -> None:
        run = JobRun(
            claimed,
            store=self._store,
            executor=self._executor,
            feed=self._feed,
            folders=self._folders,
            clock=self._clock,
            credentials=self._desk.take(claimed.job.id),
            before_put_back=(
                self._pause_for if self._put_back[claimed.job.id] < len(_PAUSES) else None
            ),
        )
        self._runs[claimed.job.id] = run
        self._interference.on_started(claimed.job)
        self._feed.notify(claimed.job.id)
        logger.info("Job %s started", claimed.job.id)
        self._watch_session(run)
        task = asyncio.create_task(self._follow(claimed.job.id, run), name=claimed.job.id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, job_id: str, run: JobRun) -> None:
        try:
            await run.run()
        except Exception:  # boundary: the end was not stored; a restart marks it interrupted
            logger.exception("The end of job %s could not be recorded", job_id)
        finally:
            del self._runs[job_id]
            if not run.was_put_back:
                del self._put_back[job_id]
            self._watch_session(run)
            self.wake()

    def _pause_for(self, run: JobRun) -> None:
        """Start no job for a while after one that could not start and is to be queued again."""
        job_id = run.job_id
        if run.credentials is not None:
            self._desk.put(job_id, run.credentials)
        seconds = _PAUSES[self._put_back[job_id]]
        self._put_back[job_id] += 1
        self._paused_until = self._clock.monotonic() + seconds
        self._clock.call_later(seconds, self.wake)

    def _watch_session(self, run: JobRun) -> None:
        if run.session_id is not None:
            self.sessions.watch(run.session_id)
