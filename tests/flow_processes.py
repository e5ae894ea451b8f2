"""Flows in separate processes, which use the Prefect server of the tests and can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.proxy import Proxy
from tests.team import TeamService

DEADLINE_SECONDS = 150.0
ROOT = Path(__file__).parent.parent


def flow_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with its settings of Prefect, and further variables."""
    from prefect.settings import get_current_settings

    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return {**os.environ, **settings, **variables}


@dataclass
class KillableFlowRun:
    """A flow run that is run in one process after the other.

    Attributes:
        flow_run_id: Prefect's id.
        proxy: Between the flow and the service.
        service: Where its jobs run.
        folder: For its log, and for the notes or results of its processes.
    """

    flow_run_id: UUID
    proxy: Proxy
    service: TeamService
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start_script(self, script: Path, *arguments: str, **variables: str) -> None:
        """Start a script as the flow run's next process."""
        with (self.folder / "flow.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(script), *arguments],
                env=flow_environment(PYTHONPATH=str(ROOT), **variables),
                stdout=log,
                stderr=log,
            )

    def wait(self) -> int:
        """Wait for the end of the process; return its exit code."""
        assert self.process is not None
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def schedule_again(self) -> None:
        """Put a flow run that has crashed back in the queue, as its retry in the UI does."""
        from prefect.client.orchestration import get_client
        from prefect.states import AwaitingRetry

        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.flow_run_id, AwaitingRetry(), force=True)

    @property
    def log(self) -> str:
        return (self.folder / "flow.log").read_text()[-8000:]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        from prefect_qiskit_runtime.flow_run.lineage import flow_tag

        with self.service.client() as client:
            query = {"tags": flow_tag(self.flow_run_id), "limit": 1000}
            return client.get("/jobs", params=query).json()["jobs"]
