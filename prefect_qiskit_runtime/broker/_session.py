"""The one session of a job on IBM Quantum, and the time in it that the job may use."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from prefect_qiskit_runtime.broker._journal import Journal
from prefect_qiskit_runtime.client import IbmApi
from prefect_qiskit_runtime.errors import HardwareBudgetError, NotFoundError
from prefect_qiskit_runtime.models import SessionInfo, SessionState

LONGEST_SESSION_SECONDS = 28_800
"""IBM's highest max time of a session."""

LONGEST_JOB_SECONDS = 10_800
"""IBM's highest max_execution_time of a job."""


@dataclass(frozen=True)
class Limits:
    """What a job may use.

    Attributes:
        max_seconds: How long its sessions, those of earlier attempts included, may hold the
            device; None for no limit of its own.
        max_execution_seconds: How long the job itself may run.
    """

    max_seconds: float | None
    max_execution_seconds: int


class HardwareSession:
    """Opens the session with the first submission, and again when the service has closed it.

    Attributes:
        session_id: The session; None while there is none.
    """

    def __init__(self, api: IbmApi, backend: str, journal: Journal, limits: Limits) -> None:
        self._api = api
        self._backend = backend
        self._journal = journal
        self._limits = limits
        self.session_id: str | None = None
        self._opening = asyncio.Lock()
        self._used_before = 0.0

    async def settle_earlier(self) -> None:
        """Close what an attempt that died has left open, and count what was used."""
        for session_id in self._journal.open_sessions:
            await self._close(session_id)
        self._used_before = await self._all_used_seconds()

    async def enter(self) -> str:
        """Return the session to submit to.

        Raises:
            HardwareBudgetError: The time is used up.
        """
        async with self._opening:
            left = await self._left_seconds()
            if self.session_id is None:
                self.session_id = await self._open(left)
            return self.session_id

    async def lapsed(self, session_id: str) -> None:
        """Take note that the service takes no more jobs into a session."""
        async with self._opening:
            if session_id == self.session_id:
                self.session_id = None
                await self._close(session_id)

    async def longest_job_seconds(self) -> int | None:
        """Return the max_execution_time of the next job; None to leave it to IBM."""
        if self._limits.max_seconds is None:
            return None
        return min(LONGEST_JOB_SECONDS, max(1, math.ceil(await self._left_seconds())))

    async def close(self, *, with_jobs: bool) -> None:
        """Close the session.

        Args:
            with_jobs: Whether the jobs that wait in it are cancelled; else they run to their end.
        """
        self.session_id = None
        for session_id in self._journal.open_sessions:
            await self._close(session_id, with_jobs=with_jobs)

    async def used_seconds(self) -> float:
        """Return how long the sessions of this attempt have held the device."""
        return await self._all_used_seconds() - self._used_before

    async def _left_seconds(self) -> float:
        if self._limits.max_seconds is None:
            return math.inf
        used = await self._all_used_seconds()
        left = self._limits.max_seconds - used
        if left <= 0:
            raise HardwareBudgetError(
                f"The program has used {used:.1f} s of {self._backend}; its limit"
                f" (hardware_max_seconds) is {self._limits.max_seconds:g} s, for all attempts."
                " Nothing more is submitted. Raise the limit, or make the program do less."
            )
        return left

    async def _all_used_seconds(self) -> float:
        used = self._journal.used_seconds
        for session_id in self._journal.open_sessions:
            used += _used(await self._api.get_session(session_id))
        return used

    async def _open(self, left_seconds: float) -> str:
        longest = min(LONGEST_SESSION_SECONDS, self._limits.max_execution_seconds, left_seconds)
        opened = await self._api.create_session(self._backend, max_time=math.ceil(longest))
        self._journal.session_opened(opened.id)
        return opened.id

    async def _close(self, session_id: str, *, with_jobs: bool = False) -> None:
        try:
            if with_jobs:
                await self._api.cancel_session(session_id)
            else:
                await self._api.close_session(session_id)
            session = await self._api.get_session(session_id)
        except NotFoundError:
            self._journal.session_closed(session_id, 0.0)
            return
        if session.state is SessionState.CLOSED:
            self._journal.session_closed(session_id, _used(session))


def _used(session: SessionInfo) -> float:
    return session.elapsed_time or 0.0
