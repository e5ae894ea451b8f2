"""Find the ground state of two coupled spins, step by step."""

import sys

from prefect import flow
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime import (
    EstimatorObjective,
    LoopResult,
    RuntimeBackend,
    RuntimeServiceCredentials,
    minimize,
)


@flow
def ground_state(backend: RuntimeBackend) -> LoopResult:
    ising = SparsePauliOp.from_list([("ZZ", -1.0), ("XI", -0.5), ("IX", -0.5)])
    energy = EstimatorObjective(efficient_su2(2, su2_gates=["ry"], reps=1), ising)
    return minimize(
        energy,
        [0.1, 0.2, 0.3, 0.4],
        backend=backend,
        method="L-BFGS-B",
        durable_key="ground-state",
        callback=lambda step: print("STEP", step.index),
    )


if __name__ == "__main__":
    url, token = sys.argv[1:]
    credentials = RuntimeServiceCredentials(url=url, token=token)
    result = ground_state(RuntimeBackend(service="team", credentials=credentials))
    print("STEPS", len(result.history))
    print("REPLAYED", sum(step.replayed for step in result.history))
    print("ENERGY", result.value)
