"""See interim results while a program runs, and again afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from prefect_qiskit_runtime import run_program, stream_results, upload_program

PROGRAMS = Path(__file__).parents[2] / "flows" / "programs"


def test_hello_world_streams_while_it_runs_and_replays_afterwards() -> None:
    seen: list[dict[str, Any]] = []
    jobs: set[str] = set()

    def callback(job_id: str, interim: dict[str, Any]) -> None:
        jobs.add(job_id)
        seen.append(interim)

    @flow
    def hello() -> str:
        program_id = upload_program(PROGRAMS / "hello_world.py", PROGRAMS / "hello_world.json")
        return run_program(
            program_id, {"iterations": 5}, backend="aer_simulator", callback=callback
        )

    assert hello() == "Hello, World!"
    assert [interim["iteration"] for interim in seen] == [0, 1, 2, 3, 4]
    assert all(sum(interim["counts"].values()) == 1024 for interim in seen)

    (job_id,) = jobs
    assert list(stream_results(job_id, backend="aer_simulator")) == seen
