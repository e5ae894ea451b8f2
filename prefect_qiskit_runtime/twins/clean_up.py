"""Clean up in code that is being cancelled. The callers define the clean-up itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from anyio import CancelScope

T = TypeVar("T")


async def cleaned_up(clean_up: Coroutine[Any, Any, T], seconds: float) -> asyncio.Task[T]:
    """Wait for a clean-up up to a time limit, even if the caller is cancelled again meanwhile.

    In asyncio, a task is cancelled once. A cancel scope of anyio, in which Prefect runs
    asynchronous tasks and flows with a time limit, cancels again at each `await` until the scope
    is left, and `asyncio.gather` forwards that to everything it waits for.

    Args:
        clean_up: The coroutine, which runs in a separate task.
        seconds: The time limit, after which it is cancelled.

    Returns:
        The task, which has ended unless the limit was reached.
    """
    task, until = asyncio.create_task(clean_up), time.monotonic() + seconds
    while not task.done() and (left_seconds := until - time.monotonic()) > 0:
        with suppress(asyncio.CancelledError), CancelScope(shield=True):
            await asyncio.wait({task}, timeout=left_seconds)
    if not task.done():
        task.cancel()
    return task
