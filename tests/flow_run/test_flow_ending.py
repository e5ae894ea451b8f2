"""Jobs of calls that wait in threads, when their flow ends before them."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.states import Cancelling

from prefect_qiskit_runtime import JobStatus, asubmit_program, attach_job, run_program
from prefect_qiskit_runtime.following.following import cancel_quietly
from tests.flow_processes import flow_environment

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")

BACKEND = "aer_simulator"
FLOW = Path(__file__).with_name("waiting_in_threads.py")
NEVER = "/never/there"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_FLOW_STATE_INTERVAL_SECONDS", "0.2")


def test_a_flow_cancelled_in_the_ui_cancels_jobs_that_wait_in_threads(counting: str) -> None:
    jobs: set[str] = set()

    @flow
    def fan_out() -> None:
        def cancel_this_flow(job_id: str, interim: object) -> None:
            jobs.add(job_id)
            if len(jobs) == 2:
                with get_client(sync_client=True) as client:
                    client.set_flow_run_state(UUID(flow_run_id), Cancelling())

        flow_run_id = flow_run.id
        inputs = {"upto": 1, "wait_for": NEVER}
        futures = [
            run_program.submit(counting, inputs, backend=BACKEND, callback=cancel_this_flow)
            for _ in range(2)
        ]
        for future in futures:
            with pytest.raises(Abort, match="was cancelled, because flow run"):
                future.result()

    fan_out()
    assert {attach_job(job_id, backend=BACKEND).status() for job_id in jobs} == {
        JobStatus.CANCELLED
    }


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_flow_cancels_jobs_that_wait_in_threads(
    counting: str, sent: signal.Signals
) -> None:
    inputs = {"upto": 1, "wait_for": NEVER}
    with subprocess.Popen(
        [sys.executable, "-u", str(FLOW), counting, json.dumps(inputs)],
        env=flow_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        jobs, lines = set[str](), list[str]()
        for line in process.stdout:
            lines.append(line)
            if line.startswith("JOB"):
                jobs.add(line.split()[1])
            if len(jobs) == 2:
                process.send_signal(sent)
                break
        lines += process.stdout.readlines()
    assert len(jobs) == 2, "".join(lines)
    assert {attach_job(job_id, backend=BACKEND).status() for job_id in jobs} == {
        JobStatus.CANCELLED
    }


def test_a_time_limit_of_a_task_holds_in_threads(counting: str) -> None:
    jobs: list[str] = []

    @flow
    def impatient() -> str:
        limited = run_program.with_options(timeout_seconds=1)
        future = limited.submit(
            counting,
            {"upto": 1, "wait_for": NEVER},
            backend=BACKEND,
            callback=lambda job_id, interim: jobs.append(job_id),
        )
        future.wait()
        return str(future.state.name)

    assert impatient() == "TimedOut"
    assert attach_job(jobs[0], backend=BACKEND).status() is JobStatus.CANCELLED


async def test_a_job_that_ended_before_it_could_be_cancelled_is_not_said_to_run(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = await asubmit_program.fn(counting, {"upto": 1}, backend=BACKEND)
    await job.await_for_final_state()
    with caplog.at_level(logging.INFO):
        async with job.backend.connect() as api:
            assert not await cancel_quietly(api, job.job_id)
    assert f"Job {job.job_id} ended before it could be cancelled" in caplog.text
    assert "may still be running" not in caplog.text
