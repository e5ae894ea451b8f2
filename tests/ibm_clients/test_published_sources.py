"""Programs whose sources IBM published, unmodified, on today's Qiskit and on that of their time.

The sources come with qiskit-ibm-runtime 0.1.0: `make .run/published/.ready` fetches it, and
`make clients` also makes the older environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import SyncRuntimeClient
from prefect_qiskit_runtime.errors import JobProcessError

RUN = Path(__file__).parent.parent.parent / ".run"
SOURCES = RUN / "published" / "program_source"
OLD_PYTHON = RUN / "clients" / "image-qiskit-0.45" / "bin" / "python"

# The requests of IBM's published samples to the backend, in one program: `sample_vqe` asks for the
# configuration and transpiles at level 3, M3 and the algorithms of that time read the rest.
OF_THAT_TIME = """
import warnings

import numpy as np
from qiskit import QuantumCircuit, execute, transpile
from qiskit.algorithms.minimum_eigensolvers import VQE
from qiskit.algorithms.optimizers import COBYLA
from qiskit.circuit.library import EfficientSU2
from qiskit.primitives import BackendEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.utils import QuantumInstance
from qiskit.utils.mitigation import CompleteMeasFitter

warnings.simplefilter("ignore")


def bell():
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def described(backend):
    configuration, properties = backend.configuration(), backend.properties()
    gate = "cx" if "cx" in configuration.basis_gates else "ecr"
    status, defaults = backend.status(), backend.defaults()
    yield "name", [backend.name(), backend.name, configuration.backend_name, status.backend_name]
    yield "status", [status.operational, status.pending_jobs]
    yield "version", backend.version
    yield "simulator", configuration.simulator
    yield "width", configuration.n_qubits == backend.num_qubits
    yield "circuits", configuration.max_experiments >= 75
    yield "basis", gate in configuration.basis_gates and gate in backend.target.operation_names
    yield "map", configuration.coupling_map and len(configuration.coupling_map)
    yield "readout", properties and 0 < properties.readout_error(0) < 0.5
    yield "gate error", properties and 0 < properties.gate_error(gate, [1, 0]) < 0.5
    yield "frequency", defaults and 1e9 < defaults.qubit_freq_est[0] < 1e10
    yield "shots", [backend.options.shots, configuration.max_shots >= 8192]


def transpiled(backend):
    for level in range(4):
        yield transpile([bell()], backend, optimization_level=level)
    if not backend.configuration().simulator:
        sabre = {"layout_method": "sabre", "routing_method": "sabre"}
        yield transpile([bell()], backend, optimization_level=3, **sabre)


def main(backend, user_messenger):
    user_messenger.publish(dict(described(backend)))
    runs = [backend.run(circuits, shots=500) for circuits in transpiled(backend)]
    counts = [run.result().get_counts() for run in runs]
    counts.append(execute(bell(), backend, shots=500).result().get_counts())
    instance = QuantumInstance(
        backend, shots=500, measurement_error_mitigation_cls=CompleteMeasFitter
    )
    counts.append(instance.execute(bell()).get_counts())
    user_messenger.publish([one.get("00", 0) + one.get("11", 0) for one in counts])
    ansatz = EfficientSU2(2, reps=1)
    solver = VQE(
        BackendEstimator(backend), ansatz, COBYLA(maxiter=5), initial_point=np.zeros(8)
    )
    return solver.compute_minimum_eigenvalue(SparsePauliOp(["ZZ", "XI"])).optimal_value
"""

pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="needs make .run/published/.ready")
in_old_image = pytest.mark.skipif(not OLD_PYTHON.exists(), reason="needs make clients")


@pytest.fixture(scope="module")
def client(service_home: Path) -> Iterator[SyncRuntimeClient]:
    with SyncRuntimeClient() as client:
        yield client


def run(client: SyncRuntimeClient, name: str, backend: str, **call: Any) -> tuple[Any, list[Any]]:
    """Upload a published program, run it, and return its result with its interim results."""
    source = SOURCES / name / f"{name}.py"
    program_id = client.upload_program(source.read_text(), {"name": name})
    job = client.run(program_id, call.pop("inputs"), backend=backend, **call)
    interim = list(job.stream())
    return job.result(), interim


@pytest.mark.parametrize("backend", ["aer_simulator", "fake_manila"])
@pytest.mark.parametrize("name", ["hello_world", "sample_program"])
def test_the_samples(client: SyncRuntimeClient, name: str, backend: str) -> None:
    result, interim = run(client, name, backend, inputs={"iterations": 2})
    assert result == "All done!"
    assert [message["iteration"] for message in interim] == [0, 1]
    assert all(sum(message["counts"].values()) == 1024 for message in interim)


def test_quantum_kernel_alignment(client: SyncRuntimeClient) -> None:
    rng = np.random.default_rng(1)
    inputs = {
        "feature_map": '{"feature_dimension": 4, "entangler_map": [[0, 1]]}',
        "data": rng.uniform(-1, 1, (4, 4)),
        "labels": np.array([1, -1, 1, -1]),
        "initial_kernel_parameters": np.array([0.1]),
        "maxiters": 2,
    }
    result, interim = run(client, "qka", "aer_simulator", inputs=inputs)
    assert len(interim) == 2
    matrix = result["aligned_kernel_matrix"]
    assert matrix.shape == (4, 4)
    assert matrix == pytest.approx(matrix.T)
    assert np.diag(matrix).tolist() == [1] * 4


@in_old_image
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aer_simulator", "fake_manila"])
def test_a_sample_in_an_image_of_its_time(client: SyncRuntimeClient, backend: str) -> None:
    image = {"image": f"python:{OLD_PYTHON}"}
    result, interim = run(client, "hello_world", backend, inputs={"iterations": 2}, options=image)
    assert result == "All done!"
    assert len(interim) == 2


@in_old_image
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aer_simulator", "fake_manila", "fake_sherbrooke"])
def test_an_image_of_its_time_answers_all_that_programs_ask_of_a_backend(
    client: SyncRuntimeClient, backend: str
) -> None:
    program_id = client.upload_program(OF_THAT_TIME, {"name": "of-that-time"})
    job = client.run(program_id, {}, backend=backend, options={"image": f"python:{OLD_PYTHON}"})
    described, agreeing = job.stream()

    ideal, eagle = backend == "aer_simulator", backend == "fake_sherbrooke"
    assert described == {
        "name": [backend] * 4,
        "status": [True, 0],
        "version": 2,
        "simulator": ideal,
        "width": True,
        "circuits": True,
        "basis": True,
        "map": None if ideal else 144 if eagle else 8,
        "readout": None if ideal else True,
        "gate error": None if ideal else True,
        "frequency": None if ideal else True,
        "shots": [1024, True],
    }
    assert len(agreeing) == (6 if ideal else 7)
    assert all(count == 500 if ideal else count > 400 for count in agreeing)
    assert -2 <= job.result() <= 1


@in_old_image
@pytest.mark.slow
def test_an_older_image_says_that_it_cannot_read_a_circuit_of_today(
    client: SyncRuntimeClient,
) -> None:
    image = {"image": f"python:{OLD_PYTHON}"}
    with pytest.raises(
        JobProcessError, match=r"QPY version 17, but the Qiskit of\s+this\s+environment"
    ):
        run(
            client,
            "circuit_runner",
            "aer_simulator",
            inputs={"circuits": QuantumCircuit(1, 1)},
            options=image,
        )
