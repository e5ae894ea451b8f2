"""The product as a tour: one story per file, in the order of their numbers.

Each story is as its user would live it: a real Prefect server, a real service, public names only.
Programs are in `programs`. Flows that have to run in another process are in `flows`; the others
are in the stories.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.settings import get_current_settings
from prefect.states import Crashed

from prefect_qiskit_runtime.testing import OfflineService, offline_service

FLOWS = Path(__file__).parent / "flows"
DEADLINE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def everything_runs(service_home: Path, prefect_server: None) -> None:
    """Each story has a Prefect server and the home of an embedded service."""


class FlowProcess:
    """A flow in another process, as a worker starts it."""

    def __init__(self, command: list[str]) -> None:
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **settings, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read(self, mark: str) -> str:
        """Read the output up to a line that begins with a mark; return the rest of that line."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith(mark):
                return line.removeprefix(mark).strip()
        raise AssertionError(f"no line begins with {mark!r} in:\n" + "".join(lines))

    def kill(self) -> None:
        """Do what `kill -9` does, to a flow that is still running."""
        self.process.kill()
        assert self.process.wait(DEADLINE_SECONDS) == -signal.SIGKILL

    def terminate(self) -> None:
        """Do what `kill` does, and what ends a container."""
        self.process.terminate()
        self.process.communicate(timeout=DEADLINE_SECONDS)


Start = Callable[..., FlowProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command; what still runs at the end of the test is killed."""
    with ExitStack() as stack:

        def start(*command: str | Path) -> FlowProcess:
            flow = FlowProcess([str(word) for word in command])
            stack.enter_context(flow.process)
            stack.callback(flow.process.kill)
            return flow

        yield start


@pytest.fixture
def start_flow(start: Start) -> Start:
    """Start a file of `flows`."""

    def start_flow(
        file: str, *arguments: str | Path, python: str | Path = sys.executable
    ) -> FlowProcess:
        return start(python, FLOWS / file, *arguments)

    return start_flow


@pytest.fixture
def retry_flow_run(start: Start) -> Start:
    """Do what Prefect does with a flow run whose process has died: crash it, and retry it."""

    def retry(flow_run_id: str, entrypoint: str) -> FlowProcess:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(flow_run_id), Crashed(), force=True)
        prefect = Path(sys.executable).with_name("prefect")
        return start(prefect, "flow-run", "retry", flow_run_id, "-e", f"{FLOWS}/{entrypoint}")

    return retry


def command_line(*arguments: str) -> str:
    """Return the output of `prefect-qiskit-runtime`."""
    command = [sys.executable, "-m", "prefect_qiskit_runtime.cli", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that a program waits for."""
    return tmp_path / "gate"


@pytest.fixture
def ibm() -> Iterator[OfflineService]:
    """A service that imitates IBM Quantum."""
    with offline_service(imitate="ibm") as service:
        yield service
