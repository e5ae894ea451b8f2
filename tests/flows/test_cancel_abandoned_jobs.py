"""The reaper flow as a deployment runs it."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from prefect import flow, get_client, runtime
from prefect.states import Cancelled

from prefect_qiskit_runtime import JobStatus, RuntimeJob, submit_program, upload_program
from prefect_qiskit_runtime.backend import RuntimeBackend
from tests.flows.examples import example_flow

WAITING = "import time\ndef main(backend, user_messenger):\n    time.sleep(600)\n"


@pytest.mark.usefixtures("service_home", "prefect_server")
def test_it_cancels_the_job_of_a_flow_run_that_was_cancelled() -> None:
    @flow
    def leaving() -> tuple[UUID, RuntimeJob]:
        program = upload_program(WAITING, name="waiting")
        return UUID(runtime.flow_run.id), submit_program(program, backend="aer_simulator")

    reaper = example_flow("cancel_abandoned_jobs")
    flow_run_id, job = leaving()
    assert asyncio.run(reaper()) == []
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Cancelled(), force=True)
    RuntimeBackend().save("embedded", overwrite=True)
    assert asyncio.run(reaper(blocks=["embedded"])) == [job.job_id]
    assert job.status() is JobStatus.CANCELLED
