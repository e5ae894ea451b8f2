"""Checks whether an operation really is the one that its name suggests.

Simulators and transpilers rely on names: a sub-circuit called "cx" runs as a CNOT, and one called
"diagonal" aborts the process. The definition of a gate is decisive, so an operation is used by its
name only if it has the class with that name in Qiskit or Aer.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of, places
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._unboxing import unbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qiskit.circuit import QuantumCircuit

# Classes of operations whose name the user chooses.
_NAMED_BY_USERS = frozenset({"Instruction", "Gate", "ControlledGate", "Operation"})
# Not all of `qiskit.`: gates read from OpenQASM have names from the text.
_HOMES = (
    "qiskit.circuit.", "qiskit.quantum_info.", "qiskit.extensions.", "qiskit.synthesis.",
    "qiskit_aer.",
)  # fmt: skip
# By name, the classes of Qiskit that Aer accepts besides the standard gates.
_CLASSES = {
    "barrier": {"Barrier"},
    "diagonal": {"DiagonalGate", "Diagonal"},
    "initialize": {"Initialize"},
    "mcp": {"MCPhaseGate"},
    "mcphase": {"MCPhaseGate"},
    "mcu1": {"MCU1Gate"},
    "mcx": {"MCXGate", "C3XGate", "C4XGate"},
    "mcx_gray": {"MCXGrayCode"},
    "multiplexer": {"UCGate"},
    "pauli": {"PauliGate"},
    "unitary": {"UnitaryGate"},
    "store": {"Store"},
    "for_loop": {"ForLoopOp"},
    "while_loop": {"WhileLoopOp"},
    "if_else": {"IfElseOp"},
    "switch_case": {"SwitchCaseOp"},
    "break_loop": {"BreakLoopOp"},
    "continue_loop": {"ContinueLoopOp"},
    "box": {"BoxOp"},
}
# Channels that Qiskit and Aer create as plain instructions, fully described by their parameters.
_CHANNELS = frozenset({"kraus", "superop", "roerror"})


def is_genuine(operation: Any) -> bool:
    """Return whether an operation is the one that Qiskit or Aer use under its name.

    If neither knows the name: whether it has a class of Qiskit, so that it is translated by
    Qiskit's rules for that class.
    """
    kind = class_of(operation)
    name = operation.name
    home = kind.__module__ or ""
    if kind.__name__ in _NAMED_BY_USERS or not home.startswith(_HOMES):
        return name in _CHANNELS and getattr(operation, "definition", None) is None
    if name in _CLASSES:
        return kind.__name__ in _CLASSES[name]
    standard = _standard_classes().get(name)
    return standard is None or kind is standard


def is_plain(operation: Any) -> bool:
    """Return whether an operation and its base are the ones that their names suggest."""
    if not is_genuine(operation):
        return False
    inner = getattr(operation, "base_op", None) or getattr(operation, "base_gate", None)
    return inner is None or is_plain(inner)


def definition_of(operation: Any, circuit_name: str) -> QuantumCircuit:
    """Return the definition of a user's gate.

    Raises:
        InvalidInputError: The gate has no definition.
    """
    definition = getattr(operation, "definition", None)
    if definition is None:
        raise InvalidInputError(
            f"Circuit {circuit_name!r} has an instruction {operation.name!r} without a "
            "definition, and it is not Qiskit's instruction of that name: nothing says what it "
            "does. Give it a definition, or use Qiskit's class.",
            rule="gates have a definition",
        )
    return definition


def ready_for_transpiler(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit without boxes, in which no user's gate has the name of another gate.

    Transpilers then use the definition of each. The content of a box is put between barriers.

    Raises:
        InvalidInputError: A gate has no definition.
    """
    return Renamer(circuit).renamed(circuit)


class Renamer:
    """Renames the users' gates in one circuit."""

    def __init__(self, outermost: QuantumCircuit) -> None:
        self._circuit_name = outermost.name
        self._numbers: Iterator[int] = count()
        self._free_names = _free_register_names(outermost)

    def renamed(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return the circuit, or a block or definition in it, with such gates renamed."""
        if all(_is_standard(instruction) for instruction in circuit.data):
            return circuit
        copy: Any = circuit.copy_empty_like()
        for instruction in circuit.data:
            operation = instruction.operation
            if operation.name == "box" and blocks_of(operation):
                (body,) = operation.blocks
                unbox(instruction, self.renamed(body), copy, self._free_names)
                continue
            new = operation if _is_standard(instruction) else self.operation(operation)
            copy._append(
                instruction.replace(operation=new) if new is not operation else instruction
            )
        return copy

    def operation(self, operation: Any) -> Any:
        """Return the operation under a unique name, if it needs one."""
        if blocks := blocks_of(operation):
            return operation.replace_blocks([self.renamed(block) for block in blocks])
        if is_plain(operation):
            return operation
        if (base := getattr(operation, "base_op", None)) is not None:
            return type(operation)(self.operation(base), operation.modifiers)
        return self._custom(operation)

    def _custom(self, operation: Any) -> Any:
        from qiskit.circuit import Gate, Instruction

        definition = self.renamed(definition_of(operation, self._circuit_name))
        name = f"custom_{next(self._numbers)}"
        # A circuit finds the parameters of a definition only through the gate's own parameters.
        parameters = list(definition.parameters)
        if operation.num_clbits:
            new: Any = Instruction(name, operation.num_qubits, operation.num_clbits, parameters)
        else:
            new = Gate(name, operation.num_qubits, parameters)
        new.definition = definition
        if (condition := getattr(operation, "condition", None)) is not None:  # before Qiskit 2.0
            new.condition = condition
        return new


def _free_register_names(circuit: QuantumCircuit) -> Iterator[str]:
    taken = {register.name for place in places(circuit) for register in place.circuit.cregs}
    yield from (name for number in count() if (name := f"box_bits{number}") not in taken)


def _is_standard(instruction: Any) -> bool:
    is_standard = getattr(instruction, "is_standard_gate", None)  # since Qiskit 1.2
    return False if is_standard is None else is_standard()


def class_of(operation: Any) -> type:
    """Return the public class of an operation."""
    # Gates without parameters are singletons, whose class is generated by Qiskit.
    return getattr(operation, "base_class", type(operation))


@cache
def _standard_classes() -> dict[str, type]:
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

    return {
        name: class_of(operation) for name, operation in get_standard_gate_name_mapping().items()
    }
