"""Programs whose sources IBM published: unmodified, called by the client they were written for.

Those that today's Qiskit no longer runs, run in an image of their time: `make clients` makes it.
"""

from __future__ import annotations

import json
import os
import queue
from pathlib import Path

import numpy as np
import pytest
from circuits import bell
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.utils.runner_result import RunnerResult

SOURCES = Path(os.environ.get("PUBLISHED", "")) / "program_source"

pytestmark = pytest.mark.skipif(
    not {"PUBLISHED", "OLD_IMAGE"} <= os.environ.keys(), reason="needs make clients"
)
SECONDS = 120

RETURNS_CIRCUITS = """
import qiskit
from qiskit import transpile

def main(backend, user_messenger, circuits):
    user_messenger.publish({"qiskit": qiskit.__version__})
    return transpile(circuits, backend)
"""


def upload(service: QiskitRuntimeService, name: str) -> str:
    path = SOURCES / name / f"{name}.py"
    metadata = {"name": name, "description": "As published.", "max_execution_time": 300}
    return service.upload_program(data=str(path), metadata=metadata)


@pytest.mark.parametrize("name", ["hello_world", "sample_program"])
def test_the_samples(service: QiskitRuntimeService, name: str) -> None:
    messages: queue.Queue[object] = queue.Queue()
    job = service.run(
        upload(service, name),
        options={"backend": "ibmq_qasm_simulator"},
        inputs={"iterations": 2},
        callback=lambda job_id, message: messages.put(message),
    )
    for iteration in range(2):
        message = messages.get(timeout=SECONDS)
        assert message["iteration"] == iteration
        assert sum(message["counts"].values()) == 1024
    assert job.result(timeout=SECONDS) == "All done!"


def test_quantum_kernel_alignment(service: QiskitRuntimeService) -> None:
    inputs = {
        "feature_map": json.dumps({"feature_dimension": 4, "entangler_map": [[0, 1]]}),
        "data": np.random.default_rng(1).uniform(-1, 1, (4, 4)),
        "labels": np.array([1, -1, 1, -1]),
        "initial_kernel_parameters": np.array([0.1]),
        "maxiters": 1,
    }
    job = service.run(upload(service, "qka"), options={"backend": "aer_simulator"}, inputs=inputs)
    matrix = job.result(timeout=SECONDS)["aligned_kernel_matrix"]
    assert matrix.shape == (4, 4)
    assert np.diag(matrix).tolist() == [1] * 4


@pytest.mark.parametrize("backend", ["ibmq_qasm_simulator", "fake_manila"])
def test_circuit_runner_in_an_image_of_its_time(
    service: QiskitRuntimeService, backend: str
) -> None:
    job = service.run(
        upload(service, "circuit_runner"),
        options={"backend": backend, "image": "qiskit:0.45"},
        inputs={
            "circuits": [bell(measured=True), bell(measured=True)],
            "shots": 500,
            "optimization_level": 1,
        },
        result_decoder=RunnerResult,
    )
    result = job.result(timeout=SECONDS)
    assert isinstance(result, RunnerResult) and result.success
    for counts in result.get_counts():
        assert sum(counts.values()) == 500
        # Of 420 with the noise of fake_manila, give or take 8; 250 by chance.
        assert counts["00"] + counts["11"] > 350


def test_circuit_runner_needs_that_image(service: QiskitRuntimeService) -> None:
    job = service.run(
        upload(service, "circuit_runner"),
        options={"backend": "aer_simulator"},
        inputs={"circuits": bell(measured=True)},
    )
    job.wait_for_final_state(timeout=SECONDS)
    assert "cannot import name 'schedule'" in job.error_message().lower()


@pytest.mark.parametrize("backend", ["ibmq_qasm_simulator", "fake_manila"])
def test_an_image_of_its_time_returns_circuits_that_the_client_reads(
    service: QiskitRuntimeService, backend: str
) -> None:
    program_id = service.upload_program(
        data=RETURNS_CIRCUITS,
        metadata={"name": "circuits", "description": "Returns circuits.", "max_execution_time": 60},
    )
    job = service.run(
        program_id,
        options={"backend": backend, "image": "qiskit:0.45"},
        inputs={"circuits": [bell(measured=True), bell(measured=True)]},
    )
    circuits = job.result(timeout=SECONDS)
    assert [type(circuit) for circuit in circuits] == [QuantumCircuit] * 2
    assert circuits[0].count_ops()["measure"] == 2
    assert json.loads(job.interim_results()[0]) == {"qiskit": "0.45.3"}
