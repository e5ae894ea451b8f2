"""Kill a flow, and find its job running."""

from __future__ import annotations

import json
from pathlib import Path

from prefect_qiskit_runtime import attach_job
from tests.fundamentals.conftest import Start, command_line


def test_a_flow_that_is_killed_leaves_its_job_running_and_its_results_to_be_read(
    start_flow: Start, gate: Path
) -> None:
    flow = start_flow("two_parts.py", gate)
    job_id = flow.read("JOB")
    flow.kill()

    jobs = json.loads(command_line("jobs", "ls", "--json"))
    assert [job["status"] for job in jobs if job["job_id"] == job_id] == ["Running"]

    gate.touch()
    streamed = command_line("jobs", "stream", job_id).splitlines()
    assert [json.loads(line) for line in streamed] == [{"part": "before"}, {"part": "after"}]
    assert attach_job(job_id, backend="aer_simulator").result() == "done"
