"""Mitigation of readout errors: from counts to quasi-probabilities.

The method is that of Nation, Kang, Sundaresan and Gambetta, PRX Quantum 2, 040326 (2021), "M3":
each qubit's assignment matrix is calibrated on the backend, and the errors are inverted on the
bit strings that were observed, not on all possible ones. Transitions out of that set are not
corrected: the columns are normalised within it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.circuit import QuantumCircuit

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of, rewritten
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._verdict import require_success

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION_SHOTS = 10_000

# Up to this size the assignment matrix is stored (128 MiB) and inverted; beyond, rows are computed
# as the iteration needs them.
_DENSE_STRINGS = 4096
_ROWS_AT_ONCE = 512
_ITERATION_TOLERANCE = 1e-6

# The smallest allowed difference between the fractions of ones read when prepared in 1 and in 0.
_SMALLEST_CONTRAST = 0.05


@dataclass(frozen=True)
class QuasiProbabilities:
    """A mitigated distribution.

    Attributes:
        values: Quasi-probability of each bit string in the counts; they add up to 1, and some may
            be negative.
        overhead: The maximum factor by which the variance of an expectation value exceeds that of
            the same number of shots without readout errors; None if it was not computed.
    """

    values: dict[str, float]
    overhead: float | None


@dataclass(frozen=True)
class CalibrationNoise:
    """The shot noise of measured assignment matrices.

    Attributes:
        qubits: The calibrated qubits.
        covariances: Covariances of the fractions of ones read, 3D array (prepared state of all
            qubits, qubit, qubit).
    """

    qubits: list[int]
    covariances: NDArray[np.float64]

    def variances(self, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the variances of values that this noise causes, to first order.

        Args:
            slopes: Derivatives of the values by the fractions of ones read, 3D array (value,
                prepared state, physical qubit).
        """
        chosen = slopes[:, :, self.qubits]
        return np.einsum("vpi,pij,vpj->v", chosen, self.covariances, chosen, optimize=True)


class ReadoutMitigator:
    """The assignment matrices of some qubits of a backend.

    Attributes:
        matrices: For each qubit, P(read | prepared) as a 2D array (read, prepared).
        noise: The shot noise of the matrices; None if they are known exactly.
    """

    def __init__(
        self, matrices: Mapping[int, NDArray[np.float64]], noise: CalibrationNoise | None = None
    ) -> None:
        self.matrices = dict(matrices)
        self.noise = noise

    @classmethod
    def calibrate(
        cls, backend: Any, qubits: Iterable[int], *, shots: int = CALIBRATION_SHOTS, **options: Any
    ) -> ReadoutMitigator:
        """Measure the errors of qubits with two circuits: all of them in 0, and all in 1.

        Args:
            backend: The backend to run on.
            qubits: Physical qubits.
            shots: Shots of each of the two circuits.
            options: Further options of `backend.run`.

        Raises:
            InvalidInputError: The readout of a qubit does not depend on its prepared state.
        """
        ordered = sorted(set(qubits))
        circuits = [_prepared(backend, ordered, ones=ones) for ones in (False, True)]
        result = backend.run(circuits, shots=shots, **options).result()
        require_success(result)
        read = [_moments_of_ones(result.get_counts(index), len(ordered)) for index in range(2)]
        ones, covariances = zip(*read, strict=True)
        matrices = {}
        for qubit, wrong, right in zip(ordered, *ones, strict=True):
            if abs(right - wrong) < _SMALLEST_CONTRAST:
                raise InvalidInputError(
                    f"Readout errors of qubit {qubit} cannot be mitigated: it reads 1 in "
                    f"{wrong:.1%} of the shots when prepared in 0, and in {right:.1%} when "
                    "prepared in 1. Choose another qubit with `initial_layout`.",
                    rule="readout that depends on the state",
                )
            matrices[qubit] = np.array([[1 - wrong, 1 - right], [wrong, right]])
        return cls(matrices, CalibrationNoise(ordered, np.array(covariances)))

    def mitigate(self, counts: Mapping[str, int], qubits: Sequence[int]) -> QuasiProbabilities:
        """Correct the counts of one circuit.

        Args:
            counts: How often each bit string was measured.
            qubits: The physical qubit of each bit, starting with the rightmost bit.
        """
        strings = list(counts)
        bits = np.array([[int(bit) for bit in reversed(string)] for string in strings])
        shots = np.array(list(counts.values()), dtype=float)
        matrix = _SubspaceMatrix(bits, [self.matrices[qubit] for qubit in qubits])
        values, overhead = matrix.solve(shots / shots.sum())
        return QuasiProbabilities(dict(zip(strings, values.tolist(), strict=True)), overhead)

    def signs(self, outcomes: NDArray[np.bool_], terms: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return values that replace the signs of outcomes, so that means have no readout error.

        Args:
            outcomes: 2D array (outcome, physical qubit).
            terms: 2D array (term, physical qubit): which qubits have a Pauli in the term.

        Returns:
            2D array (outcome, term); without readout errors +1 or -1.
        """
        signs = np.ones((len(outcomes), len(terms)))
        for qubit in np.flatnonzero(terms.any(axis=0)):
            of_outcome = self._corrected(int(qubit))[outcomes[:, qubit].astype(int)]
            signs *= np.where(terms[:, qubit], of_outcome[:, np.newaxis], 1.0)
        return signs

    def slopes(
        self,
        outcomes: NDArray[np.bool_],
        terms: NDArray[np.bool_],
        contributions: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return how a sum of contributions changes with the fractions of ones of the calibration.

        Args:
            outcomes: 2D array (outcome, physical qubit).
            terms: 2D array (term, physical qubit): which qubits have a Pauli in the term.
            contributions: 2D array (outcome, term): what is added up, each a multiple of its
                element of `signs`.

        Returns:
            2D array (prepared state, physical qubit) of derivatives.
        """
        slopes = np.zeros((2, terms.shape[1]))
        for qubit in np.flatnonzero(terms.any(axis=0)):
            corrected = self._corrected(int(qubit))
            by_read = contributions[:, terms[:, qubit]].sum(axis=1)
            read = np.array([by_read[outcomes[:, qubit] == bit].sum() for bit in (False, True)])
            wrong, right = self.matrices[int(qubit)][1]
            # A sign s is corrected to c = (s - 1 + wrong + right) / (right - wrong), so
            # dc/dwrong = (1 + c) / (right - wrong) and dc/dright = (1 - c) / (right - wrong).
            # |c| is at least 1, so a contribution can be divided by it.
            changes = np.array([1 + corrected, 1 - corrected]) / (right - wrong)
            slopes[:, qubit] = changes @ (read / corrected)
        return slopes

    def _corrected(self, qubit: int) -> NDArray[np.float64]:
        """Return what replaces the signs of a read 0 and a read 1 of a qubit."""
        wrong, right = self.matrices[qubit][1]
        return (np.array([1.0, -1.0]) - 1 + wrong + right) / (right - wrong)


class _SubspaceMatrix:
    """P(read | true) between observed bit strings, each column divided by its sum."""

    def __init__(self, bits: NDArray[Any], factors: Sequence[NDArray[np.float64]]) -> None:
        self._bits = bits
        self._factors = factors

    def solve(self, read: NDArray[np.float64]) -> tuple[NDArray[np.float64], float | None]:
        """Return the true distribution that leads to the distribution `read`, and the overhead."""
        if len(read) > _DENSE_STRINGS:
            return self._solve_iteratively(read), None
        matrix = self._rows(0, len(read))
        inverse = np.linalg.inv(matrix / matrix.sum(axis=0))
        return inverse @ read, float(np.abs(inverse).sum(axis=0).max() ** 2)

    def _solve_iteratively(self, read: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.sparse import linalg

        # Type checkers do not see that its constructor accepts functions.
        linear_operator: Any = linalg.LinearOperator
        size = len(read)
        sums = sum(rows.sum(axis=0) for rows in self._blocks(size))
        diagonal = np.concatenate(
            [np.diagonal(rows, offset=start) for start, rows in self._placed_blocks(size)]
        )

        def apply(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            scaled = vector.ravel() / sums
            return np.concatenate([rows @ scaled for rows in self._blocks(size)])

        operator = linear_operator((size, size), matvec=apply, dtype=float)
        preconditioner = linear_operator(
            (size, size), matvec=lambda vector: vector.ravel() * sums / diagonal, dtype=float
        )
        values, failure = linalg.gmres(
            operator, read, x0=read, rtol=_ITERATION_TOLERANCE, M=preconditioner
        )
        if failure:
            raise InvalidInputError(
                f"The mitigation of {size} observed bit strings did not converge: take more "
                "shots or measure fewer qubits.",
                rule="a mitigation that converges",
            )
        return values

    def _blocks(self, size: int) -> Iterable[NDArray[np.float64]]:
        return (rows for _, rows in self._placed_blocks(size))

    def _placed_blocks(self, size: int) -> Iterable[tuple[int, NDArray[np.float64]]]:
        for start in range(0, size, _ROWS_AT_ONCE):
            yield start, self._rows(start, min(start + _ROWS_AT_ONCE, size))

    def _rows(self, start: int, stop: int) -> NDArray[np.float64]:
        rows = np.ones((stop - start, len(self._bits)))
        for place, factor in enumerate(self._factors):
            rows *= factor[np.ix_(self._bits[start:stop, place], self._bits[:, place])]
        return rows


def final_measurements(circuit: QuantumCircuit) -> dict[int, int]:
    """Return the qubits that a circuit measures at its end, with their classical bits.

    Args:
        circuit: A circuit of physical qubits.

    Returns:
        Classical bit by qubit, in the order of the bits. A measured qubit with a later operation
        is left out.

    Raises:
        InvalidInputError: Nothing is measured at the end.
    """
    circuit = rewritten(circuit, _measuring_content)
    qubit_place = {bit: place for place, bit in enumerate(circuit.qubits)}
    clbit_place = {bit: place for place, bit in enumerate(circuit.clbits)}
    used: set[Any] = set()
    found: dict[int, int] = {}
    for instruction in reversed(circuit.data):
        name = instruction.operation.name
        if name in ("barrier", "delay"):
            continue
        bits = {*instruction.qubits, *instruction.clbits}
        if name == "measure" and used.isdisjoint(bits):
            found[qubit_place[instruction.qubits[0]]] = clbit_place[instruction.clbits[0]]
        used |= bits
    if not found:
        raise InvalidInputError(
            f"Circuit {circuit.name!r} measures nothing at its end, so there are no readout "
            "errors to mitigate: measure, or leave the mitigation out.",
            rule="measurements at the end",
        )
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _measuring_content(operation: Any) -> QuantumCircuit | None:
    """Return the content of a box, or of a user's instruction that may measure, at the top."""
    if operation.name == "box" and blocks_of(operation):
        (content,) = blocks_of(operation)
    elif operation.num_clbits and not blocks_of(operation):
        content = operation.definition
    else:
        return None
    return None if content is None else rewritten(content, _measuring_content)


def _prepared(backend: Any, qubits: Sequence[int], *, ones: bool) -> QuantumCircuit:
    from qiskit import transpile

    circuit = QuantumCircuit(max(qubits) + 1, len(qubits))
    if ones:
        circuit.x(qubits)
    circuit.measure(qubits, range(len(qubits)))
    # Each qubit must stay in place, because its own errors are measured.
    return transpile(
        circuit,
        target=backend.target,
        initial_layout=list(range(circuit.num_qubits)),
        optimization_level=0,
    )


def _moments_of_ones(
    counts: Mapping[str, int], width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fraction of ones of each bit, and the covariances of these fractions."""
    bits = np.array([[bit == "1" for bit in reversed(string)] for string in counts], dtype=float)
    times = np.array(list(counts.values()), dtype=float)
    fractions = times @ bits / times.sum()
    covariances = np.cov(bits, rowvar=False, fweights=list(counts.values())) / times.sum()
    return fractions, covariances.reshape(width, width)
