"""Compiles circuits for the simulator, once per circuit, and binds their parameters."""

from __future__ import annotations

import copy
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._flat import (
    FLOW_NAMES,
    flattened,
    needs_flattening,
    require_known_durations,
)

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

_KEPT_CIRCUITS = 16
# Widths of the targets to translate for. The last is that of Aer's stabilizer method, the one for
# the widest circuits; preparing passes for it takes 30 ms.
_WIDTHS = (64, 10_000)

# The gates whose parameters Aer binds correctly (tested with the installed Aer, for all its gates).
# In other gates `parameter_binds` has no effect, and the result is wrong without an error. In "cu",
# Aer even sets the angles of the given circuit to 0.
BINDABLE_GATES = frozenset(
    {"p", "r", "rx", "rxx", "ry", "ryy", "rz", "rzx", "rzz", "u", "u1", "u2", "u3"}
)
# Other gates with angles: they are translated into bindable gates, so that a batch can be bound.
_UNBINDABLE_GATES = frozenset(
    {
        "crx", "cry", "crz", "cp", "cu", "cu1", "cu2", "cu3", "mcphase", "mcr", "mcrx", "mcry",
        "mcrz", "mcp", "mcu", "mcu1", "mcu2", "mcu3",
    }
)  # fmt: skip

# Replaces `has_control_flow_op`, which the Qiskit of old images does not have.
_CONTROL_FLOW = frozenset({"if_else", "while_loop", "for_loop", "switch_case", "box"})


class _Kept(NamedTuple):
    """A translated circuit.

    Attributes:
        given: Refers to the given circuit: another one can get its id after it is deleted.
        copied: A copy of it at the time of the translation.
        translated: The translation.
    """

    given: weakref.ref[QuantumCircuit]
    copied: QuantumCircuit
    translated: QuantumCircuit


class CircuitCompiler:
    """Translates operations that the simulator does not know, and caches the results.

    A loop sends the same circuit repeatedly; translating 24 excitations on 8 qubits takes as long
    as simulating them for 60 parameter sets (measured: 80 ms).
    """

    def __init__(
        self,
        simulator: Any,
        *,
        translate: bool = True,
        without: frozenset[str] = frozenset(),
        noisy: bool = False,
    ) -> None:
        """Create a compiler.

        Args:
            simulator: A simulator of Aer.
            translate: Whether gates that the simulator does not know are translated; otherwise
                only blocks and boxes are.
            without: Further gates that are translated although the simulator knows them.
            noisy: Whether gates have noise by their names: those that the simulator knows then
                stay, with parameters that it does not bind too.
        """
        self._simulator = simulator
        self._translates = translate
        self._noisy = noisy
        known = {*simulator.operation_names, "barrier", *FLOW_NAMES}
        self._known_names = frozenset(known - without)
        self._avoided = _UNBINDABLE_GATES | without
        self._passes: dict[int, Any] = {}
        self._compiled: OrderedDict[int, _Kept] = OrderedDict()

    def compiled(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit of the simulator's gates; the same circuit if it needs no change.

        Raises:
            InvalidInputError: Something in it cannot be simulated; the message names it.
        """
        if self._is_ready(circuit):
            return circuit
        # Circuits can change in place, so identity is not enough: the circuit must still equal
        # the copy that was translated (0.4 ms for 700 gates).
        kept = self._compiled.get(id(circuit))
        if kept is not None and kept.given() is circuit and is_same(kept.copied, circuit):
            self._compiled.move_to_end(id(circuit))
            return kept.translated
        translated = self._translate(circuit)
        # Deep: definitions and blocks can change in place as well.
        copied = copy.deepcopy(circuit)
        self._compiled[id(circuit)] = _Kept(weakref.ref(circuit), copied, translated)
        self._compiled.move_to_end(id(circuit))
        while len(self._compiled) > _KEPT_CIRCUITS:
            self._compiled.popitem(last=False)
        return translated

    def _is_ready(self, circuit: QuantumCircuit) -> bool:
        require_known_durations(circuit)
        if not self._translates:
            return not any(needs_flattening(each.operation) for each in _unusual(circuit))
        known = self._known_names
        if not known.issuperset(circuit.count_ops()):
            return False
        if any(needs_flattening(each.operation) for each in _unusual(circuit)):
            return False
        if self._noisy or not circuit.parameters:
            return True
        return has_bindable_gates(circuit) or has_flow(circuit)

    def _translate(self, circuit: QuantumCircuit) -> QuantumCircuit:
        if any(needs_flattening(each.operation) for each in _unusual(circuit)):
            circuit = flattened(circuit)
        if not self._translates or self._is_ready(circuit):
            return circuit
        # Passes of Qiskit 2.3 end with a panic if a circuit has matrices beside gates to translate.
        if self._noisy or has_flow(circuit) or "unitary" in circuit.count_ops():
            return self._translated_one_by_one(circuit)
        return self._passes_for(circuit).run(circuit)

    def _translated_one_by_one(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Translate each unknown gate separately, so that passes see none of the other operations.

        They do not know marks and jumps.
        """
        translated: Any = circuit.copy_empty_like()
        known: dict[int, tuple[Any, QuantumCircuit]] = {}
        for instruction in circuit.data:
            if _name(instruction) in self._known_names:
                translated._append(instruction)
                continue
            operation = instruction.operation
            if id(operation) not in known:
                known[id(operation)] = operation, self._translated_gate(operation)
            part = known[id(operation)][1]
            translated.global_phase += part.global_phase
            place = dict(zip(part.qubits, instruction.qubits, strict=True))
            for each in part.data:
                translated._append(each.replace(qubits=[place[bit] for bit in each.qubits]))
        return translated

    def _translated_gate(self, operation: Any) -> QuantumCircuit:
        from qiskit.circuit import QuantumCircuit

        if operation.num_clbits:
            raise InvalidInputError(
                f"The simulator does not know the instruction {operation.name!r}, which has "
                "classical bits.",
                rule="instructions that the simulator knows",
            )
        alone = QuantumCircuit(operation.num_qubits)
        alone.append(operation, alone.qubits)
        return self._passes_for(alone).run(alone)

    def _passes_for(self, circuit: QuantumCircuit) -> Any:
        from qiskit.transpiler.preset_passmanagers import generate_preset_pass_manager

        width = next((each for each in _WIDTHS if each >= circuit.num_qubits), _WIDTHS[-1])
        if width not in self._passes:
            # Level 1 keeps every qubit in its place.
            self._passes[width] = generate_preset_pass_manager(
                optimization_level=1, target=self._target(width)
            )
        return self._passes[width]

    def _target(self, width: int) -> Any:
        """Return the simulator's target without the gates whose parameters it does not bind."""
        from qiskit.transpiler import Target

        known = self._simulator.target
        # Not the width of the simulator's target, which is the widest state vector in memory.
        target = Target(num_qubits=width)
        for name in known.operation_names:
            if name not in self._avoided:
                target.add_instruction(known.operation_from_name(name), name=name)
        return target


def bound_one_by_one(
    circuits: Sequence[QuantumCircuit], binds: Sequence[Mapping[Any, Sequence[float]]]
) -> list[QuantumCircuit]:
    """Return a circuit for each set of values, in the order in which the simulator runs them.

    Args:
        circuits: Circuits with parameters.
        binds: For each circuit, the values of each parameter.

    Raises:
        InvalidInputError: Values are missing.
    """
    if len(binds) != len(circuits):
        raise InvalidInputError(
            f"parameter_binds has {len(binds)} entries for {len(circuits)} circuits.",
            rule="an entry of parameter_binds for each circuit",
        )
    bound = []
    for circuit, columns in zip(circuits, binds, strict=True):
        missing = [each.name for each in circuit.parameters if each not in columns]
        if missing:
            raise InvalidInputError(
                f"parameter_binds has no values for {', '.join(missing)} of circuit "
                f"{circuit.name!r}.",
                rule="values for each parameter",
            )
        lengths = {len(values) for values in columns.values()} or {1}
        if len(lengths) > 1:
            raise InvalidInputError(
                f"parameter_binds of circuit {circuit.name!r} has lists of different lengths.",
                rule="as many values for each parameter",
            )
        bound += [
            circuit.assign_parameters({p: columns[p][row] for p in circuit.parameters})
            for row in range(*lengths)
        ]
    return bound


def binds_right(circuits: Sequence[QuantumCircuit]) -> bool:
    """Return whether the simulator binds the parameters of compiled circuits correctly."""
    return not any(
        circuit.parameters and (has_flow(circuit) or not has_bindable_gates(circuit))
        for circuit in circuits
    )


def has_bindable_gates(circuit: QuantumCircuit) -> bool:
    """Return whether the simulator binds all gates that have parameters."""
    return all(
        _name(instruction) in BINDABLE_GATES
        for instruction in circuit.data
        if _is_parametrised(instruction)
    )


def has_flow(circuit: QuantumCircuit) -> bool:
    """Return whether a circuit has control flow, as blocks or as marks and jumps."""
    names = circuit.count_ops().keys()
    return not (FLOW_NAMES | _CONTROL_FLOW).isdisjoint(names)


def is_same(kept: QuantumCircuit, circuit: QuantumCircuit) -> bool:
    """Return whether a circuit still equals its earlier copy."""
    return (
        kept.qubits == circuit.qubits
        and kept.clbits == circuit.clbits
        and kept.qregs == circuit.qregs
        and kept.cregs == circuit.cregs
        and kept.name == circuit.name
        and kept.metadata == circuit.metadata
        and _is_same_angle(kept.global_phase, circuit.global_phase)
        and kept.data == circuit.data
        and all(map(_has_same_parts, kept.data, circuit.data))
    )


def _is_same_angle(kept: Any, angle: Any) -> bool:
    names, others = getattr(kept, "parameters", None), getattr(angle, "parameters", None)
    if not names or not others:
        return kept == angle
    # Qiskit expands both to compare them, which takes seconds for a sum of 200 parameters.
    return names == others and str(kept) == str(angle)


def _has_same_parts(kept: Any, instruction: Any) -> bool:
    """Return whether labels and blocks are the same, which Qiskit's comparison ignores."""
    if _is_standard(kept):
        return kept.label == instruction.label
    blocks, others = blocks_of(kept.operation), blocks_of(instruction.operation)
    return (
        getattr(kept.operation, "label", None) == getattr(instruction.operation, "label", None)
        and len(blocks) == len(others)
        and all(map(_is_same_block, blocks, others))
    )


def _is_same_block(kept: QuantumCircuit, block: QuantumCircuit) -> bool:
    return (
        _is_same_angle(kept.global_phase, block.global_phase)
        and kept.qubits == block.qubits
        and kept.clbits == block.clbits
        and kept.data == block.data
        and all(map(_has_same_parts, kept.data, block.data))
    )


def _unusual(circuit: QuantumCircuit) -> list[Any]:
    """Return the instructions that are not standard gates of Qiskit."""
    return [instruction for instruction in circuit.data if not _is_standard(instruction)]


def _is_standard(instruction: Any) -> bool:
    is_standard = getattr(instruction, "is_standard_gate", None)  # since Qiskit 1.2
    return False if is_standard is None else is_standard()


def _is_parametrised(instruction: Any) -> bool:
    is_parametrised = getattr(instruction, "is_parameterized", None)  # since Qiskit 1.1
    return (
        instruction.operation.is_parameterized() if is_parametrised is None else is_parametrised()
    )


def _name(instruction: Any) -> str:
    name = getattr(instruction, "name", None)  # since Qiskit 1.1
    return instruction.operation.name if name is None else name
