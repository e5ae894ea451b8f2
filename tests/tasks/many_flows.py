"""A worker's process: runs flow runs that each submit one job to IBM's, at the same time."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from prefect import flow
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, arun_sampler


def backend_of(told: dict[str, str]) -> RuntimeBackend:
    """A backend of the account that a process is told of."""
    credentials = IBMQuantumCredentials.model_validate(
        {"api_key": told["key"], "url": f"{told['url']}/api/v1"}
    )
    return RuntimeBackend(name="aer_simulator", service="ibm", credentials=credentials)


@flow(persist_result=False)
async def sampling(number: int) -> int:
    backend = backend_of(json.loads(os.environ["MANY_FLOWS"]))
    circuit = QuantumCircuit(1)
    circuit.rx(number, 0)
    circuit.measure_all()
    result = await arun_sampler([circuit], backend=backend, shots=100 + number)
    return result[0].data["meas"].num_shots


async def main(first: int, count: int) -> None:
    shots = await asyncio.gather(*(sampling(number) for number in range(first, first + count)))
    assert shots == [100 + number for number in range(first, first + count)]


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
