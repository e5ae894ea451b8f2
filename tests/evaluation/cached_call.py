"""A process that makes one call: it prints the job for each interim result, and then the value."""

from __future__ import annotations

import json
import sys

from prefect_qiskit_runtime import RuntimeBackend, run_program


def print_job(job_id: str, interim: object) -> None:
    print(job_id, flush=True)


if __name__ == "__main__":
    program_id, inputs, block = json.loads(sys.argv[1])
    result = run_program.fn(program_id, inputs, backend=RuntimeBackend(**block), callback=print_job)
    print(result["value"])
