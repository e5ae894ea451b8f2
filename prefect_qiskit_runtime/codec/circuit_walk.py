"""Walks a circuit with everything in it: control-flow blocks, boxes and gate definitions.

`count_ops()` and `circuit.data` show only the top level, so every question about a circuit ("does
it reset?", "which delays does it have?") is answered with `walk`. The module works on Qiskit
circuits but imports nothing, so that every environment of a program can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = [
    "Change",
    "Place",
    "Step",
    "Visit",
    "blocks_of",
    "describe",
    "is_custom",
    "operation_names",
    "places",
    "rewritten",
    "walk",
]

# Type checkers see the compiled classes of Qiskit as variables, and operations without the
# attributes that some of them have.
_Instruction = Any
_Operation = Any


class Step(NamedTuple):
    """One step of the path to an instruction.

    Attributes:
        position: Position of an instruction in its circuit.
        name: Name of its operation.
        part: The part of the instruction that contains the next step: "block 0", "definition",
            "base"; empty for the last step.
    """

    position: int
    name: str
    part: str = ""


@dataclass(frozen=True)
class Place:
    """A circuit that contains instructions: the outermost circuit, a block or a definition.

    Attributes:
        circuit: The circuit itself.
        path: Steps from the outermost circuit to this one; empty for the outermost.
        qubits: For each qubit of the circuit, its index in the outermost circuit.
        in_definition: Whether the path leads through a gate's definition. The bits are then
            temporary, and the instructions run only if the gate is unrolled.
    """

    circuit: QuantumCircuit
    path: tuple[Step, ...]
    qubits: tuple[int, ...]
    in_definition: bool = False


class Visit(NamedTuple):
    """One instruction on the walk."""

    instruction: _Instruction
    place: Place
    position: int

    @property
    def circuit(self) -> QuantumCircuit:
        """The circuit, block or definition that contains the instruction."""
        return self.place.circuit

    @property
    def operation(self) -> _Operation:
        """The operation. Slow for standard gates; `name` and `params` avoid creating it."""
        return self.instruction.operation

    @property
    def name(self) -> str:
        """The name of the operation."""
        return _name(self.instruction)

    @property
    def path(self) -> tuple[Step, ...]:
        """Steps from the outermost circuit to the instruction."""
        return (*self.place.path, Step(self.position, self.name))

    @property
    def qubits(self) -> tuple[int, ...]:
        """Indices, in the outermost circuit, of the qubits that the instruction acts on."""
        circuit, qubits = self.place.circuit, self.place.qubits
        return tuple(qubits[circuit.find_bit(bit).index] for bit in self.instruction.qubits)


def walk(
    circuit: QuantumCircuit, *, definitions: bool | Callable[[_Operation], bool] = False
) -> Iterator[Visit]:
    """Yield each instruction of a circuit, followed by the instructions inside it.

    Blocks of control flow and boxes are always walked.

    Args:
        circuit: The circuit.
        definitions: Whether to walk definitions of gates too, and the bases of annotated and of
            controlled operations; a function decides for each operation. Standard gates are never
            entered.

    Yields:
        The instructions in order, outer before inner.
    """
    decide = _decision(definitions)
    # A stack instead of recursion, because blocks can be nested deeply.
    stack = [_visits(_outermost(circuit))]
    while stack:
        visit = next(stack[-1], None)
        if visit is None:
            stack.pop()
            continue
        yield visit
        if not _is_standard(visit.instruction):
            stack.extend(_visits(inner) for inner in reversed(list(_inside(visit, decide))))


def places(
    circuit: QuantumCircuit, *, definitions: bool | Callable[[_Operation], bool] = False
) -> Iterator[Place]:
    """Yield a circuit and each circuit in it, empty ones too, outer before inner.

    Args:
        circuit: The circuit.
        definitions: As in `walk`.
    """
    decide = _decision(definitions)
    waiting = [_outermost(circuit)]
    while waiting:
        place = waiting.pop()
        yield place
        for visit in _visits(place):
            if not _is_standard(visit.instruction):
                waiting.extend(_inside(visit, decide))


def blocks_of(operation: _Operation) -> tuple[QuantumCircuit, ...]:
    """Return the blocks of control flow or of a box; empty for any other operation."""
    return tuple(getattr(operation, "blocks", ()))


def operation_names(
    circuit: QuantumCircuit, *, definitions: bool | Callable[[_Operation], bool] = False
) -> frozenset[str]:
    """Return the names of all operations in a circuit, its blocks and, if asked, definitions.

    Args:
        circuit: The circuit.
        definitions: As in `walk`.
    """
    return frozenset(visit.name for visit in walk(circuit, definitions=definitions))


def describe(path: tuple[Step, ...]) -> str:
    """Describe the location of an instruction in words, innermost first.

    For example "instruction 1 ('delay') in block 0 of instruction 3 ('if_else')".
    """
    words = [
        f"instruction {step.position} ({step.name!r})" if not step.part else
        f"{step.part} of instruction {step.position} ({step.name!r})"
        for step in reversed(path)
    ]  # fmt: skip
    return " in ".join(words)


def _outermost(circuit: QuantumCircuit) -> Place:
    return Place(circuit, (), tuple(range(circuit.num_qubits)))


def _decision(definitions: bool | Callable[[_Operation], bool]) -> Callable[[_Operation], bool]:
    return definitions if callable(definitions) else lambda _: bool(definitions)


def _visits(place: Place) -> Iterator[Visit]:
    for index, instruction in enumerate(place.circuit.data):
        yield Visit(instruction, place, index)


def _inside(visit: Visit, decide: Callable[[_Operation], bool]) -> Iterator[Place]:
    """Yield the circuits inside an instruction."""
    operation = visit.operation
    blocks = blocks_of(operation)
    for number, block in enumerate(blocks):
        yield _place(visit, block, f"block {number}", in_definition=visit.place.in_definition)
    if not blocks and decide(operation):
        # The base of an annotated operation is one level below it.
        modifiers = 0
        base = operation
        while (inner := getattr(base, "base_op", None)) is not None:
            base, modifiers = inner, modifiers + 1
        definition = getattr(base, "definition", None)
        if definition is not None:
            part = "definition of the base" if modifiers else "definition"
            yield _place(visit, definition, part, in_definition=True)


def _place(visit: Visit, circuit: QuantumCircuit, part: str, *, in_definition: bool) -> Place:
    path = (*visit.place.path, Step(visit.position, visit.name, part))
    # Controls of an annotated operation come before the qubits of its base.
    qubits = visit.qubits
    return Place(circuit, path, qubits[len(qubits) - circuit.num_qubits :], in_definition)


def _name(instruction: _Instruction) -> str:
    # Before Qiskit 1.1, only the operation has the name.
    name = getattr(instruction, "name", None)
    return instruction.operation.name if name is None else name


def _is_standard(instruction: _Instruction) -> bool:
    is_standard = getattr(instruction, "is_standard_gate", None)  # since Qiskit 1.2
    return False if is_standard is None else is_standard()


Change = Callable[[_Operation], "_Operation | QuantumCircuit | None"]
"""Returns an operation, a circuit whose content replaces the operation, or None to keep it."""


def rewritten(circuit: QuantumCircuit, change: Change) -> QuantumCircuit:
    """Return a circuit with some operations replaced, in blocks and definitions too.

    Args:
        circuit: The circuit; it is not changed.
        change: Called for each operation that is not a standard gate. If an operation is kept, the
            blocks of control flow, the definition of a custom gate or instruction, or the base of
            an annotated operation are rewritten in turn.

    Returns:
        The same object if nothing is replaced.
    """
    replaced: dict[int, Any] = {}
    for position, instruction in enumerate(circuit.data):
        if not _is_standard(instruction):
            new = _replacement(instruction.operation, change)
            if new is not None:
                replaced[position] = new
    if not replaced:
        return circuit
    result = circuit.copy_empty_like()
    for position, instruction in enumerate(circuit.data):
        new = replaced.get(position)
        if new is None:
            result.append(instruction)
        elif hasattr(new, "data"):  # a circuit
            result.compose(new, instruction.qubits, instruction.clbits, inplace=True, copy=False)
        else:
            result.append(instruction.replace(operation=new))
    return result


def is_custom(operation: _Operation) -> bool:
    """Return whether an operation has Qiskit's general class `Gate` or `Instruction`.

    QPY writes such operations by their definition.
    """
    kind = type(operation)
    # The class of a singleton such as `Measure()` has no module.
    home = kind.__module__ or ""
    return kind.__name__ in ("Gate", "Instruction") and home.startswith("qiskit.circuit")


def _replacement(operation: _Operation, change: Change) -> Any:
    """Return the replacement of an operation; None if it is kept."""
    new = change(operation)
    if new is not None:
        return new
    blocks = blocks_of(operation)
    if blocks:
        inner = [rewritten(block, change) for block in blocks]
        is_same = all(one is other for one, other in zip(blocks, inner, strict=True))
        return None if is_same else operation.replace_blocks(inner)
    base = getattr(operation, "base_op", None)
    if base is not None:
        inner_base = _replacement(base, change)
        return None if inner_base is None else type(operation)(inner_base, operation.modifiers)
    if is_custom(operation) and operation.definition is not None:
        definition = rewritten(operation.definition, change)
        if definition is not operation.definition:
            return _with_definition(operation, definition)
    return None


def _with_definition(operation: _Operation, definition: QuantumCircuit) -> _Operation:
    copied = operation.copy()
    copied.definition = definition
    return copied
