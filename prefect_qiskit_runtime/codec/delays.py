"""Delays in sent circuits: carried with their unit, restored, or turned into device samples.

QPY writes no unit: a delay of 160 us is read as 160 dt. Between the two ends of our own jobs, an
instruction whose name contains the unit therefore carries the delay. IBM's service reads plain
QPY, so delays are sent there in dt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prefect_qiskit_runtime.codec.circuit_walk import Visit, describe, is_custom, rewritten, walk
from prefect_qiskit_runtime.errors import EncodingError, InvalidInputError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = [
    "CARRIED", "HeldDelays", "carried_delay", "in_dt", "require_dt", "with_circuit",
    "with_plain_durations", "with_restored_delays",
]  # fmt: skip

_Operation = Any

CARRIED = "prefect_qiskit_runtime.delay."
"""The prefix of the names of instructions that carry a delay; the unit follows.

They have no definition, so a reader that does not know them cannot run them as another operation.
"""

_STEP = 2**20
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}


def carried_delay(operation: _Operation) -> _Operation | None:
    """Return the instruction that carries a delay; None for operations that survive QPY."""
    if operation.name != "delay" or type(operation).__name__ != "Delay" or operation.unit == "expr":
        return None
    from qiskit.circuit import Instruction

    duration = operation.params[0]
    # Qiskit 2.6 reads a delay with a parameter, even in dt, as an unusable delay.
    if operation.unit == "dt" and not hasattr(duration, "parameters"):
        return None
    return Instruction(CARRIED + operation.unit, 1, 0, [duration], label=operation.label)


def with_restored_delays(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit with its carried delays restored; the same circuit if it has none."""
    return rewritten(circuit, _restored_delay)


def _restored_delay(operation: _Operation) -> _Operation | None:
    if not operation.name.startswith(CARRIED):
        return None
    from qiskit.circuit import Delay

    delay: Any = Delay(operation.params[0], operation.name.removeprefix(CARRIED))
    delay.label = operation.label
    return delay


def require_dt(circuit: QuantumCircuit) -> None:
    """Refuse a circuit that has a delay with a unit other than dt, which IBM would misread.

    Raises:
        EncodingError: The circuit has such a delay.
    """
    first = _first_real_time(circuit)
    if first is not None:
        raise EncodingError(
            f"{describe(first.path)} waits {_duration(first.operation)}, and IBM Quantum reads "
            "delays in dt only: give it in dt; backend.target.dt is the length of one dt in seconds"
        )


def _first_real_time(circuit: QuantumCircuit) -> Visit | None:
    """Return the first delay with a unit other than dt, or None."""
    for visit in walk(circuit, definitions=is_custom):
        if visit.name == "delay" and getattr(visit.operation, "unit", None) in _SECONDS:
            return visit
    return None


def in_dt(circuit: QuantumCircuit, dt: float | None) -> QuantumCircuit:
    """Return a circuit whose delays are in samples of a device, rounded to the nearest.

    Args:
        circuit: The circuit; it is not changed.
        dt: Seconds of one sample; None if the device does not report it.

    Raises:
        EncodingError: A delay depends on a parameter, or the device does not report its dt.
    """
    first = _first_real_time(circuit)
    if first is None:
        return circuit
    if dt is None:
        raise EncodingError(
            f"{describe(first.path)} waits {_duration(first.operation)}, and the backend does not "
            "report the length of its dt: give the delay in dt"
        )

    def change(operation: _Operation) -> _Operation | None:
        seconds = _SECONDS.get(getattr(operation, "unit", None) or "")
        if operation.name != "delay" or seconds is None:
            return None
        from qiskit.circuit import Delay

        value = operation.params[0]
        if hasattr(value, "parameters"):
            raise EncodingError(
                f"a delay of {_duration(operation)} cannot be turned into the backend's dt before "
                "its parameters have values: assign them, or give the delay in dt"
            )
        delay: Any = Delay(round(value * seconds / dt), "dt")
        delay.label = operation.label
        return delay

    return rewritten(circuit, change)


def with_plain_durations(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit whose delays have numbers in place of constant duration expressions.

    Raises:
        InvalidInputError: A delay depends on a stretch or a variable, or adds times to dt.
    """
    return rewritten(circuit, _plain_delay)


def _plain_delay(operation: _Operation) -> _Operation | None:
    if operation.name != "delay" or getattr(operation, "unit", None) != "expr":
        return None
    from qiskit.circuit import Delay

    length = _computed(operation.params[0])
    if length is None or length.unit not in ("s", "dt"):
        raise InvalidInputError(
            "The duration of a delay cannot be computed before it is scheduled: it depends on "
            "a stretch or a variable, or adds times to dt. Give it a number with a unit, such as "
            "circuit.delay(160, 0, 'us').",
            rule="durations of delays are known",
        )
    value = round(length.value) if length.unit == "dt" else length.value
    delay: Any = Delay(value, length.unit)
    delay.label = operation.label
    return delay


class _Quantity(NamedTuple):
    """A number with the unit "s" or "dt", or without a unit."""

    value: float
    unit: str


def _computed(node: Any) -> _Quantity | None:
    """Return the value of an expression; None if it is not yet known."""
    from qiskit.circuit import Duration
    from qiskit.circuit.classical import expr

    if isinstance(node, expr.Cast):
        return _computed(node.operand)
    if isinstance(node, expr.Value):
        if not isinstance(node.value, Duration):
            return _Quantity(float(node.value), "")
        unit = node.value.unit()
        scale = _SECONDS.get(unit)
        value = float(node.value.value())
        return _Quantity(value, unit) if scale is None else _Quantity(value * scale, "s")
    if not isinstance(node, expr.Binary):
        return None
    left, right = _computed(node.left), _computed(node.right)
    return None if left is None or right is None else _combined(node.op.name, left, right)


def _combined(operator: str, left: _Quantity, right: _Quantity) -> _Quantity | None:
    if operator in ("ADD", "SUB") and left.unit == right.unit:
        return _Quantity(
            left.value + (right.value if operator == "ADD" else -right.value), left.unit
        )
    if operator == "MUL" and "" in (left.unit, right.unit):
        return _Quantity(left.value * right.value, left.unit or right.unit)
    if operator == "DIV" and right.value:
        if right.unit == left.unit:
            return _Quantity(left.value / right.value, "")
        if not right.unit:
            return _Quantity(left.value / right.value, left.unit)
    return None


class HeldDelays:
    """Hides delays from a transpiler, which accepts only numbers that fit the device's timing.

    Each is replaced by a delay with a unique number of samples, and restored afterwards:
    `held.restored(passes.run(held.circuit))`.

    Attributes:
        circuit: The circuit for the transpiler; the given circuit if it has no such delay.
    """

    def __init__(self, circuit: QuantumCircuit, *, numbers: bool = False) -> None:
        """Replace the delays with parameters in a copy of a circuit.

        Args:
            circuit: The circuit.
            numbers: Whether to replace delays without parameters too. A simulated device runs a
                delay of any length; Qiskit's scheduling for a device refuses some.
        """
        self._numbers = numbers
        self._held: dict[int, _Operation] = {}
        lengths = [
            visit.operation.params[0] for visit in walk(circuit) if _is_delay_in(visit, "dt")
        ]
        # Far larger than any alignment that a device may require, and a multiple of it.
        self._first = _STEP + max((int(each) for each in lengths if _is_number(each)), default=0)
        self._first -= self._first % _STEP
        self.circuit = rewritten(circuit, self._hold)

    def restored(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a transpiled circuit with the original delays restored."""
        return rewritten(circuit, self._restore) if self._held else circuit

    def _hold(self, operation: _Operation) -> _Operation | None:
        from qiskit.circuit import Delay

        if type(operation) is not Delay:
            return None
        if not (self._numbers or hasattr(operation.params[0], "parameters")):
            return None
        length = self._first + len(self._held) * _STEP
        self._held[length] = operation
        return Delay(length, "dt")

    def _restore(self, operation: _Operation) -> _Operation | None:
        if operation.name != "delay" or operation.unit != "dt":
            return None
        return self._held.get(operation.params[0])


def _is_delay_in(visit: Visit, unit: str) -> bool:
    return visit.name == "delay" and getattr(visit.operation, "unit", None) == unit


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def with_circuit(pub: Any, circuit: QuantumCircuit) -> Any:
    """Return a `SamplerPub` or `EstimatorPub` with another circuit of the same parameters."""
    if circuit is pub.circuit:
        return pub
    if hasattr(pub, "observables"):
        return type(pub)(circuit, pub.observables, pub.parameter_values, pub.precision)
    return type(pub)(circuit, pub.parameter_values, pub.shots)


def _duration(delay: _Operation) -> str:
    return f"{delay.params[0]} {delay.unit}"
