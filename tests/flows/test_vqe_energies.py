"""The energies that the VQE program finds where they are exact."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

MOLECULES = Path(__file__).parents[2] / "flows" / "molecules"
ALL = sorted(path.stem for path in MOLECULES.glob("*.json"))
SMALL = [name for name in ALL if not name.endswith("8q")]


def test_every_small_molecule_is_tested():
    assert len(SMALL) == 18


@pytest.mark.parametrize("name", SMALL)
def test_small_molecules_reach_the_exact_energy(vqe, ideal, messenger, molecules, inputs_for, name):
    molecule = molecules.load_molecule(name)

    result = vqe.main(ideal, messenger, **inputs_for(name))

    assert result["converged"] is True
    assert result["estimation"] == "exact"
    assert result["std"] == 0
    assert abs(molecule.error_millihartree(result["energy"])) < 0.1
    assert molecule.correlation_recovered(result["energy"]) >= 0.98
    assert min(result["energies"]) >= molecule.exact_ground_energy - 1e-9
    assert result["energy"] >= molecule.exact_ground_energy - 1e-9


def test_eight_qubits_reach_chemical_accuracy_within_a_minute(
    vqe, ideal, messenger, molecules, inputs_for
):
    molecule = molecules.load_molecule("lih_1.595_8q")
    started = time.monotonic()

    result = vqe.main(ideal, messenger, **inputs_for("lih_1.595_8q"))

    assert time.monotonic() - started < 60
    assert -1e-6 < molecule.error_millihartree(result["energy"]) < 1.6


@pytest.mark.parametrize("optimizer", ["L-BFGS-B", "SLSQP", "COBYLA"])
def test_every_deterministic_optimizer_reaches_the_exact_energy(
    vqe, ideal, messenger, molecules, inputs_for, optimizer
):
    molecule = molecules.load_molecule("lih_2.600_4q")

    result = vqe.main(
        ideal, messenger, **inputs_for("lih_2.600_4q", optimizer=optimizer, maxiter=500)
    )

    assert result["optimizer"] == optimizer
    assert result["converged"] is True
    assert abs(molecule.error_millihartree(result["energy"])) < 0.1


def test_a_circuit_is_an_ansatz(vqe, ideal, messenger, molecules, inputs_for):
    molecule = molecules.load_molecule("lih_1.595_4q")
    circuit = QuantumCircuit(4)
    circuit.x([0, 1])
    circuit.compose(efficient_su2(4, su2_gates=["ry"], reps=2), inplace=True)

    result = vqe.main(
        ideal, messenger, **inputs_for("lih_1.595_4q", ansatz=circuit, seed=1, maxiter=200)
    )

    assert len(result["parameters"]) == circuit.num_parameters
    assert abs(molecule.error_millihartree(result["energy"])) < 0.1


def test_the_hamiltonian_may_be_an_operator(vqe, ideal, messenger, inputs_for):
    inputs = inputs_for("h2_0.735")
    as_list = vqe.main(ideal, messenger, **inputs)
    inputs["hamiltonian"] = SparsePauliOp.from_list(inputs["hamiltonian"])

    as_operator = vqe.main(ideal, messenger, **inputs)

    assert as_operator["energy"] == pytest.approx(as_list["energy"], abs=1e-12)


def test_iterations_are_published_from_the_starting_point_on(
    vqe, ideal, messenger, molecules, inputs_for
):
    molecule = molecules.load_molecule("lih_1.595_4q")

    result = vqe.main(ideal, messenger, **inputs_for("lih_1.595_4q"))

    numbers = [message["iteration"] for message in messenger.messages]
    assert numbers == list(range(result["iterations"] + 1))
    first, last = messenger.messages[0], messenger.messages[-1]
    assert first["energy"] == pytest.approx(molecule.hartree_fock_energy, abs=1e-10)
    assert first["parameters"] == [0.0] * 8
    assert last["gradient_norm"] < 1e-3
    assert [message["energy"] for message in messenger.messages] == result["energies"]


def test_energy_and_gradient_of_a_step_are_one_estimator_call(vqe, ideal, messenger, inputs_for):
    result = vqe.main(ideal, messenger, **inputs_for("h2_0.735", maxiter=1))

    # Two singles with two shifts each, one double with four, the point itself; twice without.
    steps = result["estimator_calls"] - 2
    assert result["evaluations"] == 2 + steps * (1 + 2 + 2 + 4)


def test_maxiter_ends_the_loop_and_says_so(vqe, ideal, messenger, inputs_for):
    result = vqe.main(ideal, messenger, **inputs_for("lih_1.595_4q", maxiter=2))

    assert result["iterations"] == 2
    assert result["converged"] is False
    assert "LIMIT" in result["message"]


@pytest.mark.parametrize("optimizer", ["COBYLA", "L-BFGS-B", "SLSQP", "SPSA"])
@pytest.mark.parametrize("maxiter", [1, 3])
def test_no_optimizer_makes_more_iterations_than_maxiter(
    vqe, ideal, messenger, inputs_for, optimizer, maxiter
):
    result = vqe.main(
        ideal, messenger, **inputs_for("lih_1.595_4q", optimizer=optimizer, maxiter=maxiter)
    )

    # The starting point is number 0; SPSA reports the point from which each iteration starts.
    assert result["iterations"] == maxiter
    assert len(messenger.messages) == maxiter + 1
    assert not result["converged"]


def test_cobyla_that_is_cut_says_so_and_returns_its_best_point(vqe, ideal, messenger, inputs_for):
    result = vqe.main(ideal, messenger, **inputs_for("lih_1.595_4q", optimizer="COBYLA", maxiter=3))

    assert result["message"] == "COBYLA: ended after maxiter=3 iterations"
    assert result["evaluations"] == 1 + 3 + 1  # the start and the end
    assert result["energy"] == pytest.approx(min(result["energies"]), abs=1e-12)


def test_the_initial_point_is_where_it_starts(vqe, ideal, messenger, inputs_for):
    best = vqe.main(ideal, messenger, **inputs_for("h2_0.735"))
    messenger.messages.clear()

    vqe.main(ideal, messenger, **inputs_for("h2_0.735", initial_point=best["parameters"]))

    assert messenger.messages[0]["energy"] == pytest.approx(best["energy"], abs=1e-12)
