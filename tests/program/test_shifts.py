"""Gradients by parameter shifts, against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import (
    CPhaseGate,
    CRXGate,
    CRYGate,
    CRZGate,
    CUGate,
    MCPhaseGate,
    PauliEvolutionGate,
    PhaseGate,
    RGate,
    RVGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    UGate,
    XXMinusYYGate,
    XXPlusYYGate,
    efficient_su2,
)
from qiskit.quantum_info import SparsePauliOp, Statevector

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program.shifts import shifted_circuit

A, B, C, D = (Parameter(name) for name in "abcd")


def evolution(*terms: tuple[str, float], time: Any = A) -> PauliEvolutionGate:
    return PauliEvolutionGate(SparsePauliOp.from_list(terms), time=time)


# Each gate with the number of shifted points that its gradient takes.
GATES = {
    "rx": (RXGate(A), 2),
    "ry of a sum": (RYGate(2 * A + B), 2),
    "rz": (RZGate(A), 2),
    "p": (PhaseGate(A), 2),
    "u with a repeated angle": (UGate(A, B, A), 6),
    "r": (RGate(A, B), 6),
    "rxx": (RXXGate(A), 2),
    "ryy": (RYYGate(A), 2),
    "rzz of a product": (RZZGate(A * B), 2),
    "rzx": (RZXGate(A), 2),
    "crx": (CRXGate(A), 4),
    "crx on zero": (CRXGate(A, ctrl_state=0), 4),
    "cry": (CRYGate(A), 4),
    "crz": (CRZGate(-A / 3), 4),
    "cp": (CPhaseGate(A), 2),
    "cu": (CUGate(A, B, C, D), 14),
    "mcphase": (MCPhaseGate(A, 2), 2),
    "rx with two controls": (RXGate(A).control(2, annotated=False), 12),
    "xx_plus_yy": (XXPlusYYGate(A), 4),
    "xx_plus_yy with both angles": (XXPlusYYGate(A, B), 8),
    "xx_minus_yy": (XXMinusYYGate(A, 0.3), 4),
    "a string": (evolution(("XZY", 1.5)), 2),
    "an excitation": (evolution(("XY", 0.5), ("YX", -0.5)), 4),
    "commuting strings": (evolution(("XX", 0.5), ("YY", 0.7)), 4),
    "strings that do not commute": (evolution(("XXI", 0.5), ("ZYZ", 0.7), time=2 * A - B), 4),
}


def around(gate: Any) -> QuantumCircuit:
    """A gate between others, so that its state and what is measured are of no special kind."""
    rng = np.random.default_rng(3)
    circuit = QuantumCircuit(3)
    for qubit in range(3):
        circuit.ry(rng.uniform(0, 3), qubit)
        circuit.rz(rng.uniform(0, 3), qubit)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.append(gate, list(range(gate.num_qubits)))
    circuit.rx(0.4, [0, 1, 2])
    circuit.cx(0, 2)
    return circuit


def observable() -> SparsePauliOp:
    rng = np.random.default_rng(4)
    return SparsePauliOp.from_list(
        [("".join(rng.choice(list("IXYZ"), 3)), rng.normal()) for _ in range(12)]
    )


def value(circuit: QuantumCircuit, values: Any) -> float:
    # Decomposed: of strings that do not commute the product formula is what runs.
    bound = circuit.assign_parameters(values).decompose("PauliEvolution")
    return Statevector(bound).expectation_value(observable()).real


def check(circuit: QuantumCircuit, shifts: int) -> None:
    shifted = shifted_circuit(circuit)
    assert shifted.num_shifts == shifts
    point = np.random.default_rng(5).uniform(-2, 2, circuit.num_parameters)

    def at(angles: Any) -> float:
        return value(shifted.circuit, dict(zip(shifted.angle_names, angles, strict=True)))

    assert at(shifted.angles(point[np.newaxis])[0]) == pytest.approx(value(circuit, point))
    values = np.array([at(angles) for angles in shifted.shifted_angles(point)])
    gradient, _ = shifted.gradient(point, values, np.zeros(shifts))
    step = 1e-5 * np.eye(len(point))
    differences = [(value(circuit, point + h) - value(circuit, point - h)) / 2e-5 for h in step]
    np.testing.assert_allclose(gradient, differences, rtol=0, atol=1e-6)
    assert np.max(np.abs(gradient)) > 1e-3  # it says something


@pytest.mark.parametrize("name", GATES)
def test_the_gradient_of_a_gate_is_that_of_finite_differences(name: str) -> None:
    gate, shifts = GATES[name]
    check(around(gate), shifts)


def test_so_is_that_of_a_parameter_in_many_places() -> None:
    circuit = around(CRXGate(A))
    circuit.rzz(2 * A, 0, 1)
    circuit.append(XXPlusYYGate(A - B), [1, 2])
    circuit.ry(B, 0)
    check(circuit, 4 + 2 + 4 + 2)


def test_so_is_that_of_an_ansatz_of_qiskit() -> None:
    check(around(efficient_su2(3, reps=1).to_gate()), 24)


def test_errors_of_values_become_errors_of_the_gradient() -> None:
    shifted = shifted_circuit(around(RYGate(2 * A)))
    _, stds = shifted.gradient(np.zeros(1), np.zeros(2), np.array([0.03, 0.04]))
    assert stds == pytest.approx([0.05])  # twice the half of each, added in squares


@pytest.mark.parametrize("name", ["rv", "measure"])
def test_what_has_no_rule_is_refused_by_its_name(name: str) -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.rx(A, 0)
    if name == "rv":
        circuit.append(RVGate(A, B, C), [0])
    else:
        circuit.measure(0, 0)
    with pytest.raises(InvalidInputError, match=f"because of its instruction '{name}'"):
        shifted_circuit(circuit)
