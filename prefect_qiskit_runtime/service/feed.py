"""Wake streams when new data of their job has been stored.

The feed carries no data: each stream reads new data from the store at its own pace. So a slow
reader loses nothing, nothing accumulates for it, and a late reader gets the same as an early one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """One stream's wake-up. Call `expect` before reading, then `wait`, so nothing is missed."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Signal that new data has been stored."""
        self._rung.set()

    def expect(self) -> None:
        """Start listening. Anything stored from now on ends the next `wait`."""
        self._rung.clear()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until data has been stored; return False if none was within the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True


class Feed:
    """All open streams, by job."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._readers: dict[str, set[asyncio.Event]] = {}
        self.closed = False

    @property
    def open_streams(self) -> int:
        """Number of open streams."""
        return sum(len(watches) for watches in self._watches.values())

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        """Watch a job for new data."""
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]

    @contextmanager
    def reader(self, job_id: str) -> Iterator[None]:
        """Register a stream to a client until it has been closed, for `wait_until_unread`."""
        closed = asyncio.Event()
        self._readers.setdefault(job_id, set()).add(closed)
        try:
            yield
        finally:
            closed.set()
            readers = self._readers[job_id]
            readers.discard(closed)
            if not readers:
                del self._readers[job_id]

    async def wait_until_unread(self, job_id: str, timeout_seconds: float) -> None:
        """Wait until the registered streams of a job that has ended are closed, or the timeout."""
        waiting = [asyncio.ensure_future(one.wait()) for one in self._readers.get(job_id, ())]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=timeout_seconds)
        for one in late:
            one.cancel()

    def notify(self, job_id: str) -> None:
        """Wake a job's streams: new data has been stored."""
        for watch in self._watches.get(job_id, ()):
            watch.ring()

    def close(self) -> None:
        """End all streams because the service is stopping; readers resume when it is back."""
        self.closed = True
        for job_id in self._watches:
            self.notify(job_id)
