"""Run a program in the environment of this flow."""

from prefect import flow

from prefect_qiskit_runtime import run_program, upload_program


@flow
def elsewhere() -> str:
    program_id = upload_program("../programs/only_there.py")
    return run_program(program_id, backend="aer_simulator")


if __name__ == "__main__":
    print("WHERE", elsewhere())
