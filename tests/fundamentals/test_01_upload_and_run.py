"""Upload a program once, and run it with inputs."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from prefect_qiskit_runtime import get_program, run_program, upload_program

PROGRAMS = Path(__file__).parents[2] / "flows" / "programs"


def test_a_program_is_uploaded_once_and_run() -> None:
    @flow
    def hello() -> tuple[str, str]:
        program_id = upload_program(PROGRAMS / "hello_world.py", PROGRAMS / "hello_world.json")
        result = run_program(program_id, {"iterations": 1}, backend="aer_simulator")
        return program_id, result

    program_id, result = hello()
    assert result == "Hello, World!"
    uploaded = get_program(program_id)
    assert uploaded.name == "hello-world"

    assert hello() == (program_id, result)
    assert get_program(program_id).version == uploaded.version
