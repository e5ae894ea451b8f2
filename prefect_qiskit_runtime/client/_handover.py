"""A call that runs in another thread's event loop, while its caller may be interrupted anywhere."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

_CLEAN_UP_SECONDS = 10.0


class Handover(Generic[Answer]):
    """One call, handed to a loop that runs in another thread.

    Not `asyncio.run_coroutine_threadsafe`, nor a portal: Ctrl-C between their handing over and
    their giving something that can be cancelled would leave the call running, and what cleans up
    after it would find it at work. Here there is something to cancel before anything runs.

    Args:
        ask: Called in the loop; gives what is awaited there.
        loop: The loop, running in another thread.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[Answer]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._ask = ask
        self._loop = loop
        self._task: asyncio.Task[Answer] | None = None
        self._answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    def wait(self) -> Answer:
        """Return what the call gives; interrupted here, it is cancelled there and has ended."""
        try:
            self._loop.call_soon_threadsafe(self._start)
            return self._answer.result()
        except BaseException:
            if not self._answer.done():
                self._loop.call_soon_threadsafe(self._stop)  # after `_start`, if that was taken
                concurrent.futures.wait([self._answer], _CLEAN_UP_SECONDS)
            raise

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(self._hand_back)

    async def _run(self) -> Answer:
        return await self._ask()

    def _hand_back(self, task: asyncio.Task[Answer]) -> None:
        if task.cancelled():
            self._answer.set_exception(concurrent.futures.CancelledError())
        elif error := task.exception():
            self._answer.set_exception(error)
        else:
            self._answer.set_result(task.result())

    def _stop(self) -> None:
        if self._task is None:
            self._answer.set_exception(concurrent.futures.CancelledError())
        else:
            self._task.cancel()
