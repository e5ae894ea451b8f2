"""How the jobs of a program are grouped on IBM Quantum: in a session, in a batch, or separately."""

from __future__ import annotations

import asyncio
import logging
import math

from prefect_qiskit_runtime.broker._budget import Budget
from prefect_qiskit_runtime.broker._journal import Journal
from prefect_qiskit_runtime.client import LONGEST_JOB_SECONDS, IbmApi, Spent
from prefect_qiskit_runtime.errors import ConfigurationError, NotFoundError, QiskitRuntimeError
from prefect_qiskit_runtime.models import (
    LONGEST_SESSION_SECONDS,
    NO_SESSIONS_IN_PLAN,
    HardwareMode,
    SessionState,
)

logger = logging.getLogger(__name__)


class HardwareSession:
    """Opens the session with the first submission, and again after the service has closed it.

    With the mode "job", no session is opened and the jobs are separate.

    Attributes:
        session_id: The open session or batch, if any.
    """

    def __init__(
        self, api: IbmApi, backend: str, journal: Journal, budget: Budget, mode: HardwareMode
    ) -> None:
        self._api = api
        self._backend = backend
        self._journal = journal
        self._budget = budget
        self._mode: HardwareMode = mode
        self.session_id: str | None = None
        self._opening = asyncio.Lock()
        self._before = Spent(0.0)

    async def settle_earlier(self) -> None:
        """Close the sessions left open by an attempt that died, and measure the time used."""
        for session_id in self._journal.open_sessions:
            await self._close(session_id)
        self._before = await self._used()

    async def enter(self) -> tuple[str | None, int | None]:
        """Return the session to submit to, and the max_execution_time of the job.

        The session is None for separate jobs; the time is None without a limit.

        Raises:
            HardwareBudgetError: The time is used up.
            ConfigurationError: The account's plan has no sessions.
        """
        async with self._opening:
            left_seconds = await self._budget.left_seconds(await self._used())
            if self.session_id is None and self._mode != "job":
                self.session_id = await self._open(left_seconds)
            if math.isinf(left_seconds):
                return self.session_id, None
            return self.session_id, min(LONGEST_JOB_SECONDS, max(1, math.ceil(left_seconds)))

    async def lapsed(self, session_id: str) -> None:
        """Record that a session accepts no more jobs, and close it."""
        async with self._opening:
            if session_id == self.session_id:
                self.session_id = None
                await self._close(session_id)

    async def close(self, *, with_jobs: bool) -> None:
        """Close the session.

        Args:
            with_jobs: Whether its waiting jobs are cancelled; otherwise they run to their end.
        """
        self.session_id = None
        for session_id in self._journal.open_sessions:
            await self._close(session_id, with_jobs=with_jobs)

    async def used_seconds(self) -> float | None:
        """Return the time on the device that this attempt has used, as billed by IBM.

        It is None if the service does not report a part of it.
        """
        used = await self._used()
        if used.assumed != self._before.assumed:
            return None
        return used.seconds - self._before.seconds

    async def _used(self) -> Spent:
        """Return the time that the program has used, and the part of it that is assumed."""
        journal = self._journal
        used, assumed = journal.used_seconds, journal.assumed_seconds
        for session_id in journal.open_sessions:
            try:
                used += (await self._api.get_session(session_id)).most_seconds
            except NotFoundError:
                assumed[session_id] = self._most_seconds(session_id)
                used += assumed[session_id]
        jobs = await self._budget.used_by(
            journal.single_jobs,
            lambda job_id: journal.most_seconds(job_id, LONGEST_JOB_SECONDS),
        )
        return Spent(used + jobs.seconds, {**assumed, **jobs.assumed})

    def _most_seconds(self, session_id: str) -> float:
        return self._journal.most_seconds(session_id, LONGEST_SESSION_SECONDS)

    async def _open(self, left_seconds: float) -> str:
        limit = self._budget.limits.max_execution_seconds
        longest = math.ceil(min(LONGEST_SESSION_SECONDS, limit, left_seconds))
        mode = "batch" if self._mode == "batch" else "dedicated"
        try:
            opened = await self._api.create_session(self._backend, mode=mode, max_time=longest)
        except QiskitRuntimeError as error:
            if error.code != NO_SESSIONS_IN_PLAN:
                raise
            raise ConfigurationError(
                f"{error} Set hardware_mode of the RuntimeBackend to 'batch' or 'job': programs on"
                " the open plan run in these."
            ) from error
        self._journal.session_opened(opened.id, longest)
        return opened.id

    async def _close(self, session_id: str, *, with_jobs: bool = False) -> None:
        try:
            if with_jobs:
                await self._api.cancel_session(session_id)
            else:
                await self._api.close_session(session_id)
            session = await self._api.get_session(session_id)
        except NotFoundError:
            seconds = self._most_seconds(session_id)
            logger.warning(
                "The service has no session %s any more, so the time that it has used is not known:"
                " %.1f s are assumed, the longest time possible.",
                session_id,
                seconds,
            )
            self._journal.session_closed(session_id, seconds, is_assumed=True)
            return
        if session.state is SessionState.CLOSED:
            self._journal.session_closed(session_id, session.most_seconds)
