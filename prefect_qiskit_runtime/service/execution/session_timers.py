"""The timers of sessions: each open session has one, for its next timed change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from prefect_qiskit_runtime.service.clock import Clock, Timer
from prefect_qiskit_runtime.service.execution import session_rules
from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.store import Store, sessions
from prefect_qiskit_runtime.service.store.records import JobEnd

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class SessionTimers:
    """Applies the time limits of a store's sessions. Call `watch` after each change of a session.

    Args:
        store: The store with the sessions.
        feed: Notified about jobs that end with their session.
        clock: The clock.
        wake: Called when slots may have become free.
    """

    def __init__(self, *, store: Store, feed: Feed, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._wake = wake
        self._timers: dict[str, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Serialized, so that the last timer set is based on the latest read.
        self._setting = asyncio.Lock()
        self._closing = False

    async def start(self) -> None:
        """Set the timers of the sessions that a previous service left open."""
        for session_id in await self._store.read(sessions.open_ids):
            await self._set(session_id)

    def watch(self, session_id: str) -> None:
        """Set a session's timer again, from its current state."""
        if not self._closing:
            self._begin(self._set(session_id), session_id)

    async def end(self, session_id: str, end: JobEnd) -> list[str]:
        """Close a session now and end its queued jobs in a given way; return their ids."""
        now = self._clock.now()
        ended = await self._store.write(session_rules.close_now, session_id, end, now)
        for job_id in ended:
            self._feed.notify(job_id)
        self.watch(session_id)
        self._wake()
        return ended

    async def settle(self) -> None:
        """Return once all due changes have been applied."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Cancel all timers and finish due changes."""
        self._closing = True
        for timer in self._timers.values():
            timer.cancel()
        await self.settle()

    async def _set(self, session_id: str) -> None:
        async with self._setting:
            due = await self._store.read(session_rules.next_due, session_id)
            old = self._timers.pop(session_id, None)
            if old is not None:
                old.cancel()
            if due is not None:
                self._ring_in((due - self._clock.now()).total_seconds(), session_id)

    async def _progress(self, session_id: str) -> None:
        now = self._clock.now()
        for job_id in await self._store.write(session_rules.progress, session_id, now):
            logger.info("Job %s failed: its session %s is over", job_id, session_id)
            self._feed.notify(job_id)
        self._wake()
        await self._set(session_id)

    def _ring_in(self, seconds: float, session_id: str) -> None:
        if not self._closing:
            self._timers[session_id] = self._clock.call_later(
                max(0.0, seconds), lambda: self._begin(self._progress(session_id), session_id)
            )

    def _begin(self, work: Coroutine[Any, Any, None], session_id: str) -> None:
        task = asyncio.create_task(self._guarded(work, session_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], session_id: str) -> None:
        try:
            await work
        except Exception:  # boundary: a full disk must not stop a session's timer for good
            logger.exception("Session %s could not be updated; trying again", session_id)
            self._ring_in(_RETRY_SECONDS, session_id)
