"""A flow whose threads wait for two jobs of a program, until it is interrupted."""

from __future__ import annotations

import json
import sys
from typing import Any

from prefect import flow

from prefect_qiskit_runtime import run_program


def write_job(job_id: str, interim: object) -> None:
    sys.stdout.write(f"JOB {job_id}\n")  # one write: both threads write to one pipe


@flow
def fan_out(program_id: str, inputs: dict[str, Any]) -> None:
    futures = run_program.map(
        [program_id] * 2, [inputs] * 2, backend="aer_simulator", callback=write_job
    )
    futures.wait()


if __name__ == "__main__":
    fan_out(sys.argv[1], json.loads(sys.argv[2]))
