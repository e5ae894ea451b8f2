"""Store a job's interim results as they arrive, in order, many per commit."""

from __future__ import annotations

import asyncio

from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.results import append_interim

_MOST_UNSTORED_BYTES = 4 * 1024**2
_MOST_PER_WRITE = 1000


class InterimRecorder:
    """Writes the interim results of one running job to the store.

    Results that arrive during a commit go into the next one. A job that publishes faster than the
    disk can write is held back once a few megabytes are waiting.
    """

    def __init__(self, store: Store, feed: Feed, job_id: str) -> None:
        self._store = store
        self._feed = feed
        self._job_id = job_id
        self._unstored: list[str] = []
        self._unstored_bytes = 0
        self._next_seq = 0
        self._writing: asyncio.Task[None] | None = None

    async def put(self, text: str) -> None:
        """Accept one interim result; block only if too much data is already waiting."""
        self._unstored.append(text)
        self._unstored_bytes += len(text)
        if self._writing is None or self._writing.done():
            await self.flush()  # raises the error of an earlier write
            self._writing = asyncio.create_task(self._write())
        if self._unstored_bytes > _MOST_UNSTORED_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything accepted so far is stored.

        Raises:
            Exception: The store's error; the remaining results are lost with the job.
        """
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._unstored:
            texts = self._unstored[:_MOST_PER_WRITE]
            del self._unstored[: len(texts)]
            await self._store.write(append_interim, self._job_id, self._next_seq, texts)
            self._next_seq += len(texts)
            self._unstored_bytes -= sum(map(len, texts))
            self._feed.notify(self._job_id)
