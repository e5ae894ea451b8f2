"""Small circuits that tests of several rooms run."""

from __future__ import annotations

from qiskit import QuantumCircuit


def bell(*, measured: bool = False) -> QuantumCircuit:
    """Two qubits that are both 0 or both 1."""
    circuit = QuantumCircuit(2, name="bell")
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def flip() -> QuantumCircuit:
    """One qubit that is measured as 1."""
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    return circuit
