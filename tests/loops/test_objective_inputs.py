"""An objective takes what `run_estimator` takes; other inputs are refused before the first job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

from prefect_qiskit_runtime import (
    ConfigurationError,
    DurableLoop,
    EstimatorObjective,
    InvalidInputError,
    minimize,
)

A, B = Parameter("a"), Parameter("b")


def ansatz() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(A, 0)
    circuit.ry(B, 1)
    return circuit


@pytest.mark.usefixtures("prefect_server", "service_home")
@pytest.mark.parametrize(
    ("observable", "expected"),
    [
        ("IZ", np.cos(0.4)),
        (Pauli("ZI"), np.cos(1.1)),
        ({"IZ": 2.0, "ZI": -1.0}, 2 * np.cos(0.4) - np.cos(1.1)),
        ({Pauli("IZ"): 2.0}, 2 * np.cos(0.4)),
        (SparseObservable.from_list([("IZ", 0.5)]), 0.5 * np.cos(0.4)),
        ("I1", np.sin(0.2) ** 2),
    ],
)
def test_an_observable_has_any_form_of_run_estimator(observable: Any, expected: float) -> None:
    with DurableLoop(EstimatorObjective(ansatz(), observable), backend="aer_simulator") as loop:
        assert loop.evaluate([0.4, 1.1]).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("observable", "words"),
    [
        (SparsePauliOp("ZZ", 0.0), "observable is zero"),
        (SparsePauliOp.from_list([("ZZ", 1.0), ("ZZ", -1.0)]), "observable is zero"),
        ({}, "cannot be read"),
        (SparsePauliOp("ZZ", 1j), "coefficients of the observable are complex"),
        (["ZZ", "XX"], "is one SparsePauliOp, .* not list"),
        ("ZQ", "cannot be read"),
        ("ZZZ", "ansatz has 2 qubits, the observable 3"),
    ],
)
def test_an_observable_without_a_real_value_to_minimise_is_refused(
    observable: Any, words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        EstimatorObjective(ansatz(), observable)


def test_a_measured_ansatz_is_refused() -> None:
    measured = ansatz()
    measured.measure_all()
    with pytest.raises(InvalidInputError, match=r"ansatz has measurements.*remove_final"):
        EstimatorObjective(measured, "ZZ")


@pytest.mark.usefixtures("prefect_server", "service_home")
@pytest.mark.parametrize("start", [{B: 1.1, A: 0.4}, {"b": 1.1, "a": 0.4}])
def test_a_start_names_its_parameters(start: dict[Any, float]) -> None:
    objective = EstimatorObjective(ansatz(), "IZ")
    result = minimize.fn(objective, start, backend="aer_simulator", maxiter=0)
    np.testing.assert_array_equal(result.parameters, [0.4, 1.1])


@pytest.mark.usefixtures("prefect_server", "service_home")
def test_a_start_may_name_a_whole_vector() -> None:
    vector = ParameterVector("v", 2)
    circuit = QuantumCircuit(1)
    circuit.ry(vector[0], 0)
    circuit.rz(vector[1], 0)
    objective = EstimatorObjective(circuit, "Z")
    result = minimize.fn(objective, {vector: [0.3, 0.2]}, backend="aer_simulator", maxiter=0)
    np.testing.assert_array_equal(result.parameters, [0.3, 0.2])


@pytest.mark.parametrize("start", [{A: 0.4}, {A: 0.4, B: 1.0, Parameter("c"): 2.0}, {A: 1, 7: 2}])
def test_a_start_that_does_not_name_each_parameter_is_refused(start: dict[Any, float]) -> None:
    objective = EstimatorObjective(ansatz(), "IZ")
    with pytest.raises(ConfigurationError, match="start must give one number for each of: a, b"):
        minimize.fn(objective, start, backend="aer_simulator")


def test_names_in_the_start_need_the_parameters_of_an_ansatz() -> None:
    with pytest.raises(ConfigurationError, match="needs an EstimatorObjective"):
        minimize.fn(lambda point: point[0] ** 2, {A: 1.0})
