"""Read an async generator ahead of a slower reader.

Passing single items between threads takes a tenth of a millisecond each, which would dominate at
thousands of interim results per second. Items that are ready are passed together, without waiting
for more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_ITEMS_AHEAD = 256


@dataclass(frozen=True)
class _End:
    """Follows the last item; holds the generator's exception, if any."""

    error: Exception | None


async def batches(items: AsyncGenerator[T, None]) -> AsyncGenerator[list[T], None]:
    """Yield the items in order, in lists of the items that are ready.

    Args:
        items: The source; it is closed at the end, or when this generator is closed.

    Raises:
        Exception: The exception of `items`, after all items before it.
    """
    queue: asyncio.Queue[Any] = asyncio.Queue(_ITEMS_AHEAD)
    pumping = asyncio.create_task(_pump(items, queue))
    end: _End | None = None
    try:
        while end is None:
            batch = [await queue.get()]
            while not queue.empty():
                batch.append(queue.get_nowait())
            if isinstance(batch[-1], _End):
                end = batch.pop()
            if batch:
                yield batch
    finally:
        pumping.cancel()
        await asyncio.wait({pumping})
    if end.error is not None:
        raise end.error


async def _pump(items: AsyncGenerator[T, None], queue: asyncio.Queue[Any]) -> None:
    error: Exception | None = None
    try:
        async with aclosing(items):
            async for item in items:
                await queue.put(item)
    except Exception as raised:  # noqa: BLE001 - raised again by `batches`, in order
        error = raised
    await queue.put(_End(error))
