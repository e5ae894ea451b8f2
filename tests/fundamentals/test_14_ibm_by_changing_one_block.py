"""Move a flow from the embedded simulator to IBM Quantum."""

from __future__ import annotations

import pytest
from prefect import flow
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, run_estimator
from prefect_qiskit_runtime.testing import OfflineService


@flow
def correlation() -> float:
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    backend = RuntimeBackend.load("where-it-runs")
    (result,) = run_estimator([(bell, "ZZ")], backend=backend)
    return float(result.data.evs)


def test_a_flow_moves_to_ibm_quantum_with_its_block(ibm: OfflineService) -> None:
    RuntimeBackend(name="aer_simulator").save("where-it-runs", overwrite=True)
    assert correlation() == pytest.approx(1)
    assert ibm.requests("POST", "/jobs") == []

    RuntimeBackend(
        name="aer_simulator",
        service="ibm",
        credentials=IBMQuantumCredentials(api_key=ibm.token, url=f"{ibm.url}/api/v1"),
    ).save("where-it-runs", overwrite=True)
    assert correlation() == pytest.approx(1)
    assert len(ibm.requests("POST", "/jobs")) == 1
