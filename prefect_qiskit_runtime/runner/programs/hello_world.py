"""The public program `hello-world`: random circuits, and the counts of each."""

import random

from qiskit import transpile
from qiskit.circuit.random import random_circuit

NUM_QUBITS = 5
DEPTH = 4


def main(backend, user_messenger, *, iterations=1, **_ignored):
    """Run `iterations` random circuits and publish the counts of each.

    Other inputs are ignored, as IBM's published program of this name does.
    """
    for iteration in range(iterations):
        circuit = random_circuit(NUM_QUBITS, DEPTH, measure=True, seed=random.getrandbits(31))
        counts = backend.run(transpile(circuit, backend)).result().get_counts()
        user_messenger.publish({"iteration": iteration, "counts": counts})
    return "Hello, World!"
