"""Run a program with the noise of a device."""

from __future__ import annotations

from typing import Any

from prefect import flow

from prefect_qiskit_runtime import RuntimeBackend, run_program, upload_program


def test_a_noisy_backend_is_a_change_of_one_name() -> None:
    @flow
    def sampled(backend: RuntimeBackend) -> dict[str, Any]:
        program_id = upload_program("programs/bell_counts.py")
        return run_program(program_id, backend=backend)

    ideal = sampled(RuntimeBackend(name="aer_simulator"))
    noisy = sampled(RuntimeBackend(name="fake_manila"))
    assert set(ideal["counts"]) == {"00", "11"}
    assert set(noisy["counts"]) == {"00", "01", "10", "11"}
    assert noisy["backend"] == "fake_manila"
