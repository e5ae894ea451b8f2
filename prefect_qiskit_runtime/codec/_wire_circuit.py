"""Circuits in a form that survives QPY unchanged.

QPY changes some circuits silently. It writes no units: a delay of 160 us is read as 160 dt. It
writes gates of Qiskit's library as the name of a class and a list of parameters; many cannot be
rebuilt from these (`AndGate`) and some become another gate (the inverse of `StatePreparation`).
Such parts are sent in another form; a part that has no such form is refused.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.codec._array_form import array_form
from prefect_qiskit_runtime.codec.circuit_walk import Visit, describe, is_custom, rewritten, walk
from prefect_qiskit_runtime.codec.delays import CARRIED, carried_delay, require_dt
from prefect_qiskit_runtime.errors import EncodingError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

_Operation = Any

_FIRST_QPY_WITH_DURATIONS = 14
# Gates without a definition are sent as their matrix up to this size: 64 KiB.
_MATRIX_QUBITS = 6

# Operations that survive QPY in every supported Qiskit, as the tests of the library check.
# All others are written and read once, alone, to see whether they survive.
_FAITHFUL = frozenset(
    {
        *("Delay", "Measure", "Reset", "Barrier", "Store", "BreakLoopOp", "ContinueLoopOp"),
        *("IfElseOp", "WhileLoopOp", "ForLoopOp", "SwitchCaseOp", "BoxOp"),
        *("UnitaryGate", "PermutationGate", "DiagonalGate", "PauliGate", "Initialize"),
        *("QFTGate", "MCXGate", "MCPhaseGate", "LinearFunction", "Clifford"),
    }
)
# Qiskit before 2.4, which the reader may have, reads these with all controls closed.
_READ_CLOSED = frozenset(
    {"MCPhaseGate", "MCU1Gate", "MCXGate", "MCXGrayCode", "MCXRecursive", "MCXVChain"}
)
# Common operations besides standard gates; none of them contains other operations.
_PLAIN = frozenset({"Measure", "Reset", "Barrier"})
# Product formulas that QPY writes completely, unlike a user's formula or exponentiation.
_FORMULAS = frozenset({"LieTrotter", "SuzukiTrotter"})


def to_wire(
    circuit: QuantumCircuit, *, is_for_ibm: bool = False, **qpy_version: Any
) -> QuantumCircuit:
    """Return a circuit that survives QPY unchanged.

    Args:
        circuit: The circuit; it is not changed.
        is_for_ibm: Whether the reader is IBM's service, which knows plain QPY only.
        qpy_version: Arguments of `qiskit.qpy.dump` that choose the version.

    Returns:
        The same object if it survives QPY unchanged. Otherwise delays are carried by instructions
        that name the unit, and gates that QPY cannot restore are replaced by their definition.

    Raises:
        EncodingError: A part of the circuit would be lost.
    """
    if not _has_classes():
        return rewritten(circuit, carried_delay)
    if _is_plain(circuit):
        return circuit
    for visit in walk(circuit, definitions=is_custom):
        _require_sendable(visit, **qpy_version)
    if is_for_ibm:
        require_dt(circuit)
    return rewritten(circuit, _Carrier(qpy_version, carries_delays=not is_for_ibm).change)


def _has_classes() -> bool:
    """Return whether this Qiskit is new enough for operations to be compared.

    Qiskit before 1.0 runs only in images for old clients.
    """
    import qiskit

    return int(qiskit.__version__.partition(".")[0]) > 0


def _is_plain(circuit: QuantumCircuit) -> bool:
    """Return whether a circuit has only standard gates, measurements, resets and barriers."""
    kinds = {type(each.operation) for each in circuit.data if not each.is_standard_gate()}
    return all(_home_of(kind)[1] in _PLAIN and _home_of(kind)[0] for kind in kinds)


def _home_of(kind: type) -> tuple[bool, str]:
    """Return whether a class belongs to Qiskit, and its name."""
    # The class of a singleton such as `Measure()` is a subclass that has no module.
    named = kind.__mro__[1] if kind.__module__ is None else kind
    return (named.__module__ or "").startswith("qiskit."), named.__name__


def _require_sendable(visit: Visit, **qpy_version: Any) -> None:
    """Refuse an instruction if QPY would lose a part of it."""
    name = visit.name
    if visit.instruction.is_standard_gate():
        return
    if name.startswith(CARRIED):
        raise EncodingError(f"{describe(visit.path)} has a name that is reserved for sent delays")
    operation = visit.operation
    if _is_of_aer(operation):
        raise EncodingError(
            f"{describe(visit.path)}, of class {type(operation).__name__}, is an instruction of "
            "the simulator Aer that QPY cannot restore. Send the circuit without it: a program "
            f"can add it where it runs, e.g. with circuit.{name}, and primitives return the "
            "measured values"
        )
    lost = _lost_attributes(operation)
    if lost:
        raise EncodingError(
            f"{describe(visit.path)}, of class {type(operation).__name__}, has no definition, and "
            f"QPY does not write its {', '.join(lost)}: give the class a definition, or put all "
            "its data in params"
        )
    unit = getattr(operation, "unit", None)
    if name == "box" and unit == "dt" and (operation.duration or 0) % 1:
        raise EncodingError(
            f"the duration of {describe(visit.path)} is {operation.duration} dt: durations in dt "
            "are whole numbers"
        )
    if unit == "expr" and _version(qpy_version) < _FIRST_QPY_WITH_DURATIONS:
        raise EncodingError(
            f"the duration of {describe(visit.path)} is an expression or a stretch, which this "
            "Qiskit cannot write: give it as a number with a unit, or use a newer Qiskit"
        )


def _lost_attributes(operation: _Operation) -> list[str]:
    """Return the custom attributes of an operation that has a user's class and no definition."""
    kind = type(operation)
    if (kind.__module__ or "qiskit.").startswith("qiskit.") or hasattr(operation, "base_op"):
        return []
    if getattr(operation, "definition", None) is not None:
        return []
    from qiskit.circuit import Instruction

    return sorted(set(vars(operation)) - set(vars(Instruction("any", 0, 0, []))))


def _is_of_aer(operation: _Operation) -> bool:
    """Return whether an operation is one of Aer's own, which has no meaning without its class."""
    home = type(operation).__module__ or ""
    return home.startswith("qiskit_aer.") and getattr(operation, "definition", None) is None


def _version(qpy_version: dict[str, Any]) -> int:
    from qiskit.qpy import common

    return qpy_version.get("version", common.QPY_VERSION)


class _Carrier:
    """Replaces the operations of one circuit that do not survive QPY."""

    def __init__(self, qpy_version: dict[str, Any], *, carries_delays: bool) -> None:
        self._qpy_version = qpy_version
        self._carries_delays = carries_delays
        self._survivors: dict[str, bool] = {}

    def change(self, operation: _Operation) -> Any:
        """Return the replacement of an operation; None if it survives QPY or only parts change."""
        carried = carried_delay(operation) if self._carries_delays else None
        if carried is not None:
            return carried
        if not _is_timed_evolution(operation) and (
            _is_faithful(operation) or self._survives(operation)
        ):
            return None
        if getattr(operation, "base_op", None) is not None:
            return self._rebased(operation)
        return self._content(operation)

    def _rebased(self, operation: _Operation) -> _Operation:
        """Return an annotated operation whose base is a gate given only by its definition.

        The gate gets a new name, because a reader could mistake the original for another gate.
        """
        base = operation.base_op
        if getattr(base, "base_op", None) is not None:
            return type(operation)(self._rebased(base), operation.modifiers)
        gate = rewritten(self._content(base), _without_barrier).to_gate()
        gate.name = f"{base.name}_by_definition"
        return type(operation)(gate, operation.modifiers)

    def _content(self, operation: _Operation) -> QuantumCircuit:
        """Return a circuit equivalent to an operation of the library.

        Definitions in the library contain custom gates with names that simulators mistake for
        other gates, such as "multiplexer": those are unrolled as well.
        """
        return rewritten(rewritten(_definition(operation), self.change), _unrolled)

    def _survives(self, operation: _Operation) -> bool:
        """Return whether an operation is the same after it is written and read."""
        try:
            key = _form_text(operation)
        # A part of it has no form, so QPY cannot write it either.
        except (TypeError, NotImplementedError):
            return False
        if key not in self._survivors:
            self._survivors[key] = self._comes_back(operation)
        return self._survivors[key]

    def _comes_back(self, operation: _Operation) -> bool:
        if _has_open_control(operation):
            return False
        from qiskit import qpy
        from qiskit.circuit import QuantumCircuit

        alone = QuantumCircuit(operation.num_qubits, operation.num_clbits)
        alone.append(operation, range(operation.num_qubits), range(operation.num_clbits))
        buffer = io.BytesIO()
        try:
            qpy.dump(alone, buffer, **self._qpy_version)
            buffer.seek(0)
            [loaded] = qpy.load(buffer)
            [arrived] = loaded.data
            return _is_same(operation, arrived.operation)
        # Constructors of the library can raise any exception if the parameters do not fit.
        except Exception:  # noqa: BLE001 - with any failure, the operation does not survive
            return False


def _definition(operation: _Operation) -> QuantumCircuit:
    """Return a circuit equivalent to an operation."""
    if _is_timed_evolution(operation):
        return _diagonal_evolution(operation)
    definition = getattr(operation, "definition", None)
    if definition is not None and definition.num_qubits == operation.num_qubits:
        return definition
    matrix = _matrix(operation)
    if matrix is not None:
        from qiskit.circuit import QuantumCircuit

        circuit = QuantumCircuit(operation.num_qubits)
        circuit.unitary(matrix, circuit.qubits)
        return circuit
    raise EncodingError(
        f"the operation {operation.name!r} of class {type(operation).__name__} cannot be read "
        "back from QPY, and has no definition to send instead: transpile the circuit first"
    )


def _is_timed_evolution(operation: _Operation) -> bool:
    """Return whether a gate is the evolution under a small matrix for a time with parameters."""
    is_small = operation.num_qubits <= _MATRIX_QUBITS
    is_hamiltonian = _home_of(type(operation)) == (True, "HamiltonianGate")
    return is_hamiltonian and is_small and operation.is_parameterized()


def _diagonal_evolution(operation: _Operation) -> QuantumCircuit:
    """Return the evolution under a matrix for a time that is a parameter.

    Qiskit defines it for numbers only. In the basis of its eigenvectors, the Hamiltonian is a sum
    of commuting Z strings, so the product formula of their evolution is exact.
    """
    import numpy as np
    from qiskit.circuit import QuantumCircuit
    from qiskit.circuit.library import PauliEvolutionGate
    from qiskit.quantum_info import Operator, SparsePauliOp

    matrix, time = operation.params
    energies, vectors = np.linalg.eigh(np.asarray(matrix))
    circuit = QuantumCircuit(operation.num_qubits)
    circuit.unitary(vectors.conj().T, circuit.qubits)
    terms = SparsePauliOp.from_operator(Operator(np.diag(energies)))
    circuit.append(PauliEvolutionGate(terms, time), circuit.qubits)
    circuit.unitary(vectors, circuit.qubits)
    return circuit


def _matrix(operation: _Operation) -> Any | None:
    """Return the matrix of a small gate; None if it has no matrix or is too large."""
    from qiskit.circuit import Gate
    from qiskit.exceptions import QiskitError

    # A delay, for example, has a matrix (the identity) but is not a gate.
    if not isinstance(operation, Gate) or operation.num_qubits > _MATRIX_QUBITS:
        return None
    try:
        return operation.to_matrix()
    except (AttributeError, QiskitError):  # evolutions in Qiskit 2.3 use a missing attribute
        return None


def _unrolled(operation: _Operation) -> QuantumCircuit | None:
    """Return the content of a custom gate or instruction; None for any other operation."""
    if not is_custom(operation) or operation.definition is None:
        return None
    return rewritten(operation.definition, _unrolled)


def _without_barrier(operation: _Operation) -> QuantumCircuit | None:
    """Return nothing in place of a barrier, which a gate cannot contain."""
    if operation.name != "barrier":
        return None
    from qiskit.circuit import QuantumCircuit

    return QuantumCircuit(operation.num_qubits)


def _is_faithful(operation: _Operation) -> bool:
    is_of_qiskit, name = _home_of(type(operation))
    if is_of_qiskit and name in _FAITHFUL:
        return not _has_open_control(operation)
    if is_of_qiskit and name == "PauliEvolutionGate":
        return _has_known_formula(operation)
    # A custom operation is written by its definition, which is checked separately.
    return is_custom(operation) and operation.definition is not None and _are_plain(operation)


def _has_open_control(operation: _Operation) -> bool:
    """Return whether a gate, or a gate at its base, would be read with closed controls."""
    base = getattr(operation, "base_op", None)
    if base is not None:
        return _has_open_control(base)
    base = getattr(operation, "base_gate", None)
    if base is None:
        return False
    is_open = operation.ctrl_state < 2**operation.num_ctrl_qubits - 1
    return (is_open and type(operation).__name__ in _READ_CLOSED) or _has_open_control(base)


def _has_known_formula(evolution: _Operation) -> bool:
    formula = evolution.synthesis
    is_of_qiskit, name = _home_of(type(formula))
    # The terms may be exponentiated by a user's function.
    is_whole = getattr(formula, "_atomic_evolution", None) is None
    return is_of_qiskit and name in _FORMULAS and is_whole


def _are_plain(operation: _Operation) -> bool:
    return all(
        isinstance(value, int | float | complex) or hasattr(value, "parameters")
        for value in operation.params
    )


def _form_text(value: Any) -> str:
    """Return a text that is the same for equal operations and circuits.

    Raises:
        TypeError: A part has no form. QPY cannot write it either.
    """
    return json.dumps(value, cls=_FormEncoder, sort_keys=True)


class _FormEncoder(json.JSONEncoder):
    """Writes the forms of operations; the encoder of inputs imports this module, so is not used."""

    def default(self, o: Any) -> Any:
        import numpy as np

        from prefect_qiskit_runtime.codec import _circuit_form

        if isinstance(o, np.ndarray) and o.dtype != object:
            return array_form(o)
        if isinstance(o, complex | np.complexfloating):
            return ["complex", float(o.real), float(o.imag)]
        if isinstance(o, np.generic):
            return o.item()
        form = _circuit_form.form_of(o, _FormEncoder)
        return super().default(o) if form is None else form


def _is_same(operation: _Operation, arrived: _Operation) -> bool:
    if getattr(operation, "base_op", None) is not None:
        # Compared as objects: the exponent of a power arrives as a float.
        has_same_modifiers = operation.modifiers == arrived.modifiers
        return has_same_modifiers and _is_same(operation.base_op, arrived.base_op)
    if _form_text(operation) != _form_text(arrived):
        return False
    # The form of a controlled gate names only its base; subclasses can add to its effect.
    if getattr(operation, "base_gate", None) is None or type(operation).__name__ == "MCXGate":
        return True
    return _form_text(operation.definition) == _form_text(arrived.definition)
