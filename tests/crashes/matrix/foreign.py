"""The same work with prefect-qiskit, in the environment of that client."""

from __future__ import annotations

from typing import Any

from prefect_qiskit.runtime import QuantumRuntime
from prefect_qiskit.vendors.ibm_quantum import IBMQuantumCredentials
from qiskit import QuantumCircuit


def work(order: dict[str, Any]) -> dict[str, int]:
    url = order["url"]
    credentials = IBMQuantumCredentials.model_validate(
        {
            "api_key": order["token"],
            "crn": order["crn"],
            "auth_url": url,
            "runtime_url": f"{url}/api/v1/",
        }
    )
    # Its defaults, but for the waits: 5 tries 300 s apart, no time limit.
    runtime = QuantumRuntime(
        resource_name="aer_simulator", credentials=credentials, retry_delay=1, timeout=10
    )
    circuit = QuantumCircuit(8)
    circuit.h(range(8))
    circuit.measure_all()
    (result,) = runtime.sampler([(circuit, [], 20)])
    return result.data.meas.get_counts()
