"""Serve a flow, and start it from elsewhere."""

from __future__ import annotations

from prefect.deployments import run_deployment

from prefect_qiskit_runtime import RuntimeBackend
from tests.fundamentals.conftest import Start


def test_a_deployment_takes_a_saved_backend(start_flow: Start) -> None:
    block_id = RuntimeBackend(name="fake_manila").save("noisy", overwrite=True)
    served = start_flow("deployed.py")
    served.read("Your flow")

    backend = {"$ref": {"block_document_id": str(block_id)}}
    flow_run = run_deployment("bell/tour", parameters={"backend": backend}, poll_interval=0.2)
    assert flow_run.state is not None
    result = flow_run.state.result()
    assert result["backend"] == "fake_manila"
    assert set(result["counts"]) == {"00", "01", "10", "11"}
