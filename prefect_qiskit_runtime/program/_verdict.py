"""The simulator's verdict on what it ran: every result passes here before its data is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_qiskit_runtime.errors import InvalidInputError

_BYTES_PER_AMPLITUDE = 16
# Each qubit multiplies the memory of these methods by this power of two.
_DOUBLINGS_PER_QUBIT = {"statevector": 1, "density_matrix": 2}
_UNITS = ("MiB", "GiB", "TiB", "PiB", "EiB")
# Aer reports the largest 64-bit number where its own sum overflows.
_OVERFLOWED_MB = 2**63


def require_success(result: Any, *, path: str | None = None) -> None:
    """Refuse a result of which a circuit was not simulated.

    Args:
        result: The result of a run, of Qiskit's class `Result`.
        path: Path in the inputs of the list of circuits that ran, to name the one that failed.

    Raises:
        InvalidInputError: A circuit failed; the message has the simulator's reason and, if its
            memory is too small, the memory needed, the memory available and the alternatives.
    """
    if result.success:
        return
    failed = [index for index, each in enumerate(result.results) if not each.success]
    # A failed circuit has no header, and so no name.
    experiment = result.results[failed[0]] if failed else None
    entry = f"{path}[{failed[0]}]" if failed and path is not None else None
    where = "" if entry is None else f"{entry.rsplit('.', 1)[-1]}: "
    shortage = _memory_shortage(experiment)
    reason = shortage or f"it reports {(experiment or result).status!r}."
    raise InvalidInputError(
        f"{where}The simulator did not run the circuit: {reason}",
        path=entry,
        rule="circuits fit in memory" if shortage else "circuits that the simulator runs",
    )


def _memory_shortage(experiment: Any) -> str | None:
    """Return the memory needed and the alternatives; None if the failure has another reason."""
    # The status is text for people; these figures are what the simulator decided by.
    metadata: Mapping[str, Any] = getattr(experiment, "metadata", None) or {}
    method, qubits = metadata.get("method"), metadata.get("num_qubits")
    available = metadata.get("max_memory_mb")
    if method not in _DOUBLINGS_PER_QUBIT or qubits is None or not available:
        return None
    doublings = _DOUBLINGS_PER_QUBIT[method]
    needed = metadata.get("required_memory_mb", _OVERFLOWED_MB)
    if needed >= _OVERFLOWED_MB:
        needed = (_BYTES_PER_AMPLITUDE << doublings * qubits) >> 20
    if needed <= available:
        return None
    return (
        f"{qubits} qubits need {in_words(needed)} with its method {method!r}, and "
        f"{in_words(available)} are available, which is enough for "
        f"{largest_state(available, doublings)} qubits. {_ALTERNATIVES} {LIMIT_ADVICE}"
    )


def largest_state(memory_mb: int, doublings: int = 1) -> int:
    """Return how many qubits fit in memory, if each multiplies it by this power of two."""
    amplitudes = (memory_mb << 20) // _BYTES_PER_AMPLITUDE
    return (amplitudes.bit_length() - 1) // doublings


def state_vector_mb(num_qubits: int) -> int:
    """Return the memory of a state vector in MiB."""
    return (_BYTES_PER_AMPLITUDE << num_qubits) >> 20


_ALTERNATIVES = (
    "Use fewer qubits, or another method: 'stabilizer' runs Clifford circuits of any width, and "
    "'matrix_product_state' wide circuits with little entanglement."
)
LIMIT_ADVICE = (
    "Name a method with options={'simulator': {'method': 'matrix_product_state', "
    "'bond_dimension': 64}} or with the field 'simulation' of the RuntimeBackend, in a program "
    "with backend.set_options(method='matrix_product_state', "
    "matrix_product_state_max_bond_dimension=64). A limit of the bond dimension bounds time and "
    "memory, and cuts off what a more entangled state has beyond it."
)


def in_words(mebibytes: int) -> str:
    """Return an amount of memory, such as "24 GiB"."""
    unit = 0
    while mebibytes >= 10 * 1024 and unit < len(_UNITS) - 1:
        mebibytes, unit = mebibytes >> 10, unit + 1
    if mebibytes >= 10**6:
        return f"{mebibytes:.1e} {_UNITS[unit]}"
    return f"{mebibytes:,} {_UNITS[unit]}"
