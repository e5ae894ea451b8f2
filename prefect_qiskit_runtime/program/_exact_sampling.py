"""Exact probabilities of the final measurements of a circuit, for many sets of parameter values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._exact import is_unitary, state_batches
from prefect_qiskit_runtime.program.evaluations import Evaluations

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit

    from prefect_qiskit_runtime.program._simulated import SimulatedBackend

# A probability below this is a rounding error of zero.
_NEGLIGIBLE = 1e-14


def exact_probabilities(
    backend: SimulatedBackend, circuit: QuantumCircuit, values: NDArray[np.float64]
) -> list[dict[str, float]]:
    """Compute the probabilities of the outcomes that a circuit measures.

    Args:
        backend: An ideal backend.
        circuit: A circuit whose measurements come last.
        values: 2D array, each row one set of values for `circuit.parameters`.

    Returns:
        For each row, the probability of each bit string that can occur; the first classical bit
        is the last character.

    Raises:
        InvalidInputError: The circuit measures before its end, resets or branches, or is too
            large.
    """
    # Measurements in boxes and in users' instructions appear only in the compiled circuit.
    given, circuit = circuit, backend.compiler.compiled(circuit)
    evolving, sources = _without_measurements(circuit)
    compiled = backend.compiler.compiled(evolving)
    if not is_unitary(compiled):
        raise _no_distribution(circuit)
    rows = np.arange(len(values))
    evaluations = Evaluations(compiled, _columns(values, given, compiled), [], rows, rows, (0,))
    distributions: list[dict[str, float]] = []
    for _, states in state_batches(backend, compiled, evaluations):
        weights = np.abs(states) ** 2
        distributions += [_distribution(row, circuit.num_qubits, sources) for row in weights]
    return distributions


def _without_measurements(circuit: QuantumCircuit) -> tuple[QuantumCircuit, list[int | None]]:
    """Return a circuit before its measurements, and the qubit that each classical bit reads."""
    sources: list[int | None] = [None] * circuit.num_clbits
    measured: set[int] = set()
    evolving = circuit.copy_empty_like()
    for instruction in circuit.data:
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.operation.name == "measure":
            sources[circuit.find_bit(instruction.clbits[0]).index] = qubits[0]
            measured.update(qubits)
        elif instruction.operation.name != "barrier":
            if instruction.clbits or measured.intersection(qubits):
                raise _no_distribution(circuit)
            evolving.append(instruction)
    return evolving, sources


def _no_distribution(circuit: QuantumCircuit) -> InvalidInputError:
    return InvalidInputError(
        f"Circuit {circuit.name!r} measures before its end, resets or branches, so its exact "
        "distribution is not computed here: name shots.",
        rule="exact circuits measure at their end",
    )


def _columns(
    values: NDArray[np.float64], circuit: QuantumCircuit, compiled: QuantumCircuit
) -> NDArray[np.float64]:
    """Return the values of the parameters that remain after translation."""
    place = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    return values[:, [place[parameter] for parameter in compiled.parameters]]


def _distribution(
    weights: NDArray[np.float64], num_qubits: int, sources: Sequence[int | None]
) -> dict[str, float]:
    """Return the distribution of the classical bits from that of the qubits."""
    kept = sorted({qubit for qubit in sources if qubit is not None}, reverse=True)
    table = weights.reshape((2,) * num_qubits)  # the last qubit is the first axis
    others = tuple(num_qubits - 1 - qubit for qubit in range(num_qubits) if qubit not in kept)
    marginal = table.sum(axis=others).ravel()
    place = {qubit: len(kept) - 1 - index for index, qubit in enumerate(kept)}
    distribution = {}
    for outcome in np.flatnonzero(marginal > _NEGLIGIBLE).tolist():
        bits = ["0" if qubit is None else str(outcome >> place[qubit] & 1) for qubit in sources]
        distribution["".join(reversed(bits))] = float(marginal[outcome])
    return distribution
