"""Cancel a job, or let its flow take it along."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    JobCancelledError,
    JobStatus,
    RuntimeJob,
    attach_job,
    submit_program,
    upload_program,
)
from tests.fundamentals.conftest import Start


def test_a_cancelled_job_has_no_result(gate: Path) -> None:
    @flow
    def changed_mind() -> RuntimeJob:
        program_id = upload_program("programs/two_parts.py")
        job = submit_program(program_id, {"gate": str(gate)}, backend="aer_simulator")
        job.cancel()
        return job

    job = changed_mind()
    assert job.wait_for_final_state() is JobStatus.CANCELLED
    with pytest.raises(JobCancelledError):
        job.result()


def test_a_flow_that_is_terminated_cancels_the_job_that_it_waits_for(
    start_flow: Start, gate: Path
) -> None:
    flow = start_flow("two_parts.py", gate)
    job_id = flow.read("JOB")
    flow.terminate()
    assert attach_job(job_id, backend="aer_simulator").status() is JobStatus.CANCELLED
