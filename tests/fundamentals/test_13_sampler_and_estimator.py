"""Run Qiskit's primitives without a program."""

from __future__ import annotations

import numpy as np
from prefect import flow
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from prefect_qiskit_runtime import run_estimator, run_sampler


def test_the_sampler_returns_counts() -> None:
    @flow
    def sampled() -> dict[str, int]:
        bell = QuantumCircuit(2)
        bell.h(0)
        bell.cx(0, 1)
        bell.measure_all()
        (result,) = run_sampler([bell], backend="aer_simulator", shots=1000)
        return result.data.meas.get_counts()

    counts = sampled()
    assert set(counts) == {"00", "11"}
    assert sum(counts.values()) == 1000


def test_the_estimator_returns_expectation_values_of_a_sweep() -> None:
    angles = np.linspace(0, np.pi, 5)

    @flow
    def estimated() -> np.ndarray:
        rotated = QuantumCircuit(1)
        rotated.ry(Parameter("angle"), 0)
        (result,) = run_estimator([(rotated, "Z", angles)], backend="aer_simulator")
        return result.data.evs

    np.testing.assert_allclose(estimated(), np.cos(angles), atol=1e-9)
