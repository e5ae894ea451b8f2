"""Mitigation of readout errors against distributions and errors that are known."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError
from scipy.stats import chi2

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program import ProgramBackend, readout as _readout
from prefect_qiskit_runtime.program.estimator import ProgramEstimator
from prefect_qiskit_runtime.program.readout import ReadoutMitigator, final_measurements

ERRORS = {0: np.array([[0.95, 0.1], [0.05, 0.9]]), 1: np.array([[0.9, 0.2], [0.1, 0.8]])}


def read(true: dict[str, float]) -> dict[str, int]:
    """The counts that a distribution of two bits gives on average, of a billion shots."""
    probabilities = np.array([true.get(f"{value:02b}", 0.0) for value in range(4)])
    values = np.kron(ERRORS[1], ERRORS[0]) @ probabilities
    return {f"{value:02b}": round(1e9 * each) for value, each in enumerate(values)}


def noisy_backend(matrix: np.ndarray) -> ProgramBackend:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError(matrix.T.tolist()))
    backend = ProgramBackend.from_name("aer_simulator")
    backend.set_options(noise_model=noise)
    return backend


def test_the_true_distribution_comes_back() -> None:
    true = {"00": 0.5, "11": 0.3, "10": 0.2}
    quasi = ReadoutMitigator(ERRORS).mitigate(read(true), [0, 1])
    assert quasi.values == pytest.approx({**true, "01": 0.0}, abs=1e-8)
    inverse = np.linalg.inv(np.kron(ERRORS[1], ERRORS[0]))
    assert quasi.overhead == pytest.approx(np.linalg.norm(inverse, 1) ** 2)


def test_many_bit_strings_are_mitigated_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    matrices = {}
    for qubit, (wrong, right) in enumerate(rng.uniform([0, 0.85], [0.1, 1], (8, 2))):
        matrices[qubit] = np.array([[1 - wrong, 1 - right], [wrong, right]])
    strings = {f"{value:08b}": int(rng.integers(1, 100)) for value in range(0, 256, 3)}
    mitigator = ReadoutMitigator(matrices)
    direct = mitigator.mitigate(strings, range(8))
    monkeypatch.setattr(_readout, "_DENSE_STRINGS", 10)
    monkeypatch.setattr(_readout, "_ROWS_AT_ONCE", 7)
    iterated = mitigator.mitigate(strings, range(8))
    assert iterated.values == pytest.approx(direct.values, abs=1e-6)
    assert (iterated.overhead, sum(iterated.values.values())) == (None, pytest.approx(1, abs=1e-5))


def test_the_calibration_finds_the_errors_of_each_qubit() -> None:
    found = ReadoutMitigator.calibrate(noisy_backend(ERRORS[1]), [3, 1], seed_simulator=1)
    assert sorted(found.matrices) == [1, 3]
    for matrix in found.matrices.values():
        assert matrix == pytest.approx(ERRORS[1], abs=0.02)
        assert matrix.sum(axis=0) == pytest.approx([1, 1])


def test_a_qubit_that_reads_the_same_in_any_state_is_refused() -> None:
    backend = noisy_backend(np.array([[0.5, 0.5], [0.5, 0.5]]))
    with pytest.raises(InvalidInputError, match=r"qubit 0 cannot be mitigated: it reads 1 in"):
        ReadoutMitigator.calibrate(backend, [0], seed_simulator=1)


def test_mitigated_expectation_values_are_unbiased_and_their_errors_cover_it() -> None:
    backend = noisy_backend(ERRORS[1])
    readout = ReadoutMitigator(dict.fromkeys((0, 1), ERRORS[1]))
    circuit = QuantumCircuit(2)
    circuit.ry(1.0, 0)
    circuit.cx(0, 1)
    exact = {"ZZ": 1.0, "IZ": np.cos(1.0), "XX": np.sin(1.0)}
    for pauli, value in exact.items():
        deviations = []
        for seed in range(30):
            estimator = ProgramEstimator(backend, shots=500, seed=seed, readout=readout)
            data = estimator.run([(circuit, pauli)]).result()[0].data
            deviations.append((float(data.evs) - value) / float(data.stds))
        assert abs(np.mean(deviations)) < 4 / np.sqrt(30)
        assert 0.6 < np.std(deviations) < 1.5


SEEDS = 200


def spreads(calibration_shots: int, shots: int) -> dict[str, float]:
    """The spread of the distances from the exact values, in units of the stated errors.

    Each seed has its own calibration. The observables have one group, two groups with common
    qubits, and a product of two qubits.
    """
    backend = noisy_backend(ERRORS[1])
    circuit = QuantumCircuit(2)
    circuit.ry(0.4, 0)
    circuit.cx(0, 1)
    exact = {
        "IZ": np.cos(0.4),
        "ZZ": 1.0,
        "IZ + ZI + XX": 2 * np.cos(0.4) + np.sin(0.4),
    }
    observables = [SparsePauliOp(name.split(" + ")) for name in exact]
    distances = []
    for seed in range(SEEDS):
        readout = ReadoutMitigator.calibrate(
            backend, [0, 1], shots=calibration_shots, seed_simulator=seed
        )
        estimator = ProgramEstimator(backend, shots=shots, seed=seed + SEEDS, readout=readout)
        data = estimator.run([(circuit, observables)]).result()[0].data
        distances.append((data.evs - list(exact.values())) / data.stds)
    roots = np.sqrt(np.mean(np.square(distances), axis=0))
    return dict(zip(exact, roots.tolist(), strict=True))


@pytest.mark.parametrize(("calibration_shots", "shots"), [(2000, 2000), (2000, 20000)])
def test_the_errors_of_mitigated_values_cover_the_shot_noise_of_the_calibration(
    calibration_shots: int, shots: int
) -> None:
    # 200 times the square has a chi-square distribution with 200 degrees of freedom: each of six
    # spreads is outside these limits in 1 of 10,000 cases, so a false alarm is 1 in 1600.
    low, high = np.sqrt(chi2.ppf([5e-5, 1 - 5e-5], SEEDS) / SEEDS)
    for name, spread in spreads(calibration_shots, shots).items():
        assert low < spread < high, name


def test_measurements_that_something_follows_are_not_final() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.measure(0, 2)
    circuit.x(0)
    circuit.measure(2, 1)
    circuit.measure(1, 0)
    circuit.barrier()
    assert final_measurements(circuit) == {1: 0, 2: 1}
    with pytest.raises(InvalidInputError, match="measures nothing at its end"):
        final_measurements(QuantumCircuit(1))
