"""The limit of an account's pending jobs, learned from the submissions IBM refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

TOO_MANY_PENDING = 1012
"""IBM's code for a submission that exceeds the limit of pending jobs."""

KNOWN_SECONDS = 300.0
"""How long a learned limit is used: not for long, because some jobs may have ended between the
refusal and the count."""

_LONGEST_PAUSE_SECONDS = 20.0


class _Instance(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def instance(self) -> str | None: ...


def instance_name(api: _Instance) -> str:
    """Return a name for an instance that does not reveal the account."""
    whole = json.dumps([api.url, api.instance])
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


async def wait_for_room(
    most: Callable[[], int],
    pending: Callable[[], Awaitable[int]],
    on_wait: Callable[[bool], object],
) -> None:
    """Wait until there are fewer pending jobs than the limit.

    Args:
        most: Returns the limit; 0 while it is unknown.
        pending: Returns the number of pending jobs.
        on_wait: Called before each pause with True if it is the first.
    """
    pause_seconds = 1.0
    while 0 < most() <= await pending():
        on_wait(pause_seconds == 1.0)
        await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause_seconds = min(_LONGEST_PAUSE_SECONDS, 1.5 * pause_seconds)
