"""Run a program that waits for a file: long enough to be killed."""

import sys

from prefect import flow
from prefect.runtime import flow_run

from prefect_qiskit_runtime import run_program, upload_program


@flow
def two_parts(gate: str) -> str:
    print("FLOW", flow_run.id)
    program_id = upload_program("../programs/two_parts.py")
    result = run_program(
        program_id,
        {"gate": gate},
        backend="aer_simulator",
        callback=lambda job_id, interim: print("JOB", job_id),
    )
    print("RESULT", result)
    return result


if __name__ == "__main__":
    two_parts(sys.argv[1])
