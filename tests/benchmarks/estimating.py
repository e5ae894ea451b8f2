"""A program that evaluates energies one by one; run as a script, the same in plain qiskit."""

import json
import statistics
import sys
import time

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp


def problem(qubits):
    """An ansatz, a transverse-field Ising chain, and random points."""
    terms = [("ZZ", [i, i + 1], 1.0) for i in range(qubits - 1)]
    terms += [("X", [i], 0.5) for i in range(qubits)]
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=qubits)
    return efficient_su2(qubits, reps=2), operator, np.random.default_rng(1)


def median_evaluation_ms(estimator, qubits, evaluations):
    """Median time of one evaluation, in milliseconds."""
    ansatz, operator, random = problem(qubits)
    taken = []
    for _ in range(evaluations):
        point = random.uniform(-np.pi, np.pi, ansatz.num_parameters)
        start = time.perf_counter()
        float(estimator.run([(ansatz, operator, point)]).result()[0].data.evs)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def main(backend, user_messenger, *, qubits, shots, evaluations):
    """The runtime program."""
    estimator = backend.estimator(shots=shots, seed=1)
    return median_evaluation_ms(estimator, qubits, evaluations)


def plain(qubits, shots, evaluations):
    """The same with what qiskit has."""
    if shots is None:
        from qiskit.primitives import StatevectorEstimator

        return median_evaluation_ms(StatevectorEstimator(), qubits, evaluations)
    from qiskit.primitives import BackendEstimatorV2
    from qiskit_aer import AerSimulator

    estimator = BackendEstimatorV2(
        backend=AerSimulator(seed_simulator=1), options={"default_precision": shots**-0.5}
    )
    return median_evaluation_ms(estimator, qubits, evaluations)


if __name__ == "__main__":
    print(plain(**json.loads(sys.argv[1])))
