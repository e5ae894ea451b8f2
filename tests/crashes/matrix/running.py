"""One cell of the crash matrix: kill a flow at its point, let it come back, count what was paid."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.crashes.matrix.account import Account
from tests.crashes.matrix.cells import Cell, Point, Work
from tests.crashes.matrix.hosts import FOLDER, ROOT, Host, host_of
from tests.flow_processes import flow_environment
from tests.proxy import Proxy

DEADLINE_SECONDS = 150.0
# On a busy machine the SQLite of Prefect's server is locked for a minute at a time.
DEPLOYED_DEADLINE_SECONDS = 420.0
LATE_SECONDS = 1.5
REFUSING_SECONDS = 0.7
PATIENCE = {
    "PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS": "3",
    "PREFECT_QISKIT_RUNTIME_REQUEST_TIMEOUT_SECONDS": "2",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",  # nobody reads it, and two hundred flows log
}


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        paid: How many jobs have run.
        result_returned: Whether the flow returned the result of one of them.
        interim_as_promised: Whether the callback got its interim results in order, with no gap.
        left_open: How many sessions and jobs are open after it.
        error: Why the flow run failed; empty where it did not.
        seconds: How long it took.
    """

    paid: int
    result_returned: bool
    interim_as_promised: bool
    left_open: int
    error: str
    seconds: float

    @property
    def is_good(self) -> bool:
        return (
            self.paid == 1
            and self.result_returned
            and self.interim_as_promised
            and not self.left_open
        )


class PointNotReached(AssertionError):
    """The first process ended before it was where it is to be killed."""


class Stage:
    """The services and hosts on which cells run, one after the other; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._environment = _environment()  # of this thread
        self._services: dict[str | None, OfflineService] = {}
        self._hosts: dict[tuple[str, str], Host] = {}
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def run(self, cell: Cell) -> Outcome:
        """Run a cell.

        Raises:
            PointNotReached: The flow ended before it was killed.
        """
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir(parents=True)
        service = self._service(cell.work)
        service.clear()
        with ExitStack() as stack:
            url = service.url
            proxy = None
            if cell.fault.is_refused:
                proxy = Proxy(url)
                stack.callback(proxy.close)
                url = proxy.url
            return _Experiment(cell, service, self._host(cell), folder, url, proxy).run()

    def _service(self, work: Work) -> OfflineService:
        if work.imitate not in self._services:
            service = self._stack.enter_context(offline_service(imitate=work.imitate))
            self._services[work.imitate] = service
        return self._services[work.imitate]

    def _host(self, cell: Cell) -> Host:
        key = cell.work.client, cell.way.by
        if key not in self._hosts:
            folder = self._folder / cell.way.by
            self._hosts[key] = host_of(cell, self._environment, folder)
            self._stack.callback(self._hosts[key].close)
        return self._hosts[key]


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(FOLDER)])
    return flow_environment(**PATIENCE, PYTHONPATH=path, NO_PROXY="*")


class _Experiment:
    """One cell while it runs."""

    def __init__(
        self,
        cell: Cell,
        service: OfflineService,
        host: Host,
        folder: Path,
        url: str,
        proxy: Proxy | None,
    ) -> None:
        self._cell = cell
        self._service = service
        self._host = host
        self._folder = folder
        self._url = url
        self._proxy = proxy
        self._account = Account(service, url, is_ibm=cell.work.imitate == "ibm")
        self._notes_path = folder / "notes.txt"

    def run(self) -> Outcome:
        began = time.monotonic()
        with self._account:
            earlier = set(self._account.jobs())
            self._kill()
            self._add_faults()
            status = self._return()
            jobs = self._account.settled_jobs(earlier)
            results = [self._account.result(job_id) for job_id in jobs]
            returned = [json.loads(note.removeprefix("result ")) for note in self._notes("result ")]
            return Outcome(
                paid=len(jobs),
                result_returned=status == 0 and len(returned) == 1 and returned[0] in results,
                interim_as_promised=self._is_interim_as_promised(),
                left_open=self._account.close_what_is_open(),
                error=self._error(status),
                seconds=round(time.monotonic() - began, 2),
            )

    def _kill(self) -> None:
        """Run the first process until it is at its point."""
        point = self._cell.point
        if point.fault is not None:
            request, scenario = point.fault
            self._service.add(**scenario, when=request.fields)
        held = None
        if point.request is not None:
            moment = f"{point.moment}_effect"
            held = self._service.add("silence", when=point.request.fields, moment=moment)
        self._start(None)
        status = self._wait(until=lambda: self._is_there(point, held))
        if status is None:
            self._host.kill(is_whole=self._cell.way.is_elsewhere)
            status = self._wait()
        if status != -signal.SIGKILL:
            raise PointNotReached(f"{self._cell}: ended with {status}\n{self.log}")
        self._service.clear()
        if self._cell.way.by == "process":
            self._account.leave_line()  # in the others it is waited for

    def _is_there(self, point: Point, held: str | None) -> bool:
        if point.note is not None:
            return bool(self._notes(point.note))
        if held is None:
            return False  # it kills itself, at a record
        return any(one["id"] == held and one["used"] for one in self._service.scenarios())

    def _add_faults(self) -> None:
        """Make each kind of request of the process that returns fail once."""
        fault = self._cell.fault
        if fault.scenario:
            for request in self._cell.work.requests:
                self._service.add(**fault.scenario, when=request.fields)
        if fault.is_late:
            self._service.add("late_tags", seconds=LATE_SECONDS)
        if self._proxy is not None:
            self._proxy.refuse_between_kinds(REFUSING_SECONDS)

    def _return(self) -> int | None:
        """Let the flow run come back; return what it ends with, None if it does not end in time."""
        (flow_run_id,) = [note.removeprefix("flow_run ") for note in self._notes("flow_run ")]
        self._start(flow_run_id)
        status = self._wait()
        if status is None:
            self._host.kill()
            self._wait()
        return status

    def _start(self, flow_run_id: str | None) -> None:
        cell, is_back = self._cell, flow_run_id is not None
        storage = "elsewhere" if is_back and cell.way.is_elsewhere else "here"
        order = {
            "flow": cell.way.flow,
            "flow_run_id": flow_run_id,
            "is_elsewhere": is_back and cell.way.is_elsewhere,
            "url": self._url,
            "token": self._service.token,
            "crn": self._account.crn,
            "does": "program" if cell.work.imitate is None else "sampler",
            "program": self._account.program_id,
            "notes": str(self._notes_path),
            "log": str(self._folder / "flow.log"),
            "storage": str(self._folder / storage),
        }
        if cell.point.record is not None and not is_back:
            order["die_at_record"] = {"beginning": cell.point.record, "moment": cell.point.moment}
        self._host.start(order)

    def _wait(self, until: Callable[[], bool] = lambda: False) -> int | None:
        """Return what the process ends with; None if something happens before that, or nothing."""
        deadline = time.monotonic() + self._deadline_seconds
        while time.monotonic() < deadline:
            status = self._host.status()
            if status is not None or until():
                return status
            time.sleep(0.1)
        return None

    def _is_interim_as_promised(self) -> bool:
        """Say whether each process got a run without gaps, together all, the last to the end."""
        expected = list(range(self._cell.work.interim))
        got: list[list[int]] = []
        for note in self._notes(""):
            if note.startswith("process "):
                got.append([])
            elif note.startswith("interim "):
                got[-1].append(int(note.removeprefix("interim ")))
        are_runs = all(one == list(range(one[0], one[-1] + 1)) for one in got if one)
        return are_runs and sorted({number for one in got for number in one}) == expected

    def _notes(self, prefix: str) -> list[str]:
        with suppress(FileNotFoundError):
            lines = self._notes_path.read_text().splitlines()
            return [line for line in lines if line.startswith(prefix)]
        return []

    @property
    def log(self) -> str:
        log = self._folder / "flow.log"
        return log.read_text()[-6000:] if log.exists() else ""

    @property
    def _deadline_seconds(self) -> float:
        is_bare = self._cell.way.by == "process"
        return DEADLINE_SECONDS if is_bare else DEPLOYED_DEADLINE_SECONDS

    def _error(self, status: int | None) -> str:
        last_line = ([""] + [line for line in self.log.splitlines() if line.strip()])[-1][:300]
        if status is None:
            return f"No end within {self._deadline_seconds:g} s; the last of its log: {last_line}"
        return "" if status == 0 else last_line
