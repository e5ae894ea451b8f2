"""Name an evaluation, and share its job between flow runs."""

from __future__ import annotations

from prefect import flow

from prefect_qiskit_runtime import run_program, upload_program


def test_equal_calls_with_one_durable_key_are_one_job() -> None:
    @flow
    def draw(durable_key: str | None = None) -> float:
        program_id = upload_program("programs/random_number.py")
        return run_program(program_id, backend="aer_simulator", durable_key=durable_key)

    first = draw(durable_key="h2-scan-0.74")
    assert draw(durable_key="h2-scan-0.74") == first
    assert draw(durable_key="h2-scan-0.75") != first
    assert draw() != first
