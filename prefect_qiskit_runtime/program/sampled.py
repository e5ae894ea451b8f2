"""Expectation values from shots, with their standard errors.

The convention: the terms of all observables of a PUB are divided into groups that commute qubit by
qubit. Each group is measured with the same number of shots. In each shot, the terms of an
observable that are in the group give one number, the sum of their outcomes times coefficients.
The estimate is the sum over groups of the mean of that number; its variance is the sum over
groups of the sample variance (shots - 1) of that number, divided by the shots. So covariances
inside a group are included, and groups are independent. The reported standard deviation is the
square root: one standard error of the reported value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import PauliList

from prefect_qiskit_runtime.program._exact import BATCH_AMPLITUDES, is_unitary, state_batches
from prefect_qiskit_runtime.program._methods import methods_of
from prefect_qiskit_runtime.program._verdict import require_success
from prefect_qiskit_runtime.program.isa import require_isa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prefect_qiskit_runtime.program._simulated import SimulatedBackend
    from prefect_qiskit_runtime.program.evaluations import Evaluations
    from prefect_qiskit_runtime.program.readout import CalibrationNoise, ReadoutMitigator

# Up to this size the outcomes of a group are drawn from the probabilities of the state, which is
# simulated once; beyond, listing all outcomes costs more than simulating once per group.
_STATE_QUBITS = 14


@dataclass(frozen=True)
class Group:
    """Terms that are measured together.

    Attributes:
        places: Index of each of its terms in the list of all terms.
        z: For each term and qubit, whether the qubit is in the term.
        basis_z: For each qubit, the Z part of the measured Pauli.
        basis_x: For each qubit, the X part of the measured Pauli.
    """

    places: NDArray[np.intp]
    z: NDArray[np.bool_]
    basis_z: NDArray[np.bool_]
    basis_x: NDArray[np.bool_]

    @property
    def support(self) -> NDArray[np.intp]:
        """The qubits that are measured."""
        return np.flatnonzero(self.basis_z | self.basis_x)


@dataclass(frozen=True)
class Measurement:
    """A group, and the results that need its measurement.

    Attributes:
        group: The group.
        results: Positions in `Evaluations.rows` of the results that it contributes to.
        rows: The distinct rows of parameter values that they need.
        position: For each of `results`, its index in `rows`.
    """

    group: Group
    results: NDArray[np.intp]
    rows: NDArray[np.intp]
    position: NDArray[np.intp]


# For one circuit: the distinct outcomes (2D: outcome, qubit) and how often each occurred.
Outcomes = tuple["NDArray[np.bool_]", "NDArray[np.int64]"]


@dataclass(frozen=True)
class SampledValues:
    """Estimates in the order of `Evaluations.rows`.

    Attributes:
        values: The estimates.
        deviations: Their standard errors.
        num_groups: How many groups were measured.
        methods: The methods by which circuits were simulated.
    """

    values: NDArray[np.float64]
    deviations: NDArray[np.float64]
    num_groups: int
    methods: set[str]


def sampled_values(
    backend: SimulatedBackend,
    evaluations: Evaluations,
    shots: int,
    seed: int,
    readout: ReadoutMitigator | None = None,
) -> SampledValues:
    """Estimate expectation values from shots.

    Args:
        backend: The backend to run on.
        evaluations: The values to estimate.
        shots: Shots for each group and row of parameter values.
        seed: Seed of the samples.
        readout: The readout errors to mitigate, for all measured qubits. The standard errors are
            then those of the mitigated values, with the shot noise of the calibration.
    """
    terms, coefficients, constants = _terms(evaluations)
    values = constants[evaluations.columns].astype(float)
    variances = np.zeros(len(values))
    calibration = _calibration_errors(readout, (len(values), 2, evaluations.circuit.num_qubits))
    measurements = _measurements(evaluations, _groups(terms), coefficients)
    methods: set[str] = set()
    outcomes = _outcomes(backend, evaluations, measurements, methods, shots=shots, seed=seed)
    for measurement, of_rows in zip(measurements, outcomes, strict=True):
        weights = coefficients[:, measurement.group.places]
        signs = [_signs(measurement.group, of_row, readout) for of_row in of_rows]
        for result, row in zip(measurement.results, measurement.position, strict=True):
            of_terms = weights[evaluations.columns[result]]
            mean, variance = _moments(signs[row] @ of_terms, of_rows[row][1])
            values[result] += mean
            variances[result] += variance
            if calibration is not None:
                calibration.add(result, measurement.group, of_rows[row], signs[row] * of_terms)
    if calibration is not None:
        variances += calibration.variances()
    return SampledValues(values, np.sqrt(variances), len(measurements), methods)


class _CalibrationErrors:
    """Adds up over groups how each value depends on the calibration of the readout.

    All groups are corrected with the same calibration, so its contributions to their errors add
    up before they are squared.
    """

    def __init__(
        self, readout: ReadoutMitigator, noise: CalibrationNoise, shape: tuple[int, ...]
    ) -> None:
        self._readout = readout
        self._noise = noise
        self._slopes = np.zeros(shape)

    def add(
        self, result: int, group: Group, outcomes: Outcomes, numbers: NDArray[np.float64]
    ) -> None:
        """Add a group to a result, by its numbers for each outcome and term."""
        bits, counts = outcomes
        contributions = numbers * (counts / counts.sum())[:, np.newaxis]
        self._slopes[result] += self._readout.slopes(bits, group.z, contributions)

    def variances(self) -> NDArray[np.float64]:
        """Return the variances of all results that the shot noise of the calibration causes."""
        return self._noise.variances(self._slopes)


def _calibration_errors(
    readout: ReadoutMitigator | None, shape: tuple[int, int, int]
) -> _CalibrationErrors | None:
    if readout is None or readout.noise is None:
        return None
    return _CalibrationErrors(readout, readout.noise, shape)


def num_measured_circuits(evaluations: Evaluations) -> int:
    """Return the number of circuits needed: one for each group and row of parameter values."""
    terms, coefficients, _ = _terms(evaluations)
    measurements = _measurements(evaluations, _groups(terms), coefficients)
    return sum(len(measurement.rows) for measurement in measurements)


def _terms(
    evaluations: Evaluations,
) -> tuple[PauliList | None, NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct terms, the coefficients (observable, term), and the constants."""
    place: dict[str, int] = {}
    constants = np.zeros(len(evaluations.observables))
    entries: list[tuple[int, int, float]] = []
    for index, observable in enumerate(evaluations.observables):
        for label, coefficient in observable.to_list():
            if not label.strip("I"):
                constants[index] += np.real(coefficient)
            else:
                term = place.setdefault(label, len(place))
                entries.append((index, term, float(np.real(coefficient))))
    coefficients = np.zeros((len(evaluations.observables), len(place)))
    for index, term, coefficient in entries:
        coefficients[index, term] += coefficient
    return (PauliList(list(place)) if place else None), coefficients, constants


def _groups(terms: PauliList | None) -> list[Group]:
    if terms is None:
        return []
    place = {label: index for index, label in enumerate(terms.to_labels())}
    groups = []
    for members in terms.group_qubit_wise_commuting():
        z, x = np.array(members.z, dtype=bool), np.array(members.x, dtype=bool)
        groups.append(
            Group(
                places=np.array([place[label] for label in members.to_labels()]),
                z=z | x,
                basis_z=np.logical_or.reduce(z, axis=0),
                basis_x=np.logical_or.reduce(x, axis=0),
            )
        )
    return groups


def _measurements(
    evaluations: Evaluations, groups: list[Group], coefficients: NDArray[np.float64]
) -> list[Measurement]:
    """Return the rows to measure for each group: those whose observables have its terms."""
    measurements = []
    for group in groups:
        needed = np.any(coefficients[:, group.places] != 0, axis=1)
        results = np.flatnonzero(needed[evaluations.columns])
        rows, position = np.unique(evaluations.rows[results], return_inverse=True)
        if results.size:  # a group of terms whose coefficients are 0 need not be measured
            measurements.append(Measurement(group, results, rows, position))
    return measurements


def _signs(
    group: Group, outcomes: Outcomes, readout: ReadoutMitigator | None
) -> NDArray[np.float64]:
    """Return +1 or -1 for each outcome and term; with readout mitigated, their corrections."""
    if readout is not None:
        return readout.signs(outcomes[0], group.z)
    parity = (outcomes[0].astype(np.int32) @ group.z.T.astype(np.int32)) & 1
    return np.where(parity, -1.0, 1.0)


def _moments(numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean of a number per shot, and the variance of that mean."""
    shots = int(counts.sum())
    mean = float(counts @ numbers) / shots
    if shots == 1:
        return mean, float("nan")  # one shot gives no estimate of the spread
    return mean, float(counts @ (numbers - mean) ** 2) / (shots - 1) / shots


def _outcomes(
    backend: SimulatedBackend,
    evaluations: Evaluations,
    measurements: list[Measurement],
    methods: set[str],
    *,
    shots: int,
    seed: int,
) -> Iterable[list[Outcomes]]:
    """Yield for each measurement the outcomes of each of its rows; add to the used methods."""
    circuit = evaluations.circuit
    if not measurements:  # observables that are multiples of the identity
        return ()
    if backend.imitates_device:
        require_isa(circuit, backend.target, str(backend.name))
    # Done before parameters are bound, because binding also changes blocks of the given circuit.
    circuit = backend.compiler.compiled(circuit)
    if not backend.is_ideal:
        return _from_shots(
            backend, circuit, evaluations, measurements, methods, shots=shots, seed=seed
        )
    fits = len(evaluations.values) << circuit.num_qubits <= BATCH_AMPLITUDES
    fits = fits and circuit.num_qubits <= _STATE_QUBITS and backend.draws_from_states
    draw = fits and is_unitary(circuit)
    source = _from_states if draw else _from_shots
    return source(backend, circuit, evaluations, measurements, methods, shots=shots, seed=seed)


def _from_states(
    backend: SimulatedBackend,
    circuit: QuantumCircuit,
    evaluations: Evaluations,
    measurements: list[Measurement],
    methods: set[str],
    *,
    shots: int,
    seed: int,
) -> Iterator[list[Outcomes]]:
    """Draw outcomes from the probabilities of states that are simulated once for all groups.

    The same distribution as measuring the circuit once per group (measured for 8 qubits, 700
    gates, 76 groups: 40 times faster).
    """
    methods.add("statevector")
    states = np.concatenate([batch for _, batch in state_batches(backend, circuit, evaluations)])
    runs = sum(len(measurement.rows) for measurement in measurements)
    backend._count(circuits=runs - len(states), shots=runs * shots)
    rng = np.random.default_rng(seed)
    width = circuit.num_qubits
    table = ((np.arange(2**width)[:, None] >> np.arange(width)) & 1).astype(bool)

    def drawn(group: Group, state: NDArray[np.complex128]) -> Outcomes:
        probabilities = np.abs(_rotated(state, group, width)) ** 2
        counts = rng.multinomial(shots, probabilities / probabilities.sum())
        seen = np.flatnonzero(counts)
        return table[seen], counts[seen]

    for measurement in measurements:
        yield [drawn(measurement.group, states[row]) for row in measurement.rows]


def _rotated(state: NDArray[np.complex128], group: Group, width: int) -> NDArray[np.complex128]:
    """Turn a state so that measuring it gives the outcomes of the group's Paulis."""
    for qubit in np.flatnonzero(group.basis_x):
        halves = state.reshape(2 ** (width - 1 - qubit), 2, 2**qubit)
        upper, lower = halves[:, 0], halves[:, 1]
        if group.basis_z[qubit]:  # Y: S dagger before the Hadamard
            lower = -1j * lower
        state = np.stack([upper + lower, upper - lower], axis=1) / np.sqrt(2)
    return state.reshape(-1)


def _from_shots(
    backend: SimulatedBackend,
    circuit: QuantumCircuit,
    evaluations: Evaluations,
    measurements: list[Measurement],
    methods: set[str],
    *,
    shots: int,
    seed: int,
) -> Iterator[list[Outcomes]]:
    """Measure the circuit once per group and row, on the backend, all in one job."""
    circuits: list[QuantumCircuit] = []
    binds: list[dict[Any, Any]] = []
    for measurement in measurements:
        measured = _measured(circuit, measurement.group, backend)
        if measured.parameters and backend.is_ideal:
            circuits.append(measured)
            binds.append(evaluations.binds(measured, measurement.rows))
        else:  # the simulator's own binding is reliable only for compiled circuits
            circuits.extend(evaluations.bound(measured, int(row)) for row in measurement.rows)
    options: dict[str, Any] = {"parameter_binds": binds} if binds else {}
    result = backend.run(circuits, shots=shots, seed_simulator=seed, **options).result()
    require_success(result)
    methods |= methods_of(result)
    backend.record_methods(methods)
    index = 0
    for measurement in measurements:
        support = measurement.group.support
        all_counts = [result.data(index + row)["counts"] for row in range(len(measurement.rows))]
        index += len(all_counts)
        yield [
            _read_counts(counts, len(circuit.clbits), support, circuit.num_qubits)
            for counts in all_counts
        ]


def _measured(circuit: QuantumCircuit, group: Group, backend: SimulatedBackend) -> QuantumCircuit:
    """Add the group's measurement to a circuit, in the backend's own gates."""
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import Optimize1qGatesDecomposition

    rotation = QuantumCircuit(circuit.num_qubits)
    for qubit in np.flatnonzero(group.basis_x):
        if group.basis_z[qubit]:
            rotation.sdg(qubit)
        rotation.h(qubit)
    if not backend.is_ideal:
        rotation = PassManager([Optimize1qGatesDecomposition(target=backend.target)]).run(rotation)
    measured = circuit.copy()
    measured.compose(rotation, inplace=True)
    taken = {register.name for register in circuit.cregs}
    names = (f"observed{number}" for number in itertools.count())
    register = ClassicalRegister(
        len(group.support), next(name for name in names if name not in taken)
    )
    measured.add_register(register)
    measured.measure(group.support.tolist(), register)
    return measured


def _read_counts(
    counts: dict[str, int], shift: int, support: NDArray[np.intp], width: int
) -> Outcomes:
    """Read hexadecimal counts; the group's bits are above `shift` bits of the circuit's own."""
    num_bytes = (len(support) + 7) // 8
    packed = b"".join((int(key, 16) >> shift).to_bytes(num_bytes, "little") for key in counts)
    table = np.frombuffer(packed, dtype=np.uint8).reshape(len(counts), num_bytes)
    bits = np.unpackbits(table, axis=1, count=len(support), bitorder="little")
    outcomes = np.zeros((len(counts), width), dtype=bool)
    outcomes[:, support] = bits
    return outcomes, np.fromiter(counts.values(), dtype=np.int64, count=len(counts))
