"""A real Prefect server, served deployments with a process for each flow run, and a service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest

from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.flow_processes import flow_environment
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
DEADLINE_SECONDS = 150.0
PROGRAM = """
import time

def main(backend, user_messenger, wait=0, result=None):
    user_messenger.publish("running")
    time.sleep(wait)
    return result
"""


@dataclass
class ServedRun:
    """A flow run of a served deployment."""

    flow_run_id: UUID
    notes_path: Path

    def notes(self, kind: str) -> list[str]:
        """Return what its processes have noted of a kind, in order."""
        prefix = f"{self.flow_run_id} {kind} "
        lines = self.notes_path.read_text().splitlines() if self.notes_path.exists() else []
        return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]

    def wait_for_notes(self, kind: str, count: int = 1) -> list[str]:
        return wait_until(
            lambda: found if len(found := self.notes(kind)) >= count else None,
            f"{count} notes {kind!r}",
        )

    @property
    def state(self) -> Any:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.flow_run_id).state

    def wait_for_state(self, *names: str) -> None:
        wait_until(lambda: self.state.name in names, f"state {names}")

    def cancel(self) -> datetime:
        """Do what the button in the UI does; return when Prefect's server has noted it."""
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelling

        with get_client(sync_client=True) as client:
            answer = client.set_flow_run_state(self.flow_run_id, Cancelling())
        assert answer.state is not None
        return answer.state.timestamp

    def send_signal(self, number: signal.Signals) -> datetime:
        """Send a signal to its process; return when."""
        sent_at = datetime.now(UTC)
        os.kill(int(self.notes("pid")[-1]), number)
        return sent_at

    @property
    def is_process_alive(self) -> bool:
        return any(Path(f"/proc/{pid}").exists() for pid in self.notes("pid"))


@pytest.fixture(scope="package")
def service() -> Iterator[OfflineService]:
    with offline_service() as service:
        yield service


@pytest.fixture(scope="package")
def block(prefect_server: None, service: OfflineService) -> UUID:
    """Id of the saved block for the service."""
    from prefect.utilities.asyncutils import run_coro_as_sync

    from prefect_qiskit_runtime import RuntimeServiceCredentials
    from tests.deployments.served import BLOCK

    async def save() -> UUID:
        await service.credentials().asave(BLOCK)
        backend = service.backend()
        backend.credentials = await RuntimeServiceCredentials.aload(BLOCK)
        return await backend.asave(BLOCK)

    return run_coro_as_sync(save())


@pytest.fixture(scope="package")
def program(service: OfflineService) -> str:
    from prefect_qiskit_runtime import SyncRuntimeClient

    with SyncRuntimeClient(service.url, service.token) as client:
        return client.upload_program(PROGRAM, name="waiting")


@dataclass
class Runner:
    """A process that runs the flows of `served.py`, which are deployments of one name."""

    name: str
    process: subprocess.Popen[bytes]
    notes_path: Path

    def start(self, flow: str, **parameters: Any) -> ServedRun:
        """Start a run of a flow."""
        from prefect.client.orchestration import get_client

        deployment_id = wait_until(lambda: self._deployment_id(flow), f"deployment of {flow}")
        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run_from_deployment(deployment_id, parameters=parameters)
        return ServedRun(flow_run.id, self.notes_path)

    def _deployment_id(self, flow: str) -> UUID | None:
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound

        with get_client(sync_client=True) as client:
            try:
                return client.read_deployment_by_name(f"{flow.replace('_', '-')}/{self.name}").id
            except ObjectNotFound:
                return None

    def terminate(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


Way = Literal["serve", "work"]
"""How `served.py` starts its flows: served by itself, or run by a worker."""


@contextmanager
def running(way: Way, name: str, folder: Path) -> Iterator[Runner]:
    notes_path = folder / "notes.txt"
    with (folder / "runner.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "served.py"), way, name],
            env=flow_environment(
                PYTHONPATH=str(ROOT),
                PREFECT_RUNNER_POLL_FREQUENCY="1",
                PREFECT_WORKER_QUERY_SECONDS="1",
                SERVED_NOTES=str(notes_path),
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    runner = Runner(name, process, notes_path)
    try:
        yield runner
    finally:
        runner.terminate()


@pytest.fixture(scope="package")
def shared_runner(block: UUID, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with running("serve", "served", tmp_path_factory.mktemp("served")) as runner:
        yield runner


@pytest.fixture(scope="package")
def shared_worker(block: UUID, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with running("work", "worked", tmp_path_factory.mktemp("worked")) as runner:
        yield runner


StartRun = Callable[..., ServedRun]


@pytest.fixture
def start(shared_runner: Runner, program: str, service: OfflineService) -> Iterator[StartRun]:
    """Start a run of a flow of `served.py`, as its deployment."""
    service.clear()
    yield partial(shared_runner.start, program=program)
    service.clear()


@pytest.fixture
def start_by(
    request: pytest.FixtureRequest, program: str, service: OfflineService
) -> Iterator[StartRun]:
    """Start a run of a flow as `start` does, by the runner that serves it or by a worker."""
    shared = {"serve": "shared_runner", "work": "shared_worker"}

    def start(way: Way, flow: str) -> ServedRun:
        runner: Runner = request.getfixturevalue(shared[way])
        return runner.start(flow, program=program)

    service.clear()
    yield start
    service.clear()
