"""Time to clean up in, for code that is being cancelled. What is cleaned up is known elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import move_on_after


@contextmanager
def time_to_clean_up(seconds: float) -> Iterator[None]:
    """Let the block wait, for so long at most, although the code around it is being cancelled.

    asyncio cancels a task once. A cancel scope of anyio, in which Prefect runs asynchronous tasks
    and flows that have a time limit, interrupts each `await` until the scope is left.
    """
    with move_on_after(seconds, shield=True):
        yield
