"""How many jobs an account may have pending: known from what the service has refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

TOO_MANY_PENDING = 1012
"""IBM's code for a submission that would be one pending job too many."""

KNOWN_SECONDS = 300.0
"""How long such a number is taken as known: not for long, since some jobs may have ended between
the refusal and the look at them."""

_LONGEST_PAUSE_SECONDS = 20.0


class _Instance(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def instance(self) -> str | None: ...


def instance_name(api: _Instance) -> str:
    """Return a name of an instance that tells no account."""
    whole = json.dumps([api.url, api.instance])
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


async def wait_for_room(
    most: Callable[[], int],
    pending: Callable[[], Awaitable[int]],
    on_wait: Callable[[bool], object],
) -> None:
    """Wait until there are less pending jobs than there may be.

    Args:
        most: How many there may be; 0 while that is not known.
        pending: How many there are.
        on_wait: Told, before each pause, whether it is the first.
    """
    pause_seconds = 1.0
    while 0 < most() <= await pending():
        on_wait(pause_seconds == 1.0)
        await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause_seconds = min(_LONGEST_PAUSE_SECONDS, 1.5 * pause_seconds)
