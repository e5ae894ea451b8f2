"""Stop old clients that replay a finished job for ever.

With websocket-client 1.9 or newer IBM's legacy clients take a clean close for an error, connect
again, and never end where the service replays each time (qiskit-ibm-runtime up to 0.15, see the
reference of the protocol). Such a client gives up after five connections without a message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from prefect_qiskit_runtime.service.store.records import Owner

_REPLAYS = 3
_WINDOW_SECONDS = 10.0


class ReplayGuard:
    """Counts complete replays of finished jobs, by reader and job."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._replays: dict[tuple[Owner, str], deque[float]] = {}

    def refuses(self, reader: Owner, job_id: str) -> bool:
        """Say whether a reader has just had too many replays of a job to be a legitimate one.

        A refusal counts as well: the pauses of a client that is giving up add up to more than
        the window (0.5 s, doubled four times).
        """
        self._forget_old()
        refused = len(self._replays.get((reader, job_id), ())) >= _REPLAYS
        if refused:
            self.record(reader, job_id)
        return refused

    def record(self, reader: Owner, job_id: str) -> None:
        """Take note of one complete replay."""
        self._replays.setdefault((reader, job_id), deque()).append(self._clock())

    def _forget_old(self) -> None:
        horizon = self._clock() - _WINDOW_SECONDS
        for key, times in list(self._replays.items()):
            while times and times[0] < horizon:
                times.popleft()
            if not times:
                del self._replays[key]
