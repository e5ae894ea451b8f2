"""Measure a Bell pair."""

from qiskit import QuantumCircuit, transpile


def main(backend, user_messenger):
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    circuit = transpile(bell, backend, seed_transpiler=1)
    job = backend.run(circuit, shots=4000, seed_simulator=1)
    return {"backend": backend.name, "counts": job.result().get_counts()}
