"""Wake streams when something of their job has been stored.

It carries no data: a stream reads what is new from the store, at its own pace. So nothing is
lost by a slow reader, nothing piles up for it, and a late one reads the same as an early one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """One stream's bell. `expect` before reading, then `wait`: what comes between rings it."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Say that something has been stored."""
        self._rung.set()

    def expect(self) -> None:
        """Begin to listen. Whatever is stored from here on ends the next `wait`."""
        self._rung.clear()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until something has been stored; return False if nothing was in that time."""
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
        self.closed = False

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return sum(len(watches) for watches in self._watches.values())

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        """Listen for what happens to a job."""
        watch = Watch()
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]

    def notify(self, job_id: str) -> None:
        """Say that something of a job has been stored."""
        for watch in self._watches.get(job_id, ()):
            watch.ring()

    def close(self) -> None:
        """End all streams: the service is going, readers find the rest when it is back."""
        self.closed = True
        for job_id in self._watches:
            self.notify(job_id)
