"""Puts the content of a box into the circuit around it.

Qiskit's `QuantumCircuit.compose` does not do it for every box: bits of the blocks inside the
content keep their old places, and it fails at a condition on a bit that only such a block has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qiskit.circuit import ClassicalRegister, Clbit, QuantumCircuit

from prefect_qiskit_runtime.codec.circuit_walk import blocks_of


def unbox(
    instruction: Any, body: QuantumCircuit, circuit: QuantumCircuit, free_names: Iterator[str]
) -> None:
    """Append the content of a box to a circuit, between barriers.

    Args:
        instruction: The box, on bits of the circuit.
        body: Its content.
        circuit: The circuit; it gets the variables of the content, and registers for conditions
            on registers that only the content has.
        free_names: Names for such registers.
    """
    circuit.barrier(instruction.qubits)
    for variable in body.iter_declared_vars():
        circuit.add_uninitialized_var(variable)
    for stretch in body.iter_declared_stretches():
        circuit.add_stretch(stretch)
    circuit.global_phase += body.global_phase
    bits = dict(zip(body.qubits, instruction.qubits, strict=True))
    bits.update(zip(body.clbits, instruction.clbits, strict=True))
    _Mover(circuit, free_names).copy(body, circuit, bits)
    circuit.barrier(instruction.qubits)


class _Mover:
    """Moves instructions, and the blocks in them, to the bits of a circuit."""

    def __init__(self, circuit: QuantumCircuit, free_names: Iterator[str]) -> None:
        self._circuit = circuit
        self._free_names = free_names

    def copy(self, source: QuantumCircuit, target: Any, bits: Mapping[Any, Any]) -> None:
        """Append the instructions of a circuit, of whose bits `bits` has the places."""
        for instruction in source.data:
            qubits = [bits[bit] for bit in instruction.qubits]
            clbits = [bits[bit] for bit in instruction.clbits]
            operation = self._operation(instruction.operation, qubits, clbits, bits)
            # Not `append`, which requires registers of conditions to be in a block.
            target._append(instruction.replace(operation=operation, qubits=qubits, clbits=clbits))

    def _operation(
        self, operation: Any, qubits: list[Any], clbits: list[Any], bits: Mapping[Any, Any]
    ) -> Any:
        if operation.name == "store":
            values = (self._value(each, bits) for each in (operation.lvalue, operation.rvalue))
            return type(operation)(*values)
        if not (blocks := blocks_of(operation)):
            return operation
        moved = operation.replace_blocks(
            [self._block(block, qubits, clbits, bits) for block in blocks]
        )
        for name in ("condition", "target"):
            if (value := getattr(operation, name, None)) is not None:
                setattr(moved, name, self._condition(value, bits))
        return moved

    def _block(
        self, block: QuantumCircuit, qubits: list[Any], clbits: list[Any], bits: Mapping[Any, Any]
    ) -> QuantumCircuit:
        """Return a block on the given bits of the circuit."""
        inside = {**bits, **dict(zip(block.qubits, qubits, strict=True))}
        inside.update(zip(block.clbits, clbits, strict=True))
        moved = QuantumCircuit(
            qubits, clbits, name=block.name, global_phase=block.global_phase,
            metadata=block.metadata, captures=block.iter_captures(),
        )  # fmt: skip
        for register in block.cregs:
            moved.add_register(self._register(register, inside))
        for variable in block.iter_declared_vars():
            moved.add_uninitialized_var(variable)
        for stretch in block.iter_declared_stretches():
            moved.add_stretch(stretch)
        self.copy(block, moved, inside)
        return moved

    # --- conditions ------------------------------------------------------------------------

    def _condition(self, condition: Any, bits: Mapping[Any, Any]) -> Any:
        if isinstance(condition, tuple):
            target, value = condition
            return self._place(target, bits), value
        if isinstance(condition, (Clbit, ClassicalRegister)):
            return self._place(condition, bits)
        return self._value(condition, bits)

    def _place(self, target: Any, bits: Mapping[Any, Any]) -> Any:
        return bits[target] if isinstance(target, Clbit) else self._register(target, bits)

    def _register(self, register: Any, bits: Mapping[Any, Any]) -> Any:
        places = [bits[bit] for bit in register]
        for known in self._circuit.cregs:
            if list(known) == places:
                return known
        added = ClassicalRegister(name=next(self._free_names), bits=places)
        self._circuit.add_register(added)
        return added

    def _value(self, node: Any, bits: Mapping[Any, Any]) -> Any:
        from qiskit.circuit.classical import expr

        if isinstance(node, expr.Var):
            is_place = isinstance(node.var, (Clbit, ClassicalRegister))
            return expr.Var(self._place(node.var, bits), node.type) if is_place else node
        if isinstance(node, expr.Cast):
            return expr.Cast(self._value(node.operand, bits), node.type, node.implicit)
        if isinstance(node, expr.Unary):
            return expr.Unary(node.op, self._value(node.operand, bits), node.type)
        if isinstance(node, expr.Binary):
            sides = self._value(node.left, bits), self._value(node.right, bits)
            return expr.Binary(node.op, *sides, node.type)
        if isinstance(node, expr.Index):
            parts = self._value(node.target, bits), self._value(node.index, bits)
            return expr.Index(*parts, node.type)
        return node
