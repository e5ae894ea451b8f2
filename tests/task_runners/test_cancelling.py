"""Jobs in other processes end when their flow is cancelled or interrupted."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.runtime import flow_run
from prefect.states import Cancelling

from prefect_qiskit_runtime import JobStatus, list_jobs, run_program, upload_program
from prefect_qiskit_runtime.flow_run.lineage import flow_tag
from tests.flow_processes import flow_environment
from tests.waiting import wait_until

pytest.importorskip("prefect_dask", reason="see make task-runners")
pytest.importorskip("prefect_ray", reason="see make task-runners")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore"),  # of the task runners' own libraries
    pytest.mark.usefixtures("prefect_server", "service_home"),
]

T = TypeVar("T")
BACKEND = "aer_simulator"
FLOW = Path(__file__).with_name("fan_out.py")
DEADLINE_SECONDS = 500.0
SOURCE = """
import time

def main(backend, user_messenger, *, number):
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def sleeping(prefect_server: None, service_home: Path) -> str:
    """A program that ends when it is cancelled."""
    return upload_program.fn(SOURCE, name="sleeping", backend=BACKEND)


def statuses(flow_run_id: str) -> list[JobStatus]:
    jobs = list_jobs.fn(backend=BACKEND, tags=[flow_tag(flow_run_id)])
    return [job.state.status for job in jobs]


def wait_for_both(flow_run_id: str, status: JobStatus) -> None:
    both = f"both jobs {status.value}"
    wait_until(lambda: statuses(flow_run_id) == [status] * 2, both, seconds=DEADLINE_SECONDS)


def test_a_flow_cancelled_in_the_ui_leaves_no_job(sleeping: str, runner: Any) -> None:
    known: list[str] = []

    def cancel_when_both_run() -> None:
        wait_until(lambda: known, "the flow run", seconds=DEADLINE_SECONDS)
        wait_for_both(known[0], JobStatus.RUNNING)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(known[0]), Cancelling())

    @flow(task_runner=runner)
    def fan_out() -> None:
        known.append(flow_run.id)
        inputs = [{"number": 1}, {"number": 2}]
        run_program.map([sleeping] * 2, inputs, backend=BACKEND).result()

    clicking = threading.Thread(target=cancel_when_both_run)
    clicking.start()
    state = fan_out(return_state=True)
    clicking.join()
    assert not state.is_completed()
    wait_for_both(known[0], JobStatus.CANCELLED)


def test_an_interrupted_flow_with_the_hook_leaves_no_job(
    sleeping: str, runner: Any, tmp_path: Path
) -> None:
    task_runner = f"{type(runner).__module__}.{type(runner).__name__}"
    log_path = tmp_path / "log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-u", str(FLOW), task_runner, runner.address, sleeping],
            env=flow_environment(),
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            found = wait_until(
                lambda: flow_run_printed(process, log_path),
                "the flow run",
                seconds=DEADLINE_SECONDS,
            )
            wait_for_both(found, JobStatus.RUNNING)
            process.terminate()
            process.wait(DEADLINE_SECONDS)
        finally:
            process.kill()
    assert statuses(found) == [JobStatus.CANCELLED] * 2, log_path.read_text()


def flow_run_printed(process: subprocess.Popen[bytes], log_path: Path) -> str | None:
    text = log_path.read_text()
    assert process.poll() is None, text
    return next((line.split()[1] for line in text.splitlines() if line.startswith("FLOW ")), None)
