"""A real Prefect server, served deployments with a process for each flow run, and a service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

from prefect_qiskit_runtime.testing import OfflineService, offline_service

T = TypeVar("T")

ROOT = Path(__file__).parent.parent.parent
DEADLINE_SECONDS = 150.0
PROGRAM = """
import time

def main(backend, user_messenger, wait=0, result=None):
    user_messenger.publish("running")
    time.sleep(wait)
    return result
"""


def until(look: Callable[[], T], what: str) -> T:
    """Look until there is something to see."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_SECONDS} s"
        time.sleep(0.1)
    return seen


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
        return until(
            lambda: found if len(found := self.notes(kind)) >= count else None,
            f"{count} notes {kind!r}",
        )

    @property
    def state(self) -> Any:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.flow_run_id).state

    def wait_for_state(self, *names: str) -> None:
        until(lambda: self.state.name in names, f"state {names}")

    def cancel(self) -> None:
        """Do what the button in the UI does."""
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelling

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.flow_run_id, Cancelling())

    def kill(self) -> None:
        os.kill(int(self.notes("pid")[-1]), signal.SIGKILL)

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
    from prefect_qiskit_runtime import RuntimeServiceCredentials
    from tests.deployments.served import BLOCK

    service.credentials().save(BLOCK)
    backend = service.backend()
    backend.credentials = RuntimeServiceCredentials.load(BLOCK)
    return backend.save(BLOCK)


@pytest.fixture(scope="package")
def program(service: OfflineService) -> str:
    from prefect_qiskit_runtime import SyncRuntimeClient

    with SyncRuntimeClient(service.url, service.token) as client:
        return client.upload_program(PROGRAM, name="waiting")


@pytest.fixture(scope="package")
def runner(block: UUID, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the processes of the runner, which is running, write their notes."""
    from prefect.settings import get_current_settings

    folder = tmp_path_factory.mktemp("served")
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    with (folder / "runner.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "served.py")],
            env={
                **os.environ,
                **settings,
                "PYTHONPATH": str(ROOT),
                "PREFECT_RUNNER_POLL_FREQUENCY": "1",
                "SERVED_NOTES": str(folder / "notes.txt"),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    yield folder / "notes.txt"
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


StartRun = Callable[..., ServedRun]


@pytest.fixture
def start(runner: Path, program: str, service: OfflineService) -> Iterator[StartRun]:
    """Start a run of a flow of `served.py`, as its deployment."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from tests.deployments.served import NAME

    def deployment_id(flow: str) -> UUID | None:
        with get_client(sync_client=True) as client:
            try:
                return client.read_deployment_by_name(f"{flow.replace('_', '-')}/{NAME}").id
            except ObjectNotFound:
                return None

    def start(flow: str, **parameters: Any) -> ServedRun:
        wanted = until(lambda: deployment_id(flow), f"deployment of {flow}")
        with get_client(sync_client=True) as client:
            flow_run = client.create_flow_run_from_deployment(
                wanted, parameters={"program": program, **parameters}
            )
        return ServedRun(flow_run.id, runner)

    service.clear()
    yield start
    service.clear()
