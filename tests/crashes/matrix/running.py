"""One cell of the crash matrix: kill a flow at its point, let it return, count its jobs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.crashes.matrix.account import Account
from tests.crashes.matrix.cells import Cell
from tests.crashes.matrix.hosts import FOLDER, ROOT, BareProcesses, DeployedProcesses, Forker
from tests.flow_processes import flow_environment
from tests.proxy import Proxy

T = TypeVar("T")

DEADLINE_SECONDS = 240.0  # prefect-qiskit waits a minute for a login without an answer, twice
# On a busy machine the SQLite of Prefect's server is locked for a minute at a time.
DEPLOYED_DEADLINE_SECONDS = 420.0
LATE_SECONDS = 1.5
REFUSING_SECONDS = 0.7
PATIENCE = {
    "PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS": "4",
    "PREFECT_QISKIT_RUNTIME_REQUEST_TIMEOUT_SECONDS": "3",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",  # the logs of two hundred flows are not read
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(FOLDER)]),
    "NO_PROXY": "*",
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell.

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
        as_promised = self.result_returned and self.interim_as_promised
        return self.paid == 1 and as_promised and not self.left_open


class PointNotReached(AssertionError):
    """The first process ended before the point at which it should be killed."""


class Stage:
    """The services and hosts of cells, each kept for the next cell; a context manager.

    Threads may run cells at the same time: a service, a runner and a worker has one cell at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._environment = {**flow_environment(), **PATIENCE}
        self._folder = folder
        self._numbers = itertools.count()
        self._stack = ExitStack()
        self._idle: dict[str | None, list[Any]] = defaultdict(list)
        self._forkers = {
            client: self._stack.enter_context(closing(Forker(client, self._environment)))
            for client in ("ours", "foreign")
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def run(self, cell: Cell) -> Outcome:
        """Run a cell.

        Raises:
            PointNotReached: The flow ended before it was killed.
        """
        imitate, folder = cell.work.imitate, self._new_folder()
        with (
            self._lent(imitate, lambda: offline_service(imitate=imitate)) as service,
            self._host(cell) as host,
            ExitStack() as stack,
        ):
            service.clear()
            url, proxy = service.url, None
            if cell.fault.is_refused:
                proxy = stack.enter_context(closing(Proxy(url)))
                url = proxy.url
            account = stack.enter_context(closing(Account(service, url, is_ibm=imitate == "ibm")))
            return _Experiment(cell, service, host, folder, account, url, proxy).run()

    def _host(self, cell: Cell) -> AbstractContextManager[BareProcesses | DeployedProcesses]:
        by = cell.way.by
        if by == "process":
            return nullcontext(BareProcesses(self._forkers[cell.work.client]))
        new = partial(DeployedProcesses, self._environment, is_worker=by == "worker")
        return self._lent(by, lambda: closing(new(self._new_folder())))

    @contextmanager
    def _lent(self, kind: str | None, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Yield an idle one of a kind, or else a new one; after an error it is not used again."""
        try:
            lent = self._idle[kind].pop()
        except IndexError:
            lent = self._stack.enter_context(make())
        yield lent
        self._idle[kind].append(lent)

    def _new_folder(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        return folder


@dataclass
class _Experiment:
    """One cell while it runs."""

    cell: Cell
    service: OfflineService
    host: BareProcesses | DeployedProcesses
    folder: Path
    account: Account
    url: str
    proxy: Proxy | None

    def run(self) -> Outcome:
        began = time.monotonic()
        earlier = set(self.account.jobs())
        self._kill()
        self._add_faults()
        (flow_run_id,) = self._notes("flow_run ")
        self._start(flow_run_id)
        status = self._wait()
        if status is None:
            self.host.kill()
            self._wait()
        jobs = self.account.settled_jobs(earlier)
        results = [self.account.result(job_id) for job_id in jobs]
        returned = [json.loads(note) for note in self._notes("result ")]
        return Outcome(
            paid=len(jobs),
            result_returned=status == 0 and len(returned) == 1 and returned[0] in results,
            interim_as_promised=self._is_interim_as_promised(),
            left_open=self.account.close_what_is_open(),
            error=self._error(status),
            seconds=round(time.monotonic() - began, 2),
        )

    def _kill(self) -> None:
        """Run the first process until it is at its point."""
        point, held = self.cell.point, None
        if point.fault is not None:
            request, scenario = point.fault
            self.service.add(**scenario, when=request._asdict())
        if point.request is not None:
            moment = f"{point.moment}_effect"
            held = self.service.add("silence", when=point.request._asdict(), moment=moment)

        def is_there() -> bool:
            if point.note is not None:
                return bool(self._notes(point.note))
            # At a record it kills itself.
            scenarios = [] if held is None else self.service.scenarios()
            return any(one["id"] == held and one["used"] for one in scenarios)

        self._start(None)
        status = self._wait(until=is_there)
        if status is None:
            self.host.kill(is_whole=self.cell.way.is_elsewhere)
            status = self._wait()
        if status != -signal.SIGKILL:
            raise PointNotReached(f"{self.cell}: ended with {status}\n{self._log}")
        self.service.clear()
        if self.cell.way.by == "process":
            self.account.leave_line()  # the other ways wait for it

    def _add_faults(self) -> None:
        """Make each kind of request of the process that returns fail once."""
        fault = self.cell.fault
        if fault.scenario:
            for request in self.cell.work.requests:
                self.service.add(**fault.scenario, when=request._asdict())
        if fault.is_late:
            self.service.add("late_tags", seconds=LATE_SECONDS)
        if self.proxy is not None:
            self.proxy.refuse_between_kinds(REFUSING_SECONDS)

    def _start(self, flow_run_id: str | None) -> None:
        """Start the process of a new flow run, or of one that returns."""
        cell, is_back = self.cell, flow_run_id is not None
        is_elsewhere = is_back and cell.way.is_elsewhere
        order: dict[str, Any] = {
            "flow": cell.way.flow,
            "flow_run_id": flow_run_id,
            "is_elsewhere": is_elsewhere,
            "url": self.url,
            "token": self.service.token,
            "crn": self.account.crn,
            "program": self.account.program_id,
            "notes": str(self.folder / "notes.txt"),
            "log": str(self.folder / "flow.log"),
            "storage": str(self.folder / ("elsewhere" if is_elsewhere else "here")),
        }
        if cell.point.record is not None and not is_back:
            order["die_at_record"] = {"beginning": cell.point.record, "moment": cell.point.moment}
        self.host.start(order)

    def _wait(self, until: Callable[[], bool] = lambda: False) -> int | None:
        """Return the exit status; None if `until` holds before that, or no end comes in time."""
        deadline = time.monotonic() + self._deadline_seconds
        while time.monotonic() < deadline:
            status = self.host.status()
            if status is not None or until():
                return status
            time.sleep(0.1)
        return None

    def _is_interim_as_promised(self) -> bool:
        """Say whether each process got a run without gaps, together all, the last to the end."""
        got: list[list[int]] = []
        for note in self._notes(""):
            if note.startswith("process "):
                got.append([])
            elif note.startswith("interim "):
                got[-1].append(int(note.removeprefix("interim ")))
        are_runs = all(one == list(range(one[0], one[-1] + 1)) for one in got if one)
        return are_runs and set().union(*got) == set(range(self.cell.work.interim))

    def _notes(self, prefix: str) -> list[str]:
        """Return the rest of each note that begins so."""
        path = self.folder / "notes.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]

    @property
    def _log(self) -> str:
        log = self.folder / "flow.log"
        return log.read_text()[-6000:] if log.exists() else ""

    @property
    def _deadline_seconds(self) -> float:
        is_bare = self.cell.way.by == "process"
        return DEADLINE_SECONDS if is_bare else DEPLOYED_DEADLINE_SECONDS

    def _error(self, status: int | None) -> str:
        last_line = ["", *(line for line in self._log.splitlines() if line.strip())][-1][:300]
        if status is None:
            return f"No end within {self._deadline_seconds:g} s; the last of its log: {last_line}"
        return "" if status == 0 else last_line
