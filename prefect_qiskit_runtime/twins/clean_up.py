"""Cleaning up in code that is being cancelled. What is cleaned up is known elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from anyio import CancelScope

T = TypeVar("T")


async def cleaned_up(clean_up: Coroutine[Any, Any, T], seconds: float) -> asyncio.Task[T]:
    """Wait for a clean-up, for so long at most, however often the caller is cancelled meanwhile.

    Whoever cancels a task does so once in asyncio. A cancel scope of anyio, in which Prefect runs
    asynchronous tasks and flows that have a time limit, does it again at each `await` until the
    scope is left, and `asyncio.gather` passes that on to all that it waits for.

    Args:
        clean_up: What is to be done, in a task of its own.
        seconds: After this it is cancelled.

    Returns:
        The task, which has ended if there was time.
    """
    task, until = asyncio.create_task(clean_up), time.monotonic() + seconds
    while not task.done() and (left_seconds := until - time.monotonic()) > 0:
        with suppress(asyncio.CancelledError), CancelScope(shield=True):
            await asyncio.wait({task}, timeout=left_seconds)
    if not task.done():
        task.cancel()
    return task
