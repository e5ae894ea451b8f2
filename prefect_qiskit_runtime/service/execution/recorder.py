"""Store a job's interim results as fast as they come, in order, many to a commit."""

from __future__ import annotations

import asyncio

from prefect_qiskit_runtime.service.feed import Feed
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.results import append_interim

_MOST_UNSTORED_BYTES = 4 * 1024**2
_MOST_PER_WRITE = 1000


class InterimRecorder:
    """The interim results of one running job on their way to the store.

    What comes while a commit is under way goes into the next one. A job that publishes faster
    than the disk takes it is held back when a few megabytes wait.
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
        """Take one interim result; wait only where too much is waiting already."""
        self._unstored.append(text)
        self._unstored_bytes += len(text)
        if self._writing is None or self._writing.done():
            await self.flush()  # raises what an earlier write raised
            self._writing = asyncio.create_task(self._write())
        if self._unstored_bytes > _MOST_UNSTORED_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything taken so far is stored.

        Raises:
            Exception: What the store raised; the rest is lost with the job.
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
