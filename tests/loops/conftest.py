"""A team service, and flow runs of loops in processes that can be killed."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.proxy import Fault, Proxy
from tests.team import TOKENS, TeamService

DEADLINE_SECONDS = 150.0
FLOWS = Path(__file__).parent / "flows.py"


class WatchedProxy(Proxy):
    """A proxy that tells of each request before it passes it on."""

    on_request: Callable[[str], None] = staticmethod(lambda _: None)

    def _fault(self, request: str) -> Fault | None:
        self.on_request(request)
        return super()._fault(request)


@dataclass
class LoopRun:
    """One flow run of a loop, in one process after the other."""

    flow_run_id: UUID
    proxy: WatchedProxy
    service: TeamService
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, threads: int) -> subprocess.Popen[bytes]:
        with (self.folder / "flow.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(FLOWS), str(self.flow_run_id)],
                env=_environment(threads, self._result_path),
                stdout=log,
                stderr=log,
            )
        return self.process

    def kill_after(self, jobs: int, rng: random.Random, *, threads: int = 1) -> None:
        """Run it; kill it at any moment around the submission of its next so many jobs."""

        submitted = itertools.count(1)

        def soon(request: str) -> None:
            if request == "POST /jobs" and next(submitted) == jobs:
                threading.Timer(rng.uniform(0, 0.4), self._kill).start()

        self.proxy.on_request = soon
        assert self.start(threads=threads).wait(DEADLINE_SECONDS) == -signal.SIGKILL, self.log
        self.proxy.on_request = lambda _: None
        self._schedule_again()

    def finish(self, *, threads: int = 1) -> dict[str, Any]:
        assert self.start(threads=threads).wait(DEADLINE_SECONDS) == 0, self.log
        return json.loads(self._result_path.read_text())

    def finish_here(self) -> dict[str, Any]:
        """Run it in this process, which saves the start of another one."""
        from prefect.flow_engine import run_flow

        from tests.loops.flows import minimizing, read_flow_run

        flow_run = read_flow_run(self.flow_run_id)
        return run_flow(minimizing, flow_run=flow_run, parameters=flow_run.parameters)

    def _kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    def _schedule_again(self) -> None:
        from prefect.client.orchestration import get_client
        from prefect.states import AwaitingRetry

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.flow_run_id, AwaitingRetry(), force=True)

    @property
    def _result_path(self) -> Path:
        return self.folder / "result.json"

    @property
    def log(self) -> str:
        return (self.folder / "flow.log").read_text()[-8000:]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        from prefect_qiskit_runtime.flow_run.lineage import flow_tag

        with self.service.client() as client:
            query = {"tags": flow_tag(self.flow_run_id), "limit": 1000}
            return client.get("/jobs", params=query).json()["jobs"]


def _environment(threads: int, result_path: Path) -> dict[str, str]:
    from prefect.settings import get_current_settings

    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return {
        **os.environ,
        **settings,
        "PYTHONPATH": str(FLOWS.parents[2]),
        "LOOP_RESULT": str(result_path),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }


NewLoopRun = Callable[..., LoopRun]


@pytest.fixture
def new_loop_run(prefect_server: None, team: TeamService, tmp_path: Path) -> Iterator[NewLoopRun]:
    proxy = WatchedProxy(team.url)
    made: list[LoopRun] = []

    def make(**parameters: Any) -> LoopRun:
        from prefect.client.orchestration import get_client

        from tests.loops.flows import minimizing

        told = {"url": proxy.url, "token": TOKENS["alice"], **parameters}
        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run(minimizing, parameters=told)
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(LoopRun(flow_run.id, proxy, team, folder))
        return made[-1]

    yield make
    for run in made:
        if run.process is not None and run.process.poll() is None:
            run.process.kill()
            run.process.wait()
    proxy.close()
