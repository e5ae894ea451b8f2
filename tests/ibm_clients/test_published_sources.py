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
