"""Delivery of interim results to the callbacks of `RuntimeClient`, one task for each job."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._results import read_result
from prefect_qiskit_runtime.codec import Decoders
from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.models import EndEvent, InterimEvent, JobState, JobStatus

_logger = logging.getLogger(__name__)

InterimCallback = Callable[[str, Any], Any]
"""Called as `callback(job_id, interim)`; may be a coroutine function."""


@dataclass(frozen=True)
class Delivery:
    """The results of a job that a callback receives.

    Attributes:
        include_final: Whether the last call passes the final result.
        private: Whether the final result can be read only once.
    """

    api: RuntimeApi
    job_id: str
    callback: InterimCallback
    decoders: Decoders
    include_final: bool = False
    private: bool = False

    async def run(self) -> JobState | None:
        """Call the callback until the job has ended; return its final state, or None if unknown."""
        try:
            async with aclosing(self.api.stream(self.job_id)) as events:
                async for event in events:
                    if isinstance(event, InterimEvent):
                        await self._call(
                            f"interim result {event.seq}", self.decoders.decode_interim, event.data
                        )
                    elif isinstance(event, EndEvent):
                        await self._finish(event.state)
                        return event.state
        except QiskitRuntimeError:
            _logger.exception("The callback of job %s receives no more results.", self.job_id)
        return None

    async def _finish(self, state: JobState) -> None:
        if not self.include_final or state.status is not JobStatus.COMPLETED:
            return
        text, result = await read_result(
            self.api,
            self.job_id,
            self.decoders.decode_final,
            is_sent_once=self.api.sends_once(private=self.private),
        )
        await self._call("the final result", lambda _: result, text)

    async def _call(self, what: str, decode: Callable[[str], Any], data: str) -> None:
        try:
            outcome = self.callback(self.job_id, decode(data))
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            _logger.exception(
                "The callback failed on %s of job %s; the job continues.", what, self.job_id
            )


class Deliveries:
    """The deliveries of one client; they end with the client."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[JobState | None]] = set()

    def start(self, delivery: Delivery) -> asyncio.Task[JobState | None]:
        """Start a delivery."""
        task = asyncio.create_task(
            delivery.run(), name=f"qiskit-runtime-callback-{delivery.job_id}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def prepare(self, callback: InterimCallback) -> InterimCallback:
        """Return a callback that can be called in the event loop."""
        return callback

    async def close(self) -> None:
        """Cancel all deliveries."""
        for task in (tasks := tuple(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
