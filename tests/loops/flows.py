"""The flow that the tests of loops kill; a separate process runs one flow run, given its id."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime import (
    EstimatorObjective,
    LoopResult,
    RuntimeBackend,
    RuntimeServiceCredentials,
    minimize,
)

MOLECULES = Path(__file__).parents[2] / "flows" / "molecules"


def objective(molecule: str, **measured: Any) -> EstimatorObjective:
    """The energy of a molecule, over the excitations of its Hartree-Fock state."""
    known = json.loads((MOLECULES / f"{molecule}.json").read_text())
    ansatz = QuantumCircuit(known["num_qubits"])
    bits = reversed(known["hartree_fock_bitstring"])
    ansatz.x([qubit for qubit, bit in enumerate(bits) if bit == "1"])
    generators = [
        SparsePauliOp.from_list([(label, value) for label, value in generator["paulis"]])
        for generator in known["excitation_generators"]
    ]
    for parameter, generator in zip(ParameterVector("x", len(generators)), generators, strict=True):
        ansatz.append(PauliEvolutionGate(generator, parameter), ansatz.qubits)
    hamiltonian = SparsePauliOp.from_list([(label, value) for label, value in known["paulis"]])
    return EstimatorObjective(ansatz, hamiltonian, offset=known["constant_energy"], **measured)


def exact_energy(molecule: str) -> float:
    return json.loads((MOLECULES / f"{molecule}.json").read_text())["exact_ground_energy"]


def as_json(result: LoopResult) -> dict[str, Any]:
    return {
        "value": result.value,
        "std": result.std,
        "parameters": result.parameters.tolist(),
        "jobs": result.jobs,
        "evaluations": result.evaluations,
        "points": [step.points.tolist() for step in result.history],
        "values": [step.values.tolist() for step in result.history],
        "replayed": sum(step.replayed for step in result.history),
        "job_ids": [job_id for step in result.history for job_id in step.job_ids],
    }


@flow
def minimizing(
    molecule: str, url: str, token: str, method: str, maxiter: int, shots: int | None
) -> dict[str, Any]:
    credentials = RuntimeServiceCredentials(url=url, token=token)
    energy = objective(molecule, shots=shots)
    result = minimize(
        energy,
        np.full(energy.num_parameters, 0.05),
        backend=RuntimeBackend(service="team", credentials=credentials),
        method=method,
        maxiter=maxiter,
        seed=7,
    )
    return as_json(result)


def read_flow_run(flow_run_id: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id)


def main(flow_run_id: str) -> None:
    flow_run = read_flow_run(UUID(flow_run_id))
    result = run_flow(minimizing, flow_run=flow_run, parameters=flow_run.parameters)
    Path(os.environ["LOOP_RESULT"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
