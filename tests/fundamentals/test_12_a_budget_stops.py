"""Limit how long the jobs of a flow run may use a QPU."""

from __future__ import annotations

import pytest
from prefect import flow
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    BudgetExceededError,
    IBMQuantumCredentials,
    RuntimeBackend,
    run_sampler,
)
from prefect_qiskit_runtime.testing import OfflineService


def test_a_flow_run_sends_nothing_beyond_its_budget(ibm: OfflineService) -> None:
    ibm.add("job_usage", seconds=10)  # of each job, on the QPU
    backend = RuntimeBackend(
        name="aer_simulator",
        service="ibm",
        credentials=IBMQuantumCredentials(api_key=ibm.token, url=f"{ibm.url}/api/v1"),
        max_qpu_seconds_per_flow_run=12,
    )
    coin = QuantumCircuit(1)
    coin.h(0)
    coin.measure_all()

    @flow
    def three_jobs() -> None:
        for _ in range(3):
            run_sampler([coin], backend=backend, shots=1000)

    with pytest.raises(BudgetExceededError) as stopped:
        three_jobs()
    assert (stopped.value.limit_seconds, stopped.value.used_seconds) == (12, 10)
    assert len(ibm.requests("POST", "/jobs")) == 1
