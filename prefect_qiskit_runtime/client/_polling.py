"""Following a job of a service that has no stream: by asking where it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from typing import Protocol

from prefect_qiskit_runtime.errors import RateLimitedError, ServiceUnavailableError
from prefect_qiskit_runtime.models import (
    EndEvent,
    JobInfo,
    JobState,
    JobStatus,
    StatusEvent,
    StreamEvent,
)

_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
# A job is known to have moved on after at most this share of the time it had waited for that.
_SHARE = 0.1
_GIVE_UP_SECONDS = 1800.0

# Their own names, so that tests can let hours pass.
_now = time.monotonic
_sleep = asyncio.sleep


class _Jobs(Protocol):
    async def get_job(self, job_id: str) -> JobInfo: ...


class JobPolling:
    """Asks for the state of one job until it has ended.

    It asks again after a tenth of the time that the job has been in its state, at least half a
    second and at most a minute, less some jitter: three hours in a queue cost about 260 requests.

    Args:
        jobs: Whom to ask. It asks again by itself after passing faults.
        job_id: The job.
        shortest_pause_seconds: Between two questions.
        longest_pause_seconds: Likewise.
        give_up_seconds: How long nobody may answer before the fault is raised.
    """

    def __init__(
        self,
        jobs: _Jobs,
        job_id: str,
        *,
        shortest_pause_seconds: float = _SHORTEST_PAUSE_SECONDS,
        longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS,
        give_up_seconds: float = _GIVE_UP_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._shortest_pause_seconds = shortest_pause_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._give_up_seconds = give_up_seconds
        self._status: JobStatus | None = None
        self._since = self._heard_at = _now()

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """Give the states of the job as it goes through them, `EndEvent` last.

        Raises:
            NotFoundError: There is no such job.
            ServiceUnavailableError: Nobody has answered for `give_up_seconds`.
        """
        self._since = self._heard_at = _now()
        while True:
            asked_seconds = 0.0
            try:
                state = await self._ask()
            except ServiceUnavailableError as fault:
                if _now() - self._heard_at >= self._give_up_seconds:
                    raise
                if isinstance(fault, RateLimitedError):
                    asked_seconds = fault.retry_after_seconds or 0.0
            else:
                if self._is_new(state):
                    yield StatusEvent(status=state.status)
                if state.status.is_terminal:
                    yield EndEvent(state=state)
                    return
            await _sleep(max(asked_seconds, self._pause_seconds()))

    async def _ask(self) -> JobState:
        state = (await self._jobs.get_job(self._job_id)).state
        self._heard_at = _now()
        return state

    def _is_new(self, state: JobState) -> bool:
        if state.status is self._status:
            return False
        self._status, self._since = state.status, _now()
        return True

    def _pause_seconds(self) -> float:
        pause_seconds = _SHARE * (_now() - self._since)
        pause_seconds = min(pause_seconds, self._longest_pause_seconds)
        # Never all at the same time, who were started at the same time.
        pause_seconds *= random.uniform(0.75, 1.0)  # noqa: S311 - jitter, not a secret
        return max(pause_seconds, self._shortest_pause_seconds)
