"""A second user who asks small questions all the time, in a separate process; his slowest answer.

An answer is slow because of the service, or because other processes of the machine use its
processors. The kernel counts how long each thread was ready to run and had to wait. This time is
subtracted, but only if processes that belong neither to the service nor to the test were busy
meanwhile: the waits that the service's own jobs and checks cause are never excused, nor is the time
for which one of its threads computes.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.team import TeamService

_PAUSE_SECONDS = 0.02
_BUSY_SHARE = 0.25
_NEW_CONNECTION_EVERY = 10


@dataclass
class Timing:
    """How long something took.

    Attributes:
        seconds: By the clock.
        waited_seconds: How long threads of the service, and the caller, waited for a processor.
            Several may wait at once, so it may be too much.
        computed_seconds: Computing time of the thread of the service that used the most.
        machine_is_busy: Whether other processes used the machine meanwhile.
    """

    seconds: float = 0.0
    waited_seconds: float = 0.0
    computed_seconds: float = 0.0
    machine_is_busy: bool = False

    @property
    def of_service(self) -> float:
        """The time that the service is responsible for."""
        if not self.machine_is_busy:
            return self.seconds
        return max(self.seconds - self.waited_seconds, self.computed_seconds)


@contextmanager
def timed(service: int) -> Iterator[Timing]:
    """Measure the block, which waits for a service; the values are set at its end."""
    timing, outside = Timing(), _Outside({service, os.getpid()})
    begin, before = time.perf_counter(), _threads(service)
    yield timing
    timing.seconds = time.perf_counter() - begin
    timing.computed_seconds, timing.waited_seconds = _since(before, service)
    timing.machine_is_busy = outside.was_busy()


class Bob:
    """A second user, who asks for his jobs again and again while the context is open."""

    def __init__(self, team: TeamService) -> None:
        self._team = team
        self._outside: _Outside | None = None
        self._process: subprocess.Popen[str] | None = None
        self.timings: list[Timing] = []
        self.faults: list[str] = []
        self.machine_is_busy = False

    def __enter__(self) -> Bob:
        from tests.team import TOKENS

        pid = self._team.process.pid
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, self._team.url, TOKENS["bob"], str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "asking\n"
        self._outside = _Outside({pid, self._process.pid, os.getpid()})
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._outside is not None
        output, _errors = self._process.communicate(timeout=60)  # closes its input, which ends it
        report = json.loads(output)
        self.machine_is_busy = busy = self._outside.was_busy()
        self.timings = [Timing(*numbers, machine_is_busy=busy) for numbers in report["answers"]]
        self.faults = report["faults"]

    def assert_undisturbed(self, slowest_seconds: float) -> None:
        assert not self.faults
        assert self.timings
        slowest = max(self.timings, key=lambda timing: timing.of_service)
        assert slowest.of_service < slowest_seconds, slowest


@dataclass
class _Outside:
    """Processor time of the processes that belong neither to a service nor to its test.

    Attributes:
        inside: The processes that are left out, with all their descendants.
    """

    inside: set[int]
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._begin = _processor_seconds()

    def was_busy(self) -> bool:
        """Return whether they used a good part of the machine since this object was made."""
        end, parents = _processor_seconds(), _parents()
        used = sum(
            max(0.0, seconds - self._begin.get(pid, 0.0))
            for pid, seconds in end.items()
            if not self._is_inside(pid, parents)
        )
        capacity = (time.monotonic() - self.since) * (os.cpu_count() or 1)
        return used >= _BUSY_SHARE * capacity

    def _is_inside(self, pid: int, parents: dict[int, int]) -> bool:
        while pid > 1:
            if pid in self.inside:
                return True
            pid = parents.get(pid, 0)
        return False


def _stats() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has just ended
                # "pid (name) state parent ...", and the name may contain any character.
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()


def _parents() -> dict[int, int]:
    return {pid: int(fields[1]) for pid, fields in _stats()}


def _processor_seconds() -> dict[int, float]:
    """Return the processor time of each process and of its children that have ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    return {pid: sum(map(int, fields[11:15])) / ticks for pid, fields in _stats()}


_Threads = dict[str, tuple[float, float]]


def _threads(service: int) -> _Threads:
    """Return what the kernel counts of the threads of a service, and of this one.

    These are the seconds of computing, and of waiting for a processor. A thread that waits for the
    interpreter's lock does neither, but the thread that holds the lock does.
    """
    counted: _Threads = {}
    for task in (*Path(f"/proc/{service}/task").iterdir(), Path("/proc/thread-self")):
        with suppress(OSError):  # it has just ended, or the kernel does not count
            computed, waited, _ = map(int, (task / "schedstat").read_text().split())
            counted[str(task)] = (computed / 1e9, waited / 1e9)
    return counted


def _since(before: _Threads, service: int) -> tuple[float, float]:
    """Return the most computing of one thread of the service, and the waits of all threads."""
    most, waits = 0.0, 0.0
    for task, (computed, waited) in _threads(service).items():
        computed_before, waited_before = before.get(task, (0.0, 0.0))
        waits += waited - waited_before
        if not task.endswith("thread-self"):
            most = max(most, computed - computed_before)
    return most, waits


def _ask_until_input_ends(url: str, token: str, service: int) -> dict[str, Any]:
    import select

    address, headers = urlsplit(url), {"Authorization": f"Bearer {token}"}
    answers: list[tuple[float, float, float]] = []
    faults: list[str] = []
    connection: http.client.HTTPConnection | None = None
    while not select.select([sys.stdin], [], [], _PAUSE_SECONDS)[0]:
        if connection is None or len(answers) % _NEW_CONNECTION_EVERY == 0:
            if connection is not None:
                connection.close()
            connection = http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=60
            )
        before, begin = _threads(service), time.perf_counter()
        try:
            connection.request("GET", "/jobs?limit=1", headers=headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as exc:
            faults.append(repr(exc))
            connection = None
            continue
        seconds = time.perf_counter() - begin
        computed, waited = _since(before, service)
        answers.append((seconds, waited, computed))
        if answer.status != 200:
            faults.append(str(answer.status))
        if len(answers) == 1:  # warm
            answers[0] = (0.0, 0.0, 0.0)
            print("asking", flush=True)
    return {"answers": answers[1:], "faults": faults}


if __name__ == "__main__":
    print(json.dumps(_ask_until_input_ends(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
