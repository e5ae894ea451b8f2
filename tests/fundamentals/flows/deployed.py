"""A deployment that measures a Bell pair."""

from typing import Any

from prefect import flow

from prefect_qiskit_runtime import RuntimeBackend, run_program, upload_program


@flow(persist_result=True)
def bell(backend: RuntimeBackend | str = "aer_simulator") -> dict[str, Any]:
    program_id = upload_program("../programs/bell_counts.py")
    return run_program(program_id, backend=backend)


if __name__ == "__main__":
    bell.serve("tour")
