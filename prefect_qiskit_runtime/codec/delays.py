"""Delays on the way: carried with their unit, restored, or turned into samples of a device.

QPY writes no unit: a delay of 160 us is read as one of 160 dt. So between the two ends of a job
of ours an instruction carries it, whose name says the unit. IBM's service reads plain QPY, so what
goes there is in dt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.codec.circuit_walk import Visit, describe, is_custom, rewritten, walk
from prefect_qiskit_runtime.errors import EncodingError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = [
    "CARRIED", "carried_delay", "in_dt", "pub_in_dt", "require_dt", "with_restored_delays",
]  # fmt: skip

_Operation = Any

CARRIED = "prefect_qiskit_runtime.delay."
"""How the names of instructions begin that carry a delay; the unit follows.

They have no definition, so a reader that does not know them cannot run them as something else.
"""

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}


def carried_delay(operation: _Operation) -> _Operation | None:
    """Return the instruction that carries a delay; None for what QPY brings through."""
    if operation.name != "delay" or type(operation).__name__ != "Delay" or operation.unit == "expr":
        return None
    from qiskit.circuit import Instruction

    duration = operation.params[0]
    # Qiskit 2.6 reads a delay with a parameter, also one in dt, as one that cannot be used.
    if operation.unit == "dt" and not hasattr(duration, "parameters"):
        return None
    return Instruction(CARRIED + operation.unit, 1, 0, [duration], label=operation.label)


def with_restored_delays(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit with delays in place of what carried them; the same one if it has none."""
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
        EncodingError: It has one.
    """
    first = _first_real_time(circuit)
    if first is not None:
        raise EncodingError(
            f"{describe(first.path)} waits {_duration(first.operation)}, and IBM Quantum reads "
            "delays in dt only: give it in dt, which backend.target.dt says in seconds"
        )


def _first_real_time(circuit: QuantumCircuit) -> Visit | None:
    """Return the first delay with a unit other than dt; None if there is none."""
    for visit in walk(circuit, definitions=is_custom):
        if visit.name == "delay" and getattr(visit.operation, "unit", None) in _SECONDS:
            return visit
    return None


def in_dt(circuit: QuantumCircuit, dt: float | None) -> QuantumCircuit:
    """Return a circuit whose delays are in samples of a device, rounded to the nearest.

    Args:
        circuit: The circuit; it is not changed.
        dt: Seconds of one sample; None if the device does not say.

    Raises:
        EncodingError: A delay depends on a parameter, or the device does not say its dt.
    """
    first = _first_real_time(circuit)
    if first is None:
        return circuit
    if dt is None:
        raise EncodingError(
            f"{describe(first.path)} waits {_duration(first.operation)}, and the backend does not "
            "say how long its dt is: give the delay in dt"
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


def pub_in_dt(pub: Any, dt: float | None) -> Any:
    """Return a PUB of Qiskit whose delays are in samples of a device; the same one if they are.

    Args:
        pub: A `SamplerPub` or an `EstimatorPub`.
        dt: As in `in_dt`.

    Raises:
        EncodingError: As in `in_dt`.
    """
    circuit = in_dt(pub.circuit, dt)
    if circuit is pub.circuit:
        return pub
    if hasattr(pub, "observables"):
        return type(pub)(circuit, pub.observables, pub.parameter_values, pub.precision)
    return type(pub)(circuit, pub.parameter_values, pub.shots)


def _duration(delay: _Operation) -> str:
    return f"{delay.params[0]} {delay.unit}"
