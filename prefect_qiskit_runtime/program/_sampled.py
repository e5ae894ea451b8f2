"""Expectation values from shots, with their standard errors.

The convention: the terms of all observables of a PUB are put into groups that commute qubit by
qubit. Each group is measured with the same number of shots. In each shot, the terms of an
observable that are in the group give one number, the sum of their outcomes times coefficients.
The estimate is the sum over groups of the mean of that number; its variance is the sum over
groups of the sample variance (shots - 1) of that number, divided by the shots. So covariances
inside a group are included, and groups are independent. The reported standard deviation is the
square root: one standard error of the reported value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import PauliList

from prefect_qiskit_runtime.program._exact import is_unitary, state_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prefect_qiskit_runtime.program._backend import ProgramBackend
    from prefect_qiskit_runtime.program._pubs import Evaluations

# Up to here the outcomes of a group are drawn from the probabilities of the state, which is
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


# A group and rows of parameter values in; for each row the outcomes (2D: outcome, qubit of the
# circuit) and how often each came.
Outcomes = list[tuple["NDArray[np.bool_]", "NDArray[np.int64]"]]
Source = Callable[[Group, "NDArray[np.intp]"], Outcomes]


@dataclass(frozen=True)
class SampledValues:
    """Estimates in the order of `Evaluations.rows`, and how many groups were measured."""

    values: NDArray[np.float64]
    deviations: NDArray[np.float64]
    num_groups: int


def sampled_values(
    backend: ProgramBackend, evaluations: Evaluations, shots: int, seed: int
) -> SampledValues:
    """Estimate expectation values from shots.

    Args:
        backend: Where to run.
        evaluations: What to estimate.
        shots: Shots for each group and row of parameter values.
        seed: Seed of the samples.
    """
    terms, coefficients, constants = _terms(evaluations)
    values = constants[evaluations.columns].astype(float)
    variances = np.zeros(len(values))
    groups = _groups(terms)
    source = _source(backend, evaluations, groups, shots=shots, seed=seed)
    for group in groups:
        weights = coefficients[:, group.places]
        wanted = np.flatnonzero(np.any(weights[evaluations.columns] != 0, axis=1))
        rows, position = np.unique(evaluations.rows[wanted], return_inverse=True)
        signs = [_signs(group, *outcomes) for outcomes in source(group, rows)]
        for result, row in zip(wanted, position, strict=True):
            sign, counts = signs[row]
            mean, variance = _moments(sign @ weights[evaluations.columns[result]], counts)
            values[result] += mean
            variances[result] += variance
    return SampledValues(values, np.sqrt(variances), len(groups))


def _terms(
    evaluations: Evaluations,
) -> tuple[PauliList | None, NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct terms, the coefficients (observable, term), and the constants."""
    place: dict[str, int] = {}
    constants = np.zeros(len(evaluations.observables))
    entries: list[tuple[int, int, float]] = []
    for index, observable in enumerate(evaluations.observables):
        for label, coefficient in observable.to_list():
            if set(label) == {"I"}:
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


def _signs(
    group: Group, outcomes: NDArray[np.bool_], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return +1 or -1 for each outcome and term, and the counts of the outcomes."""
    parity = (outcomes.astype(np.int32) @ group.z.T.astype(np.int32)) & 1
    return np.where(parity, -1.0, 1.0), counts


def _moments(numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean of a number per shot, and the variance of that mean."""
    shots = int(counts.sum())
    mean = float(counts @ numbers) / shots
    if shots == 1:
        return mean, float("nan")  # one shot says nothing of its spread
    return mean, float(counts @ (numbers - mean) ** 2) / (shots - 1) / shots


def _source(
    backend: ProgramBackend,
    evaluations: Evaluations,
    groups: list[Group],
    *,
    shots: int,
    seed: int,
) -> Source:
    if backend.is_ideal and evaluations.circuit.num_qubits <= _STATE_QUBITS:
        circuit = backend.compiler.compiled(evaluations.circuit)
        if is_unitary(circuit):
            return _state_source(backend, circuit, evaluations, groups, shots=shots, seed=seed)
    return _shot_source(backend, evaluations, shots, seed)


def _state_source(
    backend: ProgramBackend,
    circuit: QuantumCircuit,
    evaluations: Evaluations,
    groups: list[Group],
    *,
    shots: int,
    seed: int,
) -> Source:
    """Draw outcomes from the probabilities of states that are simulated once for all groups.

    The same distribution as measuring the circuit once per group (measured for 100 parameter
    sets of 8 qubits in 60 groups: 60 times faster).
    """
    states = np.concatenate([batch for _, batch in state_batches(backend, circuit, evaluations)])
    backend._count(
        circuits=len(states) * (len(groups) - 1), shots=shots * len(states) * len(groups)
    )
    rng = np.random.default_rng(seed)
    width = circuit.num_qubits
    all_outcomes = ((np.arange(2**width)[:, None] >> np.arange(width)) & 1).astype(bool)

    def draw(group: Group, rows: NDArray[np.intp]) -> Outcomes:
        drawn: Outcomes = []
        for state in states[rows]:
            probabilities = np.abs(_rotated(state, group, width)) ** 2
            counts = rng.multinomial(shots, probabilities / probabilities.sum())
            seen = np.flatnonzero(counts)
            drawn.append((all_outcomes[seen], counts[seen]))
        return drawn

    return draw


def _rotated(state: NDArray[np.complex128], group: Group, width: int) -> NDArray[np.complex128]:
    """Turn a state so that measuring it gives the outcomes of the group's Paulis."""
    for qubit in np.flatnonzero(group.basis_x):
        halves = state.reshape(2 ** (width - 1 - qubit), 2, 2**qubit)
        upper, lower = halves[:, 0], halves[:, 1]
        if group.basis_z[qubit]:  # Y: S dagger before the Hadamard
            lower = -1j * lower
        state = np.stack([upper + lower, upper - lower], axis=1) / np.sqrt(2)
    return state.reshape(-1)


def _shot_source(
    backend: ProgramBackend, evaluations: Evaluations, shots: int, seed: int
) -> Source:
    """Measure the circuit once per group, on the backend."""
    circuit = evaluations.circuit
    if backend.is_ideal:
        circuit = backend.compiler.compiled(circuit)
    seeds = np.random.default_rng(seed)

    def measure(group: Group, rows: NDArray[np.intp]) -> Outcomes:
        measured = _measured(circuit, group, backend)
        options: dict[str, Any] = {"shots": shots, "seed_simulator": int(seeds.integers(2**31))}
        binds = evaluations.binds(measured, rows)
        # A circuit without parameters is the same for all rows, but its shots are not.
        circuits = [measured] if binds else [measured] * len(rows)
        result = backend.run(circuits, parameter_binds=binds, **options).result()
        if not result.success:
            raise RuntimeError(f"The simulation failed: {result.status}")
        shift = len(circuit.clbits)
        return [
            _outcomes(result.data(index)["counts"], shift, group.support, circuit.num_qubits)
            for index in range(len(rows))
        ]

    return measure


def _measured(circuit: QuantumCircuit, group: Group, backend: ProgramBackend) -> QuantumCircuit:
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
    register = ClassicalRegister(len(group.support))
    measured.add_register(register)
    measured.measure(group.support.tolist(), register)
    return measured


def _outcomes(
    counts: dict[str, int], shift: int, support: NDArray[np.intp], width: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Read hexadecimal counts; the group's bits are above `shift` bits of the circuit's own."""
    num_bytes = (len(support) + 7) // 8
    packed = b"".join((int(key, 16) >> shift).to_bytes(num_bytes, "little") for key in counts)
    table = np.frombuffer(packed, dtype=np.uint8).reshape(len(counts), num_bytes)
    bits = np.unpackbits(table, axis=1, count=len(support), bitorder="little")
    outcomes = np.zeros((len(counts), width), dtype=bool)
    outcomes[:, support] = bits
    return outcomes, np.fromiter(counts.values(), dtype=np.int64, count=len(counts))
