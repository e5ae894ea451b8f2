"""Says whether a circuit is one that a backend, or a sampler, can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.codec.circuit_walk import walk
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._flat import FLOW_NAMES
from prefect_qiskit_runtime.program._genuine import class_of, is_genuine

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit.transpiler import Target

# Operations of the simulator besides gates. A device would not run them either, but the program
# has requested each explicitly.
_SIMULATOR_PREFIXES = ("save_", "set_")
_SIMULATOR_NAMES = frozenset(
    {
        "barrier", "store", "kraus", "superop", "quantum_channel", "roerror",
        "break_loop", "continue_loop", *FLOW_NAMES,
    }
)  # fmt: skip


def require_isa(circuit: QuantumCircuit, target: Target, backend_name: str) -> None:
    """Refuse a circuit that the device could not run.

    Noise is known only for the device's own instructions: any others would run without noise.

    Raises:
        InvalidInputError: The circuit is too wide, or has an instruction the device lacks.
    """
    require_untimed_boxes(circuit, backend_name)
    width = target.num_qubits
    if width is not None and circuit.num_qubits > width:
        fault = f"it has {circuit.num_qubits} qubits, the backend {width}"
    else:
        fault = _first_fault(circuit, target, list(range(circuit.num_qubits)))
    if fault is None:
        return
    raise InvalidInputError(
        f"Circuit {circuit.name!r} is not in the instruction set of {backend_name}: {fault}. "
        "Transpile it first: generate_preset_pass_manager(optimization_level=1, "
        "backend=backend).run(circuit); observables follow with "
        "observable.apply_layout(circuit.layout).",
        rule="circuits are in the instruction set of the backend",
    )


def require_untimed_boxes(circuit: QuantumCircuit, backend_name: str) -> None:
    """Refuse a circuit with a box whose duration a device would fill with idle time.

    Only delays idle on a simulated device, so its qubits would lose less than on the device.

    Raises:
        InvalidInputError: A box has a duration.
    """
    for visit in walk(circuit):
        if visit.name == "box" and getattr(visit.operation, "duration", None) is not None:
            raise InvalidInputError(
                f"Circuit {circuit.name!r} has a box with a duration, and {backend_name} simulates "
                "idle time in delays only: the rest of the box would have no noise. Remove the "
                "duration, and add delays to the qubits that wait.",
                rule="boxes have no duration on simulated devices",
            )


def require_registers(circuit: QuantumCircuit) -> None:
    """Refuse a circuit for which a sampler has nothing to return.

    Raises:
        InvalidInputError: The circuit has no classical register.
    """
    if not circuit.cregs:
        raise InvalidInputError(
            f"Circuit {circuit.name!r} has no classical register, so it has no results: measure "
            "into one, for example with circuit.measure_all().",
            rule="circuits of the sampler have classical registers",
        )


def _first_fault(circuit: QuantumCircuit, target: Target, qubits: list[int]) -> str | None:
    """Return the first fault in a circuit or block whose qubits are `qubits` of the device."""
    position = {bit: qubits[index] for index, bit in enumerate(circuit.qubits)}
    supported: dict[tuple[str, tuple[int, ...]], bool] = {}
    for instruction in circuit.data:
        operation: Any = instruction.operation
        places = tuple(position[bit] for bit in instruction.qubits)
        blocks = getattr(operation, "blocks", ())
        if blocks:
            for block in blocks:
                if fault := _first_fault(block, target, list(places)):
                    return fault
            continue
        name = operation.name
        if not _is_what_its_name_says(operation, target):
            return f"its {name!r} on qubits {places} is a gate of that name with another definition"
        if name in _SIMULATOR_NAMES or name.startswith(_SIMULATOR_PREFIXES):
            continue
        key = (name, places)
        if key not in supported:
            supported[key] = target.instruction_supported(name, places)
        if not supported[key]:
            return f"it has no {name!r} on qubits {places}"
    return None


def _is_what_its_name_says(operation: Any, target: Target) -> bool:
    name = operation.name
    if is_genuine(operation):
        return True
    if name in target.operation_names:  # it may be an opaque gate of the device itself
        own = class_of(operation) is class_of(target.operation_from_name(name))
        return own and getattr(operation, "definition", None) is None
    # Any other name of a user's gate is refused for not being in the target.
    return name not in _SIMULATOR_NAMES and not name.startswith(_SIMULATOR_PREFIXES)
