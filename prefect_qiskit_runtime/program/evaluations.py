"""The parts of an estimator PUB: rows of parameter values, observables, and their combinations."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program.constructs import require_few_projectors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

_PAULIS = frozenset("IXYZ")


@dataclass(frozen=True)
class Evaluations:
    """The expectation values that an estimator PUB requests.

    Attributes:
        circuit: The circuit of the PUB.
        values: 2D array, each row one set of values for `circuit.parameters`.
        observables: The distinct positions of the PUB's array of observables, flattened.
        rows: For each result, flattened, its row of `values`.
        columns: For each result, flattened, its index in `observables`.
        shape: Shape of the results.
    """

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    observables: list[SparsePauliOp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, pub: EstimatorPub) -> Evaluations:
        """Split a PUB into its parts."""
        circuit = pub.circuit
        table = np.asarray(pub.parameter_values.as_array(circuit.parameters), dtype=float)
        terms = np.asarray(pub.observables)
        count = math.prod(table.shape[:-1])
        rows, columns = np.broadcast_arrays(
            np.arange(count).reshape(table.shape[:-1]),
            np.arange(terms.size).reshape(terms.shape),
        )
        return cls(
            circuit=circuit,
            values=table.reshape(count, -1) if table.size else np.zeros((count, 0)),
            observables=[_operator(tuple(observable.items())) for observable in terms.ravel()],
            rows=rows.ravel(),
            columns=columns.ravel(),
            shape=rows.shape,
        )

    def by_observable(self) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Yield each observable with the positions of its results."""
        for column in range(len(self.observables)):
            yield column, np.flatnonzero(self.columns == column)

    def bound(self, circuit: QuantumCircuit, row: int) -> QuantumCircuit:
        """Return a circuit derived from this one with its parameters set to a row."""
        given = dict(zip(self.circuit.parameters, self.values[row].tolist(), strict=True))
        return circuit.assign_parameters({p: given[p] for p in circuit.parameters})

    def binds(self, circuit: QuantumCircuit, rows: Any) -> dict[Any, list[float]]:
        """Return values for a circuit derived from this one, in the form for the simulator.

        Args:
            circuit: The circuit; it may lack parameters on which nothing depends.
            rows: Which rows of `values`.
        """
        place = {parameter: index for index, parameter in enumerate(self.circuit.parameters)}
        return {p: self.values[rows, place[p]].tolist() for p in circuit.parameters}


# A loop requests the same observables each time; parsing 276 terms takes 6 ms.
@functools.lru_cache(maxsize=64)
def _operator(terms: tuple[tuple[str, float], ...]) -> SparsePauliOp:
    labels, coefficients = [label for label, _ in terms], [value for _, value in terms]
    if np.iscomplexobj(coefficients) and np.any(np.imag(coefficients)):
        raise InvalidInputError(
            "An observable has complex coefficients, so it is not Hermitian and has no "
            "expectation value to measure. Estimate its real and imaginary part apart.",
            rule="observables are Hermitian",
        )
    if all(_PAULIS.issuperset(label) for label in labels):
        return SparsePauliOp(labels, np.real(coefficients))
    # Projectors (0, 1, +, -, r, l), which Qiskit allows in observables since 2.0.
    from qiskit.quantum_info import SparseObservable

    require_few_projectors(labels)
    projectors = SparseObservable.from_list(list(terms))
    return SparsePauliOp.from_sparse_observable(projectors.as_paulis())
