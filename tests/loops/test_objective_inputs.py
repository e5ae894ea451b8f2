"""An objective takes what `run_estimator` takes; other inputs are refused before the first job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import ClassicalRegister, Parameter, ParameterVector, QuantumCircuit
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


def measured_part() -> QuantumCircuit:
    part = QuantumCircuit(2, 1)
    part.measure(1, 0)
    return part


def in_an_if(circuit: QuantumCircuit) -> None:
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.measure(1, 1)


def in_the_else_of_a_loop(circuit: QuantumCircuit) -> None:
    with circuit.for_loop(range(2)):
        with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
            circuit.x(0)
        with otherwise:
            circuit.measure(1, 1)


def in_a_switch(circuit: QuantumCircuit) -> None:
    with circuit.switch(circuit.clbits[0]) as case, case(1):
        circuit.measure(0, 1)


def in_a_while(circuit: QuantumCircuit) -> None:
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.measure(0, 0)


def in_a_box(circuit: QuantumCircuit) -> None:
    with circuit.box():
        circuit.measure(0, 1)


def in_a_definition(circuit: QuantumCircuit) -> None:
    circuit.append(measured_part().to_instruction(), [0, 1], [0])


def in_a_definition_of_a_definition(circuit: QuantumCircuit) -> None:
    outer = QuantumCircuit(2, 2)
    outer.append(measured_part().to_instruction(), [0, 1], [1])
    circuit.append(outer.to_instruction(label="measured"), [1, 0], [0, 1])


def in_a_definition_in_a_box(circuit: QuantumCircuit) -> None:
    with circuit.box():
        in_a_definition(circuit)


@pytest.mark.parametrize(
    ("measure", "where"),
    [
        (in_an_if, "instruction 0 ('measure') in block 0 of instruction 2 ('if_else')"),
        (
            in_the_else_of_a_loop,
            "in block 1 of instruction 0 ('if_else') in block 0 of instruction 2 ('for_loop')",
        ),
        (in_a_switch, "in block 0 of instruction 2 ('switch_case')"),
        (in_a_while, "in block 0 of instruction 2 ('while_loop')"),
        (in_a_box, "instruction 0 ('measure') in block 0 of instruction 2 ('box')"),
        (in_a_definition, "instruction 0 ('measure') in definition of instruction 2 ('circuit-"),
        (in_a_definition_of_a_definition, "in definition of instruction 0 ('circuit-"),
        (in_a_definition_in_a_box, "in block 0 of instruction 2 ('box')"),
    ],
)
def test_an_ansatz_measured_inside_an_instruction_is_refused_with_its_place(
    measure: Callable[[QuantumCircuit], None], where: str
) -> None:
    circuit = ansatz()
    circuit.add_register(ClassicalRegister(2, "c"))
    measure(circuit)
    with pytest.raises(InvalidInputError, match="ansatz has measurements, instruction") as caught:
        EstimatorObjective(circuit, "ZZ")
    assert where in str(caught.value)
    assert caught.value.path == "$.ansatz"


def test_gradients_are_refused_for_a_reset_inside_an_instruction() -> None:
    part = QuantumCircuit(1)
    part.reset(0)
    circuit = ansatz()
    circuit.append(part.to_instruction(), [0])
    objective = EstimatorObjective(circuit, "ZZ")
    with pytest.raises(InvalidInputError, match="because of its instruction 'reset': gradients"):
        minimize.fn(objective, [0.1, 0.2], backend="aer_simulator", method="L-BFGS-B")


def test_a_gate_that_is_only_named_measure_is_not_a_measurement() -> None:
    circuit = ansatz()
    named = QuantumCircuit(1, name="measure")
    named.x(0)
    circuit.append(named.to_gate(), [0])
    assert EstimatorObjective(circuit, "ZZ").num_parameters == 2


def boxed(*gates: str) -> QuantumCircuit:
    circuit = ansatz()
    with circuit.box():
        for gate in gates:
            getattr(circuit, gate)(0)
    return circuit


def grouped(*gates: str) -> QuantumCircuit:
    part = QuantumCircuit(1)  # Qiskit numbers its name
    for gate in gates:
        getattr(part, gate)(0)
    circuit = ansatz()
    circuit.append(part.to_gate(), [0])
    return circuit


@pytest.mark.parametrize("build", [boxed, grouped])
def test_objectives_differ_by_the_gates_inside_instructions(
    build: Callable[..., QuantumCircuit],
) -> None:
    one, same, other = (
        EstimatorObjective(build(*gates), "ZZ").problem
        for gates in (("x", "h"), ("x", "h"), ("x", "s"))
    )
    assert one == same
    assert one != other


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
