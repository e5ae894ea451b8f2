"""Get results as the objects that they were in the program, or as objects of a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from prefect import flow

from prefect_qiskit_runtime import ResultDecoder, run_program, upload_program


@dataclass
class Energy:
    hartree: float


class EnergyDecoder(ResultDecoder):
    @classmethod
    def decode(cls, data: str) -> Energy:
        return Energy(super().decode(data)["energy"])


@flow
def ground_energy(callback: Any = None, result_decoder: Any = None) -> Any:
    program_id = upload_program("programs/ground_energy.py")
    return run_program(
        program_id,
        {"field": 0.75},
        backend="aer_simulator",
        callback=callback,
        result_decoder=result_decoder,
    )


def test_arrays_arrive_as_arrays() -> None:
    seen: list[np.ndarray] = []
    result = ground_energy(callback=lambda job_id, interim: seen.append(interim["hamiltonian"]))
    assert result == {"energy": pytest.approx(-1.25)}
    assert seen[0].dtype == complex
    np.testing.assert_array_equal(seen[0], [[1, 0.75], [0.75, -1]])


def test_a_decoder_makes_a_class_of_a_result() -> None:
    assert ground_energy(result_decoder=(None, EnergyDecoder)) == Energy(pytest.approx(-1.25))
