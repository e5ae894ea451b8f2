"""Run random circuits, publish the counts of each, and say hello.

This is a runtime program: upload it with `hello_world.json`; the service calls `main`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit import transpile
from qiskit.circuit.random import random_circuit

NUM_QUBITS = 5


def main(
    backend: Any,
    user_messenger: Any,
    *,
    iterations: int = 1,
    shots: int = 1024,
    seed: int | None = None,
) -> str:
    """Run one random circuit per iteration; `hello_world.json` describes the arguments."""
    rng = np.random.default_rng(seed)
    for iteration in range(iterations):
        circuit = random_circuit(NUM_QUBITS, depth=5, measure=True, seed=int(rng.integers(2**31)))
        job = backend.run(
            transpile(circuit, backend, seed_transpiler=int(rng.integers(2**31))),
            shots=shots,
            seed_simulator=int(rng.integers(2**31)),
        )
        user_messenger.publish({"iteration": iteration, "counts": job.result().get_counts()})
    return "Hello, World!"
