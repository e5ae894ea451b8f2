"""The result stream of a job: each interim result once and in order, across broken connections."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from prefect_qiskit_runtime.client._answers import Call, malformed
from prefect_qiskit_runtime.client._transport import Transport
from prefect_qiskit_runtime.errors import (
    ProtocolError,
    QiskitRuntimeError,
    RateLimitedError,
    ServiceUnavailableError,
    is_retryable,
)
from prefect_qiskit_runtime.models import (
    EndEvent,
    InterimEvent,
    JobStatus,
    StatusEvent,
    StreamEvent,
)

HEARTBEAT_SECONDS = 15.0
"""How often the service sends a heartbeat on a quiet stream."""

_SILENCE_SECONDS = 2.5 * HEARTBEAT_SECONDS
_GIVE_UP_SECONDS = 120.0
_LONGEST_PAUSE_SECONDS = 5.0
_GAPS = 3

_QUEUED = StatusEvent(status=JobStatus.QUEUED)

_EVENT: TypeAdapter[StreamEvent] = TypeAdapter(Annotated[StreamEvent, Field(discriminator="type")])


class ResultStream:
    """Follows the stream of one job and resumes it where it broke.

    Args:
        transport: The connection to the service.
        job_id: The job.
        from_seq: Number of the first interim result to return.
        silence_seconds: A connection that is quiet for longer is considered dead.
        give_up_seconds: How long to try to reconnect before the error is raised.
        when_queued: Called each time the service, perhaps after a restart, reports the job queued.
    """

    def __init__(
        self,
        transport: Transport,
        job_id: str,
        from_seq: int,
        *,
        silence_seconds: float = _SILENCE_SECONDS,
        give_up_seconds: float = _GIVE_UP_SECONDS,
        when_queued: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._transport = transport
        self._job_id = job_id
        self._next_seq = from_seq
        self._silence_seconds = silence_seconds
        self._give_up_seconds = give_up_seconds
        self._when_queued = when_queued
        self._status: JobStatus | None = None
        self._heard_at = time.monotonic()
        self._failures = 0
        self._gaps = 0

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """Yield the events of the job, `EndEvent` last.

        Raises:
            NotFoundError: The job does not exist.
            ServiceUnavailableError: The service could not be reached for `give_up_seconds`.
            ProtocolError: The response is not a result stream, even when asked for it again, or
                has a permanent gap.
        """
        self._heard_at = time.monotonic()
        while True:
            try:
                async with aclosing(self._one_connection()) as events:
                    async for event in events:
                        if isinstance(event, EndEvent):
                            self._require_known_end(event)
                        yield event
                        if isinstance(event, EndEvent):
                            return
                fault: QiskitRuntimeError = ServiceUnavailableError(
                    f"{self._lost_it} the service closed it early."
                )
            except (ServiceUnavailableError, ProtocolError) as exc:
                fault = exc
            await self._pause_after(fault)

    async def _one_connection(self) -> AsyncGenerator[StreamEvent]:
        """Yield the new events of one connection; return when another connection is needed."""
        call = Call("GET", f"/jobs/{self._job_id}/stream", f"stream job {self._job_id}", "job")
        connection = self._transport.open_stream(
            call, query={"from": self._next_seq}, silence_seconds=self._silence_seconds
        )
        async with connection as chunks:
            async for line in _lines(chunks):
                event = _parse(call, self._transport.url, line)
                self._heard_at = time.monotonic()
                if event is not None and self._skips(event):
                    self._count_gap()
                    return
                if self._when_queued is not None and event == _QUEUED:
                    await self._when_queued()
                if event is not None and self._is_new(event):
                    yield event

    def _skips(self, event: StreamEvent) -> bool:
        """Return whether interim results are missing before this event."""
        if isinstance(event, InterimEvent):
            return event.seq > self._next_seq
        return isinstance(event, EndEvent) and event.interim_count > self._next_seq

    def _is_new(self, event: StreamEvent) -> bool:
        """Record an event; return whether it is new."""
        if isinstance(event, InterimEvent):
            if event.seq < self._next_seq:
                return False
            self._next_seq = event.seq + 1
            self._failures = self._gaps = 0
        elif isinstance(event, StatusEvent):
            if event.status == self._status:
                return False
            self._status = event.status
        else:
            self._failures = 0
        return True

    def _require_known_end(self, event: EndEvent) -> None:
        """Raise if a job has ended in a state that is neither a success nor a failure here."""
        if not event.state.status.is_terminal:
            raise ProtocolError(
                f"Cannot stream job {self._job_id}: the service reports its end with the status"
                f" {event.state.status.value!r}, which this version of prefect-qiskit-runtime does"
                " not know, so it is not treated as a success. Look at the job in the service, or"
                " use the version of the service."
            )

    def _count_gap(self) -> None:
        self._gaps += 1
        if self._gaps >= _GAPS:
            raise ProtocolError(
                f"Cannot stream job {self._job_id}: the service omits interim result"
                f" {self._next_seq}, even when asked for it again."
            )

    async def _pause_after(self, fault: QiskitRuntimeError) -> None:
        """Pause before the next connection; raise the fault if it has lasted too long."""
        silent_seconds = time.monotonic() - self._heard_at
        if silent_seconds >= self._give_up_seconds or not is_retryable(fault):
            raise fault
        pause_seconds = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**self._failures)
        pause_seconds *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        self._failures = min(self._failures + 1, 16)
        if isinstance(fault, RateLimitedError):
            pause_seconds = max(pause_seconds, fault.retry_after_seconds or 0.0)
        await asyncio.sleep(pause_seconds)

    @property
    def _lost_it(self) -> str:
        return f"Cannot stream job {self._job_id} at {self._transport.url}:"


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Split chunks into lines. Only a newline ends a line: JSON may contain other line breaks.

    A last line without a newline comes from a broken connection and is dropped.
    """
    rest: list[bytes] = []
    async for chunk in chunks:
        *complete, tail = chunk.split(b"\n")
        for line in complete:
            yield b"".join((*rest, line))
            rest.clear()
        rest.append(tail)


def _parse(call: Call, url: str, line: bytes) -> StreamEvent | None:
    """Parse an event; return None for a kind unknown to this version."""
    try:
        return _EVENT.validate_json(line)
    except ValidationError as exc:
        if exc.errors(include_input=False)[0]["type"] == "union_tag_invalid":
            return None
        raise malformed(call, exc, url) from exc
