"""Small circuits that tests of several rooms run; old clients run those of `ibm_clients` too."""

from __future__ import annotations

from qiskit import QuantumCircuit

from tests.ibm_clients.circuits import HYDROGEN, bell, ghz

__all__ = ["HYDROGEN", "bell", "flip", "ghz", "too_wide"]


def flip() -> QuantumCircuit:
    """One qubit that is measured as 1."""
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    return circuit


def too_wide() -> QuantumCircuit:
    """A circuit whose qubits a matrix product state would entangle too much."""
    wide = QuantumCircuit(60)
    wide.h(range(60))
    for distance in range(1, 30):
        for qubit in range(60 - distance):
            wide.cp(0.3 + 0.01 * distance, qubit, qubit + distance)
    wide.h(range(60))
    wide.measure_all()
    return wide
