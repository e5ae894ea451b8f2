"""Run a program here, and its circuits on a device of IBM Quantum."""

from __future__ import annotations

import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeSession,
    SessionState,
    list_jobs,
    run_program,
    upload_program,
)
from prefect_qiskit_runtime.testing import OfflineService


def test_the_circuits_of_a_program_run_on_the_device_in_one_session(ibm: OfflineService) -> None:
    credentials = IBMQuantumCredentials(api_key=ibm.token, url=f"{ibm.url}/api/v1")

    @flow
    def correlation() -> float:
        program_id = upload_program("programs/bell_correlation.py")
        backend = RuntimeBackend(name="fake_manila", hardware_credentials=credentials)
        return run_program(program_id, backend=backend)

    assert correlation() == pytest.approx(1, abs=0.2)  # the device is noisy

    device = RuntimeBackend(name="fake_manila", service="ibm", credentials=credentials)
    (job,) = list_jobs(backend=device)
    assert job.program.id == "estimator"
    assert RuntimeSession(job.session_id, device).status() is SessionState.CLOSED
