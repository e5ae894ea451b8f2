"""A team service, and flow runs of loops in processes that can be killed."""

from __future__ import annotations

import itertools
import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.flow_processes import KillableFlowRun
from tests.proxy import Fault, Proxy
from tests.team import TOKENS, TeamService

FLOWS = Path(__file__).parent / "flows.py"


class WatchedProxy(Proxy):
    """A proxy that reports each request before it passes it on."""

    on_request: Callable[[str], None] = staticmethod(lambda _: None)

    def _fault(self, request: str) -> Fault | None:
        self.on_request(request)
        return super()._fault(request)


@dataclass
class LoopRun(KillableFlowRun):
    """One flow run of a loop."""

    proxy: WatchedProxy

    def start(self, *, threads: int) -> None:
        self.start_script(
            *(FLOWS, str(self.flow_run_id)),
            LOOP_RESULT=str(self._result_path),
            OMP_NUM_THREADS=str(threads),
            OPENBLAS_NUM_THREADS=str(threads),
        )

    def kill_after(self, jobs: int, rng: random.Random, *, threads: int = 1) -> None:
        """Run it, and kill it at a moment around the submission of its next job number `jobs`."""

        submitted = itertools.count(1)

        def soon(request: str) -> None:
            if request == "POST /jobs" and next(submitted) == jobs:
                threading.Timer(rng.uniform(0, 0.4), self.kill).start()

        self.proxy.on_request = soon
        self.start(threads=threads)
        assert self.wait() == -signal.SIGKILL, self.log
        self.proxy.on_request = lambda _: None
        self.schedule_again()

    def finish(self, *, threads: int = 1) -> dict[str, Any]:
        self.start(threads=threads)
        assert self.wait() == 0, self.log
        return json.loads(self._result_path.read_text())

    def finish_here(self) -> dict[str, Any]:
        """Run it in this process, without starting another one."""
        from prefect.flow_engine import run_flow

        from tests.loops.flows import minimizing, read_flow_run

        flow_run = read_flow_run(self.flow_run_id)
        return run_flow(minimizing, flow_run=flow_run, parameters=flow_run.parameters)

    @property
    def _result_path(self) -> Path:
        return self.folder / "result.json"


NewLoopRun = Callable[..., LoopRun]


@pytest.fixture
def new_loop_run(prefect_server: None, team: TeamService, tmp_path: Path) -> Iterator[NewLoopRun]:
    proxy = WatchedProxy(team.url)
    made: list[LoopRun] = []

    def make(**parameters: Any) -> LoopRun:
        from prefect.client.orchestration import get_client

        from tests.loops.flows import minimizing

        values = {"url": proxy.url, "token": TOKENS["alice"], **parameters}
        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run(minimizing, parameters=values)
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(LoopRun(flow_run.id, proxy, team, folder))
        return made[-1]

    yield make
    for run in made:
        run.close()
    proxy.close()
