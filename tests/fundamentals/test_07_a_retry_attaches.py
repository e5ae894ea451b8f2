"""Retry a task or a flow run, and get the result of the job that it has submitted before."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from prefect_qiskit_runtime import run_program, upload_program
from tests.fundamentals.conftest import Start


def test_a_task_that_is_retried_attaches_to_its_job() -> None:
    numbers: list[float] = []

    @task(retries=1)
    def evaluate(program_id: str) -> None:
        numbers.append(run_program(program_id, backend="aer_simulator"))
        if len(numbers) == 1:
            raise ConnectionError("after the job has ended")

    @flow
    def experiment() -> None:
        evaluate(upload_program("programs/random_number.py"))

    experiment()
    assert len(numbers) == 2
    assert numbers[0] == numbers[1]


def test_a_flow_run_that_was_killed_attaches_to_its_job_when_it_is_retried(
    start_flow: Start, retry_flow_run: Start, gate: Path
) -> None:
    killed = start_flow("two_parts.py", gate)
    flow_run_id, job_id = killed.read("FLOW"), killed.read("JOB")
    killed.kill()
    gate.touch()
    retried = retry_flow_run(flow_run_id, "two_parts.py:two_parts")
    assert retried.read("FLOW") == flow_run_id
    assert retried.read("JOB") == job_id
    assert retried.read("RESULT") == "done"
