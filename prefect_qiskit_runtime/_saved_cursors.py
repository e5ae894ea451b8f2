"""How far the callback of a call has got, for when the call comes back in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect_qiskit_runtime._watching import Cursor, InterimDelivery
from prefect_qiskit_runtime.records.records import Records

_SAVE_SECONDS = 1.0

_cursors: dict[str, Cursor] = {}


async def cursor_of(records: Records, key: str) -> Cursor:
    """Return how far the callback had got with the job of an attempt."""
    if key not in _cursors:
        record = await records.read(key)
        _cursors[key] = Cursor(record["next_seq"] if record else 0)
    return _cursors[key]


@asynccontextmanager
async def cursor_saved(
    records: Records | None, key: str | None, job_id: str, delivery: InterimDelivery
) -> AsyncIterator[None]:
    """Keep how far the callback gets, each second and at the end.

    Args:
        records: Where it is kept; None if nothing comes back to the call.
        key: Under which it is kept; likewise.
        job_id: The job.
        delivery: Has the callback.
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
