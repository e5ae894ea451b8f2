"""Calls outside of runs, where no server of Prefect is there: none is started for their records."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prefect_qiskit_runtime.testing import OfflineService

SCRIPT = """
import sys
from qiskit import QuantumCircuit
from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, primitives

circuit = QuantumCircuit(1)
circuit.measure_all()
credentials = IBMQuantumCredentials(api_key=sys.argv[1], url=sys.argv[2] + "/api/v1")
backend = RuntimeBackend(service="ibm", credentials=credentials)
for _ in range(2):
    job = primitives.submit_sampler.fn([circuit], backend=backend, shots=3, durable_key="mine")
    print(job.job_id)
"""


def test_a_durable_key_on_ibm_starts_no_server(cloud: OfflineService, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, cloud.token, cloud.url],
        env={**environment, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.split()
    assert first == second
    assert len(cloud.requests("POST", "/jobs")) == 1
    assert "server" not in ran.stderr
    assert list(tmp_path.glob("storage/qiskit-runtime/intent-*"))
    assert not list(tmp_path.glob("*.db"))
