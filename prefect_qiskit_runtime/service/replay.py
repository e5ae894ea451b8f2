"""Stop old clients that replay a finished job forever.

With websocket-client 1.9 or newer, IBM's legacy clients (qiskit-ibm-runtime up to 0.15, see the
protocol reference) treat a clean close as an error and connect again. They never stop if the
service replays the job each time; they give up after five connections without a message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from prefect_qiskit_runtime.service.store.records import Owner

_REPLAYS = 3
_WINDOW_SECONDS = 10.0


class ReplayGuard:
    """Counts complete replays of finished jobs per reader and job."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._replays: dict[tuple[Owner, str], deque[float]] = {}

    def refuses(self, reader: Owner, job_id: str) -> bool:
        """Return whether a reader has just had too many replays of a job to be legitimate.

        Refusals count too, because the pauses of a client that is giving up (0.5 s, doubled four
        times) add up to more than the window.
        """
        self._forget_old()
        refused = len(self._replays.get((reader, job_id), ())) >= _REPLAYS
        if refused:
            self.record(reader, job_id)
        return refused

    def record(self, reader: Owner, job_id: str) -> None:
        """Count one complete replay."""
        self._replays.setdefault((reader, job_id), deque()).append(self._clock())

    def _forget_old(self) -> None:
        horizon = self._clock() - _WINDOW_SECONDS
        for key, times in list(self._replays.items()):
            while times and times[0] < horizon:
                times.popleft()
            if not times:
                del self._replays[key]
