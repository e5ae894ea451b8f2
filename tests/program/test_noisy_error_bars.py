"""The stated standard error on a noisy backend covers what the noise leaves of the exact value.

That value comes from density matrices under the same noise model, with the readout errors applied
to their diagonals: nothing of the estimator is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Pauli, SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from prefect_qiskit_runtime import primitives
from prefect_qiskit_runtime.program import ProgramBackend
from tests.program.test_error_bars import assert_nominal, flat, pubs, pulls

DEVICE = "fake_manila"


def some_pubs(rows: int) -> list[tuple[Any, ...]]:
    """The PUBs of the noiseless tests with so many rows of parameter values."""
    (circuit, observables, values), without_parameters = pubs()
    return [(circuit, observables, values[:rows]), without_parameters]


@cache
def isa_pubs(rows: int) -> list[EstimatorPub]:
    """The PUBs for the device, observables with their layout."""
    passes = generate_preset_pass_manager(1, backend=FakeManilaV2(), seed_transpiler=3)
    made = []
    for circuit, observables, *values in some_pubs(rows):
        isa = passes.run(circuit)
        moved = [
            [one.apply_layout(isa.layout) for one in row]
            if isinstance(row, list)
            else row.apply_layout(isa.layout)
            for row in observables
        ]
        made.append(EstimatorPub.coerce((isa, moved, *values)))
    return made


@cache
def noisy_values(rows: int) -> NDArray[np.float64]:
    """The values of the observables under the noise, in the order of `flat`."""
    values = []
    for pub in isa_pubs(rows):
        bound = pub.parameter_values.bind_all(pub.circuit)
        observables, circuits = np.broadcast_arrays(np.asarray(pub.observables), bound)
        values += [
            sum(c * noisy_expectation(circuit, term) for term, c in observable.items())
            for observable, circuit in zip(observables.flat, circuits.flat, strict=True)
        ]
    return np.array(values)


def noisy_expectation(circuit: QuantumCircuit, label: str) -> float:
    """Measure one Pauli as the device would, without shots."""
    pauli = Pauli(label)
    measured = circuit.copy()
    for qubit in np.flatnonzero(pauli.x):
        if not pauli.z[qubit]:  # for Y, the rz before the sx has no noise
            measured.rz(np.pi / 2, int(qubit))
        measured.sx(int(qubit))
        measured.rz(np.pi / 2, int(qubit))
    support = [int(qubit) for qubit in np.flatnonzero(pauli.x | pauli.z)]
    if not support:
        return 1.0
    measured.save_density_matrix(support)
    state = simulator().run(measured).result().data()["density_matrix"]
    chances = np.real(np.diag(np.asarray(state))).reshape([2] * len(support))  # last qubit first
    for axis, qubit in enumerate(reversed(support)):
        chances = np.moveaxis(np.tensordot(readout()[qubit].T, chances, axes=(1, axis)), 0, axis)
    signs = [(-1) ** index.bit_count() for index in range(chances.size)]
    return float(chances.reshape(-1) @ signs)


@cache
def noise() -> NoiseModel:
    return NoiseModel.from_backend(FakeManilaV2())


@cache
def simulator() -> AerSimulator:
    return AerSimulator(method="density_matrix", noise_model=noise())


@cache
def readout() -> dict[int, NDArray[np.float64]]:
    """For each qubit the probability of each outcome (column) in each state (row)."""
    return {
        error["gate_qubits"][0][0]: np.array(error["probabilities"])
        for error in noise().to_dict()["errors"]
        if error["type"] == "roerror"
    }


def measured(num_seeds: int, rows: int) -> Iterator[Any]:
    device = ProgramBackend.from_name(DEVICE)
    for seed in range(num_seeds):
        yield device.estimator(shots=500, seed=seed).run(isa_pubs(rows)).result()


@pytest.fixture(scope="module")
def over_100_seeds() -> list[Any]:
    return list(measured(100, rows=1))


def test_a_single_pauli_loses_what_the_device_says() -> None:
    flip = QuantumCircuit(5)
    flip.x(2)
    lost = 1 - noisy_expectation(flip, "IIZII") / -1
    reported = FakeManilaV2().target["measure"][(2,)].error
    assert lost == pytest.approx(2 * reported, rel=0.1)
    identity = SparsePauliOp("IIIII")
    assert noisy_expectation(flip, identity.paulis[0].to_label()) == 1


def test_over_100_seeds_the_interval_covers_the_noisy_value_at_its_rate(
    over_100_seeds: list[Any],
) -> None:
    found = pulls(iter(over_100_seeds), noisy_values(1))
    assert_nominal(found)
    for factor in (4 / 3, 2 / 3):
        with pytest.raises(AssertionError):
            assert_nominal(found * factor)


def test_the_value_without_noise_would_not_be_covered(over_100_seeds: list[Any]) -> None:
    ideal = flat(StatevectorEstimator().run(some_pubs(1)).result(), "evs")
    assert np.max(np.abs(noisy_values(1) - ideal)) > 0.1
    with pytest.raises(AssertionError):
        assert_nominal(pulls(iter(over_100_seeds), ideal))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_over_1000_seeds_the_interval_covers_the_noisy_value_at_its_rate() -> None:
    assert_nominal(pulls(measured(1000, rows=2), noisy_values(2)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("service_home")
def test_so_it_does_for_jobs_of_the_service() -> None:
    def results() -> Iterator[Any]:
        for seed in range(120):
            yield primitives.run_estimator.fn(
                isa_pubs(2), backend=DEVICE, precision=0.05, seed=seed
            )

    assert_nominal(pulls(results(), noisy_values(2)))
