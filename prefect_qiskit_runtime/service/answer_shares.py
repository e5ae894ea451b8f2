"""Answers that take much memory: how many of their bytes each user may have in progress.

An answer stays in memory until its client has read it, so clients that read slowly, or not at all,
could fill the memory of the service. Each user has a share. An answer that does not fit waits until
others of the same user are finished. If nothing of a waiting user moves for a while, the connection
that has been idle for the longest time is closed: its client can ask again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LARGE_BYTES = 128 * 1024
"""Larger parts of an answer take a share of its user's memory."""


@dataclass(eq=False)
class Holder:
    """An answer in progress.

    Attributes:
        num_bytes: The memory that it takes.
        close: Closes its connection.
        moved_at: When its client last read something.
    """

    num_bytes: int
    close: Callable[[], None]
    moved_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def move(self) -> None:
        """Record that the client has read something."""
        self.moved_at = asyncio.get_running_loop().time()


@dataclass
class _User:
    """The answers of one user: those in progress, and those that wait, in order."""

    holders: set[Holder] = field(default_factory=set)
    waiting: deque[Holder] = field(default_factory=deque)
    change: asyncio.Condition = field(default_factory=asyncio.Condition)


class AnswerShares:
    """The bytes of the large answers in progress, by user.

    Args:
        bytes_per_user: How many bytes a user may have in progress; a larger answer goes alone.
        idle_seconds: How long a client may read nothing while others of its user wait.
    """

    def __init__(self, bytes_per_user: int, idle_seconds: float) -> None:
        self._bytes_per_user = bytes_per_user
        self._idle_seconds = idle_seconds
        self._users: dict[str, _User] = {}

    @asynccontextmanager
    async def share(
        self, user: str, close: Callable[[], None], num_bytes: int
    ) -> AsyncIterator[Holder]:
        """Wait until an answer fits into the share of its user, and count it in the context.

        Args:
            user: The user.
            close: Closes the connection of the answer.
            num_bytes: The memory that it takes; small ones are not counted.
        """
        holder = Holder(num_bytes, close)
        if num_bytes <= LARGE_BYTES:
            yield holder
            return
        of_user = self._users.setdefault(user, _User())
        of_user.waiting.append(holder)
        try:
            async with of_user.change:
                while of_user.waiting[0] is not holder or not self._fits(of_user, num_bytes):
                    await self._wait(of_user)
                of_user.holders.add(holder)
            of_user.waiting.remove(holder)
            await _report(of_user)
            holder.move()
            yield holder
        finally:
            of_user.holders.discard(holder)
            if holder in of_user.waiting:
                of_user.waiting.remove(holder)
            if not of_user.holders and not of_user.waiting:
                self._users.pop(user, None)
            await asyncio.shield(_report(of_user))

    def _fits(self, of_user: _User, num_bytes: int) -> bool:
        in_use = sum(one.num_bytes for one in of_user.holders)
        return not in_use or in_use + num_bytes <= self._bytes_per_user

    async def _wait(self, of_user: _User) -> None:
        """Wait until an answer is finished; close the connection that has been idle the longest."""
        try:
            async with asyncio.timeout(self._idle_seconds):
                await of_user.change.wait()
        except TimeoutError:
            idle = min(of_user.holders, key=lambda one: one.moved_at, default=None)
            now = asyncio.get_running_loop().time()
            if idle is not None and now - idle.moved_at >= self._idle_seconds:
                idle.close()


async def _report(of_user: _User) -> None:
    async with of_user.change:
        of_user.change.notify_all()
