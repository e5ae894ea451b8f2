"""A job as `RuntimeClient` gives it: status, decoded results, stream, logs."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from prefect_qiskit_runtime._decoders import Decoders, ResultDecoderLike
from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._outcome import job_error
from prefect_qiskit_runtime.codec import decode
from prefect_qiskit_runtime.errors import JobError, QiskitRuntimeError
from prefect_qiskit_runtime.models import (
    EndEvent,
    InterimEvent,
    JobInfo,
    JobMetrics,
    JobState,
    JobStatus,
)

_logger = logging.getLogger(__name__)
_LOG_TAIL_CHARACTERS = 4000

InterimCallback = Callable[[str, Any], Any]
"""Called as `callback(job_id, interim)`; may be a coroutine function."""


class RuntimeClientJob:
    """A job of a Runtime service. It lives in the service, whatever becomes of this object.

    Attributes:
        job_id: Its id.
        program_id: The program that it runs.
        backend: The name of the backend that it runs on.
    """

    def __init__(
        self,
        api: RuntimeApi,
        job_id: str,
        *,
        program_id: str,
        backend: str,
        result_decoder: ResultDecoderLike = None,
    ) -> None:
        self.job_id = job_id
        self.program_id = program_id
        self.backend = backend
        self._api = api
        self._decoder = result_decoder
        self._delivery: asyncio.Task[JobState | None] | None = None
        self._ended: JobState | None = None

    def __repr__(self) -> str:
        return (
            f"RuntimeClientJob({self.job_id!r}, program_id={self.program_id!r},"
            f" backend={self.backend!r})"
        )

    async def info(self) -> JobInfo:
        """Return all that the service says of the job."""
        return await self._api.get_job(self.job_id)

    async def status(self) -> JobStatus:
        """Return where the job is."""
        return (await self.info()).state.status

    async def inputs(self) -> dict[str, Any]:
        """Return the inputs of the job, decoded."""
        return await asyncio.to_thread(decode, await self._api.job_inputs(self.job_id))

    async def wait_for_final_state(self, timeout_seconds: float | None = None) -> JobStatus:
        """Wait until the job has ended and its callback has had all interim results.

        Raises:
            TimeoutError: It has not ended in time; it goes on.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return (await self._final_state()).status
        except TimeoutError as exc:
            raise TimeoutError(
                f"Job {self.job_id} has not ended within {timeout_seconds:g} s. It goes on:"
                " wait again, or cancel it."
            ) from exc

    async def result(
        self, decoder: ResultDecoderLike = None, *, timeout_seconds: float | None = None
    ) -> Any:
        """Wait for the end of the job and return its decoded result.

        Args:
            decoder: A class with `decode(text)`, or a pair (interim, final). Default: the one
                given at submission, then that of the package.
            timeout_seconds: How long to wait at most; the job goes on after that.

        Raises:
            JobError: The job ended without a result; the class says how.
            DecodingError: The result came, the decoder failed on it.
            TimeoutError: It has not ended in time.
        """
        decoders = Decoders.choose(decoder, self._decoder)
        if await self.wait_for_final_state(timeout_seconds) is not JobStatus.COMPLETED:
            error = await self._error()
            if error is not None:
                raise error
        body = await self._api.job_result(self.job_id)
        return await asyncio.to_thread(decoders.decode_final, body.decode()) if body else None

    async def interim_results(self, decoder: ResultDecoderLike = None) -> list[Any]:
        """Return the decoded interim results that there are so far."""
        decoders = Decoders.choose(decoder, self._decoder)
        texts = await self._api.job_interim_results(self.job_id)
        return await asyncio.to_thread(lambda: [decoders.decode_interim(text) for text in texts])

    async def stream(
        self, from_: int = 0, decoder: ResultDecoderLike = None
    ) -> AsyncGenerator[Any]:
        """Give the decoded interim results from a number on, until the job has ended."""
        decoders = Decoders.choose(decoder, self._decoder)
        self._api.require_interim_results()
        async with aclosing(self._api.stream(self.job_id, from_)) as events:
            async for event in events:
                if isinstance(event, InterimEvent):
                    yield decoders.decode_interim(event.data)

    async def cancel(self) -> None:
        """Cancel the job.

        Raises:
            ConflictError: It has ended already.
        """
        await self._api.cancel_job(self.job_id)

    async def logs(self) -> str:
        """Return what the job wrote to standard output and error."""
        return await self._api.job_logs(self.job_id)

    async def metrics(self) -> JobMetrics:
        """Return times, usage and versions of the job."""
        return await self._api.job_metrics(self.job_id)

    async def update_tags(self, tags: Iterable[str]) -> None:
        """Replace the tags of the job."""
        await self._api.update_job_tags(self.job_id, tags)

    async def error_message(self) -> str | None:
        """Return why the job ended without a result, with the program's traceback; else None."""
        error = await self._error()
        if error is None:
            return None
        return f"{error}\n\n{error.traceback}" if error.traceback else str(error)

    def deliver(self, callback: InterimCallback) -> asyncio.Task[JobState | None]:
        """Give each interim result to a callback while the job runs, in a task of its own."""
        self._delivery = asyncio.create_task(
            self._deliver(callback), name=f"qiskit-runtime-callback-{self.job_id}"
        )
        return self._delivery

    async def _deliver(self, callback: InterimCallback) -> JobState | None:
        decoders = Decoders.choose(self._decoder)
        try:
            async with aclosing(self._api.stream(self.job_id)) as events:
                async for event in events:
                    if isinstance(event, InterimEvent):
                        await self._call(callback, decoders, event)
                    elif isinstance(event, EndEvent):
                        return event.state
        except QiskitRuntimeError:
            _logger.exception("The callback of job %s gets no more interim results.", self.job_id)
        return None

    async def _call(
        self, callback: InterimCallback, decoders: Decoders, event: InterimEvent
    ) -> None:
        try:
            outcome = callback(self.job_id, decoders.decode_interim(event.data))
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            _logger.exception(
                "The callback failed on interim result %d of job %s; the job goes on.",
                event.seq,
                self.job_id,
            )

    async def _final_state(self) -> JobState:
        if self._delivery is not None and not self._delivery.cancelled():
            self._ended = await asyncio.shield(self._delivery)
        if self._ended is None:
            self._ended = await self._api.wait_for_job(self.job_id)
        return self._ended

    async def _error(self) -> JobError | None:
        info = await self.info()
        if info.state.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            return None
        body, log = await asyncio.gather(
            self._api.job_result(self.job_id), self._api.job_logs(self.job_id)
        )
        return job_error(info, body, log[-_LOG_TAIL_CHARACTERS:] or None)
