"""Flow runs in processes that can be killed at any of their requests, behind a real proxy."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow_processes import KillableFlowRun
from tests.proxy import Fault, Proxy
from tests.team import TOKENS, TeamService

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
class FlowRun(KillableFlowRun):
    """One run of a flow in `flows.py`.

    Attributes:
        name: Of the flow.
        settings: The settings that each of its processes gets.
    """

    name: str
    settings: dict[str, Any]

    def start(self, **settings: Any) -> None:
        given = {**self.settings, "notes": str(self._notes_path), **settings}
        self.start_script(
            *(FLOWS, self.name, str(self.flow_run_id)),
            CRASH_SETTINGS=json.dumps(given),
            PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS="3",
        )

    def kill_at(self, fault: Fault) -> None:
        """Run the flow; its process is killed when the fault happens."""
        fault.call = self.kill
        self.proxy.faults = [fault]
        self.start()
        assert self.wait() == -signal.SIGKILL, self.log
        self.proxy.faults = []

    def die_at_record(self, moment: str) -> None:
        self.start(die_at_record=moment)
        assert self.wait() == -signal.SIGKILL, self.log

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
        self.start()
        assert self.wait() == 0, self.log
        (result,) = [json.loads(note.removeprefix("result ")) for note in self.notes("result ")]
        return result

    @property
    def _notes_path(self) -> Path:
        """Where its processes note events, one after the other."""
        return self.folder / "notes.txt"

    def notes(self, prefix: str) -> list[str]:
        lines = self._notes_path.read_text().splitlines() if self._notes_path.exists() else []
        return [line for line in lines if line.startswith(prefix)]

    @property
    def interim(self) -> list[int]:
        return [int(note.removeprefix("interim ")) for note in self.notes("interim ")]

    def job_result(self) -> Any:
        (job,) = self.jobs
        with self.service.client() as client:
            return client.get(f"/jobs/{job['id']}/results").json()


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
        given = {
            "url": proxy.url,
            "token": TOKENS["alice"],
            "program": publishing,
            "inputs": {"upto": 6, "pause": 0.05},
            **settings,
        }
        made.append(FlowRun(flow_run.id, proxy, team, tmp_path, name, given))
        return made[-1]

    yield make
    for flow_run in made:
        flow_run.close()
