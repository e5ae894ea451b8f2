"""The service's clock, for timestamps and waits.

Everything that ends after a time (a job's limit, a session's, a token's) uses this clock, so
that tests can move it. Timeouts that protect the service itself (of its processes and its disk)
do not use it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["Clock", "Timer"]


class Timer:
    """A call scheduled for a time, unless it is cancelled."""

    def __init__(self, due: float, ring: Callable[[], object]) -> None:
        self.due = due
        self.cancelled = False
        self._ring = ring
        self._rung: object = None

    def cancel(self) -> None:
        """Cancel the call; no effect if it has already been made."""
        self.cancelled = True

    def ring(self) -> None:
        """Make the call, once."""
        if not self.cancelled:
            self.cancelled = True
            self._rung = self._ring()  # kept: the event loop holds tasks only weakly


class Clock:
    """The machine's time plus the time it was moved forward. Belongs to one event loop."""

    def __init__(self) -> None:
        self._moved = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._handle: asyncio.TimerHandle | None = None

    @property
    def moved_seconds(self) -> float:
        """The total time by which the clock was moved."""
        return self._moved

    def now(self) -> datetime:
        """Return the date and time, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._moved)

    def monotonic(self) -> float:
        """Return seconds that never decrease."""
        return time.monotonic() + self._moved

    def call_later(self, seconds: float, ring: Callable[[], object]) -> Timer:
        """Make a call after a time, in the event loop."""
        timer = Timer(self.monotonic() + seconds, ring)
        heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        self._arm()
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait for a time."""
        over = asyncio.Event()
        timer = self.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def advance(self, seconds: float) -> None:
        """Move the time forward; calls due by then are made now, in order.

        Raises:
            ValueError: The time would move backward.
        """
        if seconds < 0:
            raise ValueError(f"The clock only moves forward, not by {seconds} s.")
        self._moved += seconds
        self._ring_due()

    def _ring_due(self) -> None:
        while self._timers and self._timers[0][0] <= self.monotonic():
            heapq.heappop(self._timers)[2].ring()
        self._arm()

    def _arm(self) -> None:
        """Schedule a wake-up for the first timer that is not cancelled."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if self._timers:
            wait = max(0.0, self._timers[0][0] - self.monotonic())
            self._handle = asyncio.get_running_loop().call_later(wait, self._ring_due)
