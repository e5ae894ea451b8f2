"""Delivery of interim results to the user's callback, and the callback's saved position."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prefect_qiskit_runtime.codec import Decoders
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.models import InterimEvent
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.twins.sync import deliver

_SAVE_SECONDS = 1.0
_cursors: dict[str, Cursor] = {}


async def load_cursor(records: Records, key: str) -> Cursor:
    """Return the callback's position in the interim results of an attempt."""
    if key not in _cursors:
        record = await records.read(key)
        _cursors[key] = Cursor(record["next_seq"] if record else 0)
    return _cursors[key]


@asynccontextmanager
async def keep_cursor_saved(
    records: Records | None, key: str | None, job_id: str, delivery: InterimDelivery
) -> AsyncIterator[None]:
    """Save the callback's position each second and at the end.

    Args:
        records: The records to save it in; None if the call cannot be repeated.
        key: Name of the record; None if the call cannot be repeated.
        job_id: The job.
        delivery: The delivery to the callback.
    """
    if records is None or key is None or not delivery.has_callback:
        yield
        return
    _cursors[key] = delivery.cursor
    saving = asyncio.create_task(_save_each_second(records, key, job_id, delivery.cursor))
    try:
        yield
    finally:
        saving.cancel()
        await asyncio.wait({saving})
    await _save_cursor(records, key, job_id, delivery.cursor)


async def _save_each_second(records: Records, key: str, job_id: str, cursor: Cursor) -> None:
    saved = cursor.next_seq
    while True:
        await asyncio.sleep(_SAVE_SECONDS)
        if cursor.next_seq != saved:
            saved = cursor.next_seq
            await _save_cursor(records, key, job_id, cursor)


async def _save_cursor(records: Records, key: str, job_id: str, cursor: Cursor) -> None:
    record = {"job_id": job_id, "next_seq": cursor.next_seq}
    await records.try_write(key, record)


InterimCallback = Callable[..., Any]
"""`callback(job_id, interim)`; a parameter `seq` receives the number of the interim result."""


@dataclass
class Cursor:
    """The position of the user's callback: the number of the next interim result it receives."""

    next_seq: int = 0


class InterimDelivery:
    """Passes decoded interim results to the user's callback, in order, in the caller's thread.

    Attributes:
        next_seq: Number of the next interim result to read from the service.
        cursor: The position of the callback; in another thread, it may be behind.
    """

    def __init__(
        self,
        job_id: str,
        callback: InterimCallback | None,
        decoders: Decoders,
        cursor: Cursor | None = None,
    ) -> None:
        self.cursor = cursor or Cursor()
        self.next_seq = self.cursor.next_seq
        self._job_id = job_id
        self._callback = callback
        self._decoders = decoders
        self._logger = logger_here()
        self._wants_number = callback is not None and "seq" in _parameters(callback)
        self._failures = 0

    @property
    def has_callback(self) -> bool:
        """Whether there is a callback to deliver to."""
        return self._callback is not None

    async def __call__(self, event: InterimEvent) -> None:
        """Deliver one interim result; an error of the callback is logged and never raised."""
        if self._callback is not None:
            await deliver(self._call, event)
        self.next_seq = event.seq + 1

    def _call(self, event: InterimEvent) -> Any:
        assert self._callback is not None  # noqa: S101 - for the type checker
        number = {"seq": event.seq} if self._wants_number else {}
        try:
            interim = self._decoders.decode_interim(event.data)
            outcome = self._callback(self._job_id, interim, **number)
        except Exception:  # noqa: BLE001 - the user's code: logged with its traceback
            self._log_failure(event.seq)
            outcome = None
        if inspect.isawaitable(outcome):
            return self._await_outcome(outcome, event.seq)
        self.cursor.next_seq = event.seq + 1
        return None

    async def _await_outcome(self, outcome: Any, seq: int) -> None:
        try:
            await outcome
        except Exception:  # noqa: BLE001 - the user's code: logged with its traceback
            self._log_failure(seq)
        self.cursor.next_seq = seq + 1

    def _log_failure(self, seq: int) -> None:
        self._failures += 1
        self._logger.error(
            "The callback failed on interim result %d of job %s; the job continues.",
            seq,
            self._job_id,
            exc_info=self._failures == 1,  # a thousand more tracebacks would hide the first
        )


def check_callback(callback: InterimCallback | None) -> None:
    """Refuse a callback that does not take a job id and an interim result, before submission.

    Raises:
        ConfigurationError: The callback does not take them.
    """
    if callback is None:
        return
    if not callable(callback):
        raise ConfigurationError(
            f"callback must be a function callback(job_id, interim), not {callback!r:.80}."
        )
    number = {"seq": 0} if "seq" in _parameters(callback) else {}
    try:
        inspect.signature(callback).bind("job_id", "interim", **number)
    except TypeError as error:
        raise ConfigurationError(
            f"callback must accept (job_id, interim), and may have a parameter seq: {error}."
        ) from error
    except ValueError:  # some builtins have no signature
        return


def _parameters(callback: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(callback).parameters)
    except (TypeError, ValueError):  # some builtins have no signature
        return frozenset()
