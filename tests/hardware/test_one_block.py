"""A flow moves to IBM Quantum when one block document is edited, by the request of Prefect's UI."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    RuntimeBackend,
    run_estimator,
    run_program,
    run_sampler,
    runtime_session,
)
from tests.hardware.conftest import Cloud

FLOWS = Path(__file__).parents[2] / "flows"

# A quick one is in tests/ibm/test_primitives.py.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "service_home")]


def edit(name: str, **fields: Any) -> None:
    """Change fields of a saved backend; the form sends all that it shows."""
    with httpx.Client(base_url=str(PREFECT_API_URL.value()), trust_env=False) as client:
        at = f"/block_types/slug/qiskit-runtime-backend/block_documents/name/{name}"
        document = client.get(at).raise_for_status().json()
        body = {
            "block_schema_id": document["block_schema_id"],
            "data": {**document["data"], **fields},
            "merge_existing_data": False,
        }
        client.patch(f"/block_documents/{document['id']}", json=body).raise_for_status()


def saved_login(cloud: Cloud) -> dict[str, Any]:
    """The value that the form's picker stores: a reference to the document of the login."""
    document_id = cloud.credentials.save("login-of-one-block", overwrite=True)
    return {"$ref": {"block_document_id": str(document_id)}}


@flow(persist_result=False)
def correlations() -> tuple[float, list[str]]:
    backend = RuntimeBackend.load("where-primitives-run")
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    (estimated,) = run_estimator([(circuit, "ZZ")], backend=backend)
    circuit.measure_all()
    with runtime_session(backend) as session:
        results = [run_sampler([circuit], backend=backend, session=session) for _ in range(2)]
    counts = [result[0].data["meas"].get_counts() for result in results]
    return float(estimated.data["evs"]), sorted(set().union(*counts))


def test_a_flow_of_primitives_and_a_session_moves_with_its_block(cloud: Cloud) -> None:
    RuntimeBackend().save("where-primitives-run", overwrite=True)
    assert correlations() == (pytest.approx(1), ["00", "11"])
    assert cloud.jobs == []
    edit("where-primitives-run", service="ibm", credentials=saved_login(cloud))
    assert correlations() == (pytest.approx(1), ["00", "11"])
    assert sorted(job["program"]["id"] for job in cloud.jobs) == ["estimator", "sampler", "sampler"]
    assert cloud.sessions == {"closed": 1}


@flow(persist_result=False)
def energies(program_id: str) -> list[float]:
    backend = RuntimeBackend.load("where-a-program-runs")
    return run_program(program_id, {"points": 2}, backend=backend)["energies"]


def test_the_circuits_of_a_program_move_with_its_block(cloud: Cloud, vqe: str) -> None:
    expected = [pytest.approx(2, abs=0.4), pytest.approx(0, abs=0.4)]
    RuntimeBackend(name="fake_manila").save("where-a-program-runs", overwrite=True)
    assert energies(vqe) == expected
    assert cloud.jobs == []
    edit("where-a-program-runs", hardware_credentials=saved_login(cloud))
    assert energies(vqe) == expected
    assert [job["program"]["id"] for job in cloud.jobs] == ["estimator", "estimator"]
    assert cloud.sessions == {"closed": 1}


@pytest.mark.parametrize(
    ("file", "given"),
    [
        ("quantum_kernel", {"train_size": 15, "test_size": 15}),
        ("error_mitigation", {"num_qubits": 2, "steps": 1, "shots": 100, "repetitions": 1}),
    ],
)
def test_example_flows_of_primitives_take_a_backend_of_ibm(
    cloud: Cloud, file: str, given: dict[str, Any]
) -> None:
    example = load_flow_from_entrypoint(f"{FLOWS / file}.py:{file}")
    backend = RuntimeBackend(name="fake_manila", service="ibm", credentials=cloud.credentials)
    # Some of the flows are async ones.
    done = example.with_options(persist_result=False)(**given, backend=backend)
    if inspect.isawaitable(done):
        asyncio.run(done)
    assert [job["status"] for job in cloud.jobs] == ["Completed"]
