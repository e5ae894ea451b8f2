"""Flow runs in processes that can be killed at any of their requests, behind a real proxy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.proxy import Fault, Proxy
from tests.team import TOKENS, TeamService

DEADLINE_SECONDS = 150.0
FLOWS = Path(__file__).parent / "flows.py"

PUBLISHING = """
import random, time

def main(backend, user_messenger, upto=1, pause=0.0):
    for number in range(upto):
        user_messenger.publish(number)
        time.sleep(pause)
    return random.random()
"""


@dataclass
class FlowRun:
    """One flow run, in one process after the other.

    Attributes:
        name: Of the flow in `flows.py`.
        flow_run_id: Prefect's id.
        settings: What its processes are told.
        notes_path: Where they note what they have seen, one after the other.
    """

    name: str
    flow_run_id: UUID
    settings: dict[str, Any]
    proxy: Proxy
    service: TeamService
    notes_path: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: Any) -> subprocess.Popen[bytes]:
        told = {**self.settings, "notes": str(self.notes_path), **settings}
        log = (self.notes_path.parent / "flow.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, str(FLOWS), self.name, str(self.flow_run_id)],
                env={**_environment(), "CRASH_SETTINGS": json.dumps(told)},
                stdout=log,
                stderr=log,
            )
        return self.process

    def kill_at(self, fault: Fault) -> None:
        """Run the flow; its process is killed when the fault happens."""
        fault.call = lambda: self.process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]
        self.proxy.faults = [fault]
        assert self.start().wait(DEADLINE_SECONDS) == -signal.SIGKILL, self.log
        self.proxy.faults = []

    def die_at_record(self, moment: str) -> None:
        process = self.start(die_at_record=moment)
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL, self.log

    def schedule_again(self) -> None:
        """Put a flow run that has crashed back in the queue, as its retry in the UI does."""
        from prefect.client.orchestration import get_client
        from prefect.states import AwaitingRetry

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.flow_run_id, AwaitingRetry(), force=True)

    def run_again(self) -> Any:
        """Do what Prefect does with a crashed flow run; return its result."""
        self.schedule_again()
        return self._end()

    def resume(self) -> Any:
        """Do what Prefect does with a flow run that is resumed; return its result."""
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            client.resume_flow_run(self.flow_run_id)
        return self._end()

    def _end(self) -> Any:
        assert self.start().wait(DEADLINE_SECONDS) == 0, self.log
        (result,) = [json.loads(note.removeprefix("result ")) for note in self.notes("result ")]
        return result

    def notes(self, prefix: str) -> list[str]:
        lines = self.notes_path.read_text().splitlines() if self.notes_path.exists() else []
        return [line for line in lines if line.startswith(prefix)]

    @property
    def interim(self) -> list[int]:
        return [int(note.removeprefix("interim ")) for note in self.notes("interim ")]

    @property
    def log(self) -> str:
        return (self.notes_path.parent / "flow.log").read_text()[-8000:]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        from prefect_qiskit_runtime.flow_run.lineage import flow_tag

        with self.service.client() as client:
            query = {"tags": flow_tag(self.flow_run_id), "limit": 1000}
            return client.get("/jobs", params=query).json()["jobs"]

    def job_result(self) -> Any:
        (job,) = self.jobs
        with self.service.client() as client:
            return client.get(f"/jobs/{job['id']}/results").json()


def _environment() -> dict[str, str]:
    from prefect.settings import get_current_settings

    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    root = str(FLOWS.parent.parent.parent)
    return {
        **os.environ,
        **settings,
        "PYTHONPATH": root,
        "PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS": "3",
    }


@pytest.fixture(scope="session")
def publishing(team: TeamService) -> str:
    """Id of a program that publishes numbers and returns another number each time."""
    import base64

    body = {"name": "publishing", "data": base64.b64encode(PUBLISHING.encode()).decode()}
    with team.client() as client:
        answer: httpx.Response = client.post("/programs", json=body)
    return answer.json()["id"]


NewFlowRun = Callable[..., FlowRun]


@pytest.fixture
def new_flow_run(
    prefect_server: None,
    team: TeamService,
    publishing: str,
    proxy: Proxy,
    tmp_path: Path,
) -> Iterator[NewFlowRun]:
    """Make a flow run of a flow, and kill at the end what is left of it."""
    made: list[FlowRun] = []

    def make(
        name: str,
        *,
        parameters: dict[str, Any] | None = None,
        is_deployed: bool = False,
        **settings: Any,
    ) -> FlowRun:
        from prefect.client.orchestration import get_client

        from tests.crashes.flows import FLOWS as flows

        with get_client(sync_client=True) as client:
            if is_deployed:
                deployment = client.create_deployment(client.create_flow(flows[name]), name)
                flow_run = client.create_flow_run_from_deployment(deployment)
            else:
                flow_run = client.create_flow_run(flows[name], parameters=parameters or {})
        told = {
            "url": proxy.url,
            "token": TOKENS["alice"],
            "program": publishing,
            "inputs": {"upto": 6, "pause": 0.05},
            **settings,
        }
        made.append(FlowRun(name, flow_run.id, told, proxy, team, tmp_path / "notes.txt"))
        return made[-1]

    yield make
    for flow_run in made:
        if flow_run.process is not None and flow_run.process.poll() is None:
            flow_run.process.kill()
            flow_run.process.wait()
