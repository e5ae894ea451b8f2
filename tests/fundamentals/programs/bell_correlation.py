"""Estimate how strongly the two qubits of a Bell pair are correlated."""

from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import SparsePauliOp


def main(backend, user_messenger):
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    circuit = transpile(bell, backend, seed_transpiler=1)
    observable = SparsePauliOp("ZZ").apply_layout(circuit.layout)
    (result,) = backend.estimator(shots=2000).run([(circuit, observable)]).result()
    return float(result.data.evs)
