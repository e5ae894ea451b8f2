"""The parameter-shift gradients against finite differences, and what has no shift rule."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime.errors import InvalidInputError

OBSERVABLE = SparsePauliOp.from_list([("ZI", 0.7), ("IZ", -0.4), ("XX", 0.3), ("YZ", 0.2)])


def objective_of(vqe, backend, ansatz, hamiltonian=OBSERVABLE):
    form = vqe.read_ansatz(ansatz)
    operator = vqe.read_hamiltonian(hamiltonian)
    return vqe.Objective(form, operator, 0.0, backend, shots=None, seed=1)


def assert_gradient_is_exact(objective):
    count = len(objective.ansatz.parameters)
    point = np.random.default_rng(7).uniform(-1.5, 1.5, count)
    step = 1e-4 * np.eye(count)
    above, _ = objective.energies(point + step)
    below, _ = objective.energies(point - step)

    gradient = objective.evaluate_with_gradient(point).gradient

    assert np.max(np.abs(gradient)) > 1e-3
    np.testing.assert_allclose(gradient, (above - below) / 2e-4, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["h2_0.735", "lih_1.595_4q"])
def test_gradient_over_excitations_is_exact(vqe, ideal, inputs_for, name):
    inputs = inputs_for(name)

    assert_gradient_is_exact(objective_of(vqe, ideal, inputs["ansatz"], inputs["hamiltonian"]))


@pytest.mark.parametrize(
    ("paulis", "num_shifts"),
    [
        pytest.param([["XY", 1.7]], 2, id="one frequency"),
        pytest.param([["XY", 0.9], ["YX", -0.9]], 4, id="a frequency and its double"),
        pytest.param([["XY", 0.9], ["YX", 0.4]], 4, id="neither: two for each Pauli string"),
    ],
)
def test_gradient_over_generators_of_any_spectrum_is_exact(vqe, ideal, paulis, num_shifts):
    ansatz = {"hartree_fock_bitstring": "01", "excitation_generators": [{"paulis": paulis}]}
    objective = objective_of(vqe, ideal, ansatz)

    assert_gradient_is_exact(objective)

    assert sum(len(rule.shifts) for rule in objective.ansatz.rules) == num_shifts


def shared_parameter():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.rx(2 * a + b / 3, 1)
    circuit.cx(0, 1)
    circuit.rzz(a * b, 0, 1)
    circuit.ry(b.sin(), 1)
    return circuit


def every_rotation():
    angles = ParameterVector("t", 11)
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.rx(angles[0], 0)
    circuit.ry(angles[1], 1)
    circuit.rz(angles[2], 0)
    circuit.p(angles[3], 1)
    circuit.u(angles[4], angles[5], angles[6], 0)
    circuit.rxx(angles[7], 0, 1)
    circuit.ryy(angles[8], 0, 1)
    circuit.rzz(angles[9], 0, 1)
    circuit.rzx(angles[10], 0, 1)
    return circuit


def made_of_rotations():
    angles = ParameterVector("t", 4)
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.crx(angles[0], 0, 1)
    circuit.cp(angles[1], 0, 1)
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XY", "YX"]), time=angles[2]), [0, 1])
    nested = QuantumCircuit(2, name="block")
    nested.ry(3 * angles[3], 0)
    nested.cry(angles[3], 1, 0)
    circuit.append(nested.to_instruction(), [0, 1])
    return circuit


@pytest.mark.parametrize(
    "circuit",
    [
        pytest.param(shared_parameter(), id="expressions of shared parameters"),
        pytest.param(every_rotation(), id="every rotation"),
        pytest.param(made_of_rotations(), id="gates made of rotations"),
        pytest.param(efficient_su2(2, reps=1), id="efficient_su2"),
    ],
)
def test_gradient_over_circuits_is_exact(vqe, ideal, circuit):
    assert_gradient_is_exact(objective_of(vqe, ideal, circuit))


def test_a_gate_without_shift_rule_is_named(vqe):
    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, [Parameter("a")]), [0])

    with pytest.raises(InvalidInputError, match="because of its instruction 'mystery': it has no"):
        vqe.read_ansatz(circuit)


def test_a_measurement_in_the_ansatz_is_refused(vqe):
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("a"), 0)
    circuit.measure_all()

    with pytest.raises(InvalidInputError, match="because of its instruction 'measure': gradients"):
        vqe.read_ansatz(circuit)


def test_control_flow_in_the_ansatz_is_refused(vqe):
    circuit = QuantumCircuit(1, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.ry(Parameter("a"), 0)

    with pytest.raises(InvalidInputError, match="because of its instruction 'if_else': gradients"):
        vqe.read_ansatz(circuit)


def test_a_circuit_without_parameters_is_refused(vqe):
    with pytest.raises(ValueError, match="no parameters"):
        vqe.read_ansatz(QuantumCircuit(1))


@pytest.mark.parametrize(
    ("paulis", "fault"),
    [
        ([["XI", 1.0], ["ZI", 1.0]], "must commute"),
        ([["XY", 0.0]], "is zero"),
    ],
)
def test_a_generator_that_is_no_excitation_is_refused(vqe, paulis, fault):
    ansatz = {"hartree_fock_bitstring": "01", "excitation_generators": [{"paulis": paulis}]}

    with pytest.raises(ValueError, match=rf"excitation_generators\[0\].*{fault}"):
        vqe.read_ansatz(ansatz)


def test_a_hamiltonian_that_is_not_hermitian_is_refused(vqe):
    with pytest.raises(ValueError, match="must be real"):
        vqe.read_hamiltonian(SparsePauliOp(["X"], [1j]))


def test_numbers_of_qubits_must_agree(vqe, ideal, messenger, inputs_for):
    inputs = inputs_for("h2_0.735", hamiltonian=[["ZZZ", 1.0]])

    with pytest.raises(ValueError, match="it has 2 qubits, the hamiltonian has 3"):
        vqe.main(ideal, messenger, **inputs)


def test_an_initial_point_of_wrong_length_is_refused(vqe, ideal, messenger, inputs_for):
    with pytest.raises(ValueError, match="the ansatz has 3 parameters"):
        vqe.main(ideal, messenger, **inputs_for("h2_0.735", initial_point=[0.0]))


def test_an_unknown_optimizer_is_refused(vqe, ideal, messenger, inputs_for):
    with pytest.raises(ValueError, match="'Adam' is not one of auto, L-BFGS-B"):
        vqe.main(ideal, messenger, **inputs_for("h2_0.735", optimizer="Adam"))
