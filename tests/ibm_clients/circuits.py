"""Small circuits for clients of every generation. Qiskit only: see `serving`."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

HYDROGEN = SparsePauliOp(
    ["II", "IZ", "ZI", "ZZ", "XX"], [-1.052373, 0.397937, -0.397937, -0.011280, 0.180931]
)
"""Two qubits of hydrogen at 0.735 angstrom."""


def bell(*, measured: bool = False) -> QuantumCircuit:
    """Two qubits that are both 0 or both 1."""
    circuit = QuantumCircuit(2, name="bell")
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def ghz() -> QuantumCircuit:
    """Three qubits that are measured as all 0 or all 1."""
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure_all()
    return circuit
