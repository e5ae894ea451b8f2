"""Starts the processes of flow runs and kills them: from the test itself, or through Prefect.

A host runs one flow run at a time. `start` starts a process for an order, `status` returns its exit
status and None while it runs, `kill` kills it, and first its parent if `is_whole`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Pending, Scheduled

from tests.crashes.matrix.cells import DEPLOYED_WAYS

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent.parent
FOREIGN_PYTHON = ROOT / ".run" / "clients" / "prefect-qiskit-0.2.1" / "bin" / "python"
DEPLOYED = sorted({way.flow for way in DEPLOYED_WAYS})
DEPLOYING_SECONDS = 120.0
AFTER_REPORT = b"prefect.flow_runs.worker - Check whether"  # a worker logs it after its report

Order = dict[str, Any]


class Forker:
    """The process of `host.py` that has imported a client; many cells use it at a time."""

    def __init__(self, client: str, environment: dict[str, str]) -> None:
        python = sys.executable if client == "ours" else str(FOREIGN_PYTHON)
        self._command = [python, str(FOLDER / "host.py"), client]
        self._environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, order: Order) -> dict[str, Any]:
        with self._lock:
            if self._process is None:
                pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
                self._process = subprocess.Popen(self._command, env=self._environment, **pipes)
            assert self._process.stdin is not None and self._process.stdout is not None
            print(json.dumps(order), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


class BareProcesses:
    """Processes without anything around them."""

    def __init__(self, forker: Forker) -> None:
        self._forker = forker
        self._pid = 0

    def start(self, order: Order) -> None:
        self._pid = self._forker.ask({"run": order})["pid"]

    def status(self) -> int | None:
        return self._forker.ask({"poll": self._pid})["status"]

    def kill(self, *, is_whole: bool = False) -> None:
        os.kill(self._pid, signal.SIGKILL)


class DeployedProcesses:
    """Processes that a runner, or a worker of a process pool, starts for runs of deployments."""

    def __init__(self, environment: dict[str, str], folder: Path, *, is_worker: bool) -> None:
        self._name = f"crashes-{uuid4().hex[:8]}"
        self._folder = folder
        self._is_worker = is_worker
        self._environment = {
            **environment,
            "CRASH_ORDER": str(folder / "order.json"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        self._machines = 0
        if is_worker:  # a runner makes its deployments itself
            self._deploy()
        self._begin()

    def start(self, order: Order) -> None:
        if order["is_elsewhere"]:
            self._end(signal.SIGKILL)
            self._begin()
        self._is_lost = False
        self._logged_earlier = self._log_path.stat().st_size
        self._notes_path = Path(order["notes"])
        (self._folder / "order.json").write_text(json.dumps(order))
        with get_client(sync_client=True) as client:
            if order["flow_run_id"] is not None:
                client.set_flow_run_state(order["flow_run_id"], AwaitingRetry(), force=True)
                return
            # Not scheduled before its id is noted.
            deployment_id = self._deployment_id(order["flow"])
            flow_run = client.create_flow_run_from_deployment(deployment_id, state=Pending())
            self._flow_run_id = flow_run.id
            with self._notes_path.open("a") as notes:
                notes.write(f"flow_run {flow_run.id}\n")
            client.set_flow_run_state(flow_run.id, Scheduled(), force=True)

    def status(self) -> int | None:
        if any(Path(f"/proc/{pid}").exists() for pid in self._pids()):
            return None
        if self._is_lost:  # and no process has reported it to Prefect
            return -signal.SIGKILL
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self._flow_run_id).state
        if state is None or not state.is_final():
            return None
        if state.type is not StateType.CRASHED:
            return 0 if state.type is StateType.COMPLETED else 1
        # A worker reports a crash after the hooks, over a state that was set since; the process
        # that it had started has done it before.
        logged = self._log_path.read_bytes()[self._logged_earlier :]
        return -signal.SIGKILL if not self._is_worker or AFTER_REPORT in logged else None

    def kill(self, *, is_whole: bool = False) -> None:
        if is_whole:
            self._end(signal.SIGKILL)
            self._is_lost = True
        with suppress(ProcessLookupError):
            os.kill(self._pids()[-1], signal.SIGKILL)

    def close(self) -> None:
        self._end(signal.SIGTERM)

    def _pids(self) -> list[int]:
        lines = self._notes_path.read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("process ")]

    def _deploy(self) -> None:
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name=self._name, type="process"))
            for flow in DEPLOYED:
                client.create_deployment(
                    client.create_flow_from_name(flow),
                    self._name,
                    entrypoint=f"served.py:{flow}",
                    path=str(FOLDER),
                    work_pool_name=self._name,
                )

    def _deployment_id(self, flow: str) -> UUID:
        deadline = time.monotonic() + DEPLOYING_SECONDS
        while True:
            with suppress(ObjectNotFound), get_client(sync_client=True) as client:
                return client.read_deployment_by_name(f"{flow}/{self._name}").id
            assert time.monotonic() < deadline, self._log_path.read_text()
            time.sleep(0.1)

    def _begin(self) -> None:
        """Start a runner or worker, with a separate storage: another machine."""
        command = [sys.executable, str(FOLDER / "served.py"), self._name, *DEPLOYED]
        if self._is_worker:
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self._name]
        self._machines += 1
        storage = self._folder / f"machine-{self._machines}"
        self._log_path = storage.with_suffix(".log")
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env={**self._environment, "PREFECT_LOCAL_STORAGE_PATH": str(storage)},
                cwd=FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
