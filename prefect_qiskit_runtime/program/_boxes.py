"""Circuits without boxes, which simulators do not run."""

from __future__ import annotations

from qiskit.circuit import QuantumCircuit


def without_boxes(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit with the contents of each box between two barriers in its place."""
    if not any(instruction.operation.name == "box" for instruction in circuit.data):
        return circuit
    flat = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.operation.name != "box":
            flat.append(instruction)
            continue
        (body,) = instruction.operation.blocks
        flat.barrier(instruction.qubits)
        flat.compose(
            without_boxes(body), instruction.qubits, instruction.clbits, inplace=True, copy=False
        )
        flat.barrier(instruction.qubits)
    return flat
