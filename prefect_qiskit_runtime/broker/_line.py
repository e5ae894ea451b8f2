"""The queue for submissions of all programs of a service to one IBM instance.

Brokers do not use Prefect, through which flows share their limits. Instead, the brokers of a
service share a file for each instance. The broker whose turn it is locks the file, and the
operating system unlocks it if that broker dies. The file contains the times of the last
submissions and the limits that IBM has reported. Flows and other tools do not use the file: only
IBM's reported limits take them into account.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.client import (
    KNOWN_SECONDS,
    TOO_MANY_PENDING,
    IbmApi,
    instance_name,
    wait_for_room,
)
from prefect_qiskit_runtime.errors import QiskitRuntimeError, RateLimitedError

_MINUTE_SECONDS = 61.0  # counted from the answer to a submission, which arrived before it
_LONGEST_PAUSE_SECONDS = 2.0
_REFUSED_SECONDS = 15.0


class BrokerLine:
    """The queue of an instance.

    Args:
        api: The service.
        folder: The folder of the journals of the service's brokers.
    """

    def __init__(self, api: IbmApi, folder: Path) -> None:
        self._api = api
        self._path = folder / f"line-{instance_name(api)}.json"

    @asynccontextmanager
    async def turn(self, report: Callable[[str], object]) -> AsyncIterator[Sending]:
        """Wait until one more submission is within the limits; the `with` block sends it.

        Args:
            report: Receives the reason for a wait, as a sentence.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _lock(descriptor)
            line = _LineFile(descriptor)
            await wait_for_room(
                lambda: line.most_pending,
                self._pending,
                lambda is_first: is_first and report(_FULL),
            )
            await line.wait_for_pace(self._api.submissions_per_minute or 0, report)
            try:
                yield Sending(line, self._pending)
            finally:
                line.submitted()
        finally:
            os.close(descriptor)

    async def _pending(self) -> int:
        return len(await self._api.list_jobs(pending=True))


class Sending:
    """The submission whose turn it is."""

    def __init__(self, line: _LineFile, pending: Callable[[], Awaitable[int]]) -> None:
        self._line = line
        self._pending = pending

    async def note(self, refusal: QiskitRuntimeError) -> None:
        """Record the limits that the service has reported, for all waiting submissions."""
        if refusal.code == TOO_MANY_PENDING:
            self._line.is_full_with(max(1, await self._pending(), self._line.most_pending))
        elif isinstance(refusal, RateLimitedError):
            self._line.is_refused_for(refusal.retry_after_seconds or _REFUSED_SECONDS)


def is_for_the_line(refusal: QiskitRuntimeError) -> bool:
    """Return whether a submission was refused for a limit that applies to the whole queue."""
    return refusal.code == TOO_MANY_PENDING or isinstance(refusal, RateLimitedError)


class _LineFile:
    """The content of a queue's file, used by the broker whose turn it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._said: dict[str, Any] = {}
        # The first line may be followed by the rest of a longer, older one. After a loss of power
        # the content may be arbitrary; it is then ignored, because IBM reports its limits again.
        with suppress(ValueError):
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            self._said = json.loads(content.partition(b"\n")[0])

    @property
    def most_pending(self) -> int:
        """How many jobs may be pending; 0 if unknown."""
        known = self._said.get("most_pending")
        return known["jobs"] if known is not None and known["until"] > time.time() else 0

    async def wait_for_pace(self, per_minute: int, report: Callable[[str], object]) -> None:
        """Wait until one more submission is allowed within this minute, and count it."""
        while (wait_seconds := self._wait_seconds(per_minute)) > 0:
            report(f"The next submission to this instance is in {wait_seconds:.0f} s.")
            await asyncio.sleep(wait_seconds)
        self._submissions.append(time.time())
        self._write()

    def submitted(self) -> None:
        """Record that the submission counted last has arrived by now."""
        self._submissions[-1] = time.time()
        self._write()

    def is_full_with(self, jobs: int) -> None:
        """Record how many jobs may be pending."""
        self._said["most_pending"] = {"jobs": jobs, "until": time.time() + KNOWN_SECONDS}

    def is_refused_for(self, seconds: float) -> None:
        """Record that the instance accepts no submissions for some time."""
        self._said["refused_until"] = time.time() + seconds

    @property
    def _submissions(self) -> list[float]:
        return self._said.setdefault("submissions", [])

    def _wait_seconds(self, per_minute: int) -> float:
        now = time.time()
        # A clock that was set back must not delay submissions.
        self._said["submissions"] = [
            at for at in self._submissions if now - _MINUTE_SECONDS < at <= now
        ]
        refused_seconds = min(self._said.get("refused_until", now) - now, _MINUTE_SECONDS)
        if len(self._submissions) < per_minute:
            return refused_seconds
        return max(refused_seconds, self._submissions[-per_minute] + _MINUTE_SECONDS - now)

    def _write(self) -> None:
        os.pwrite(self._descriptor, json.dumps(self._said).encode() + b"\n", 0)


async def _lock(descriptor: int) -> None:
    pause_seconds = 0.05
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, 1.5 * pause_seconds)
        else:
            return


_FULL = "The account has as many pending jobs as it may: waiting until one has ended."
