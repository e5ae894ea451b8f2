"""A worker's process: it runs concurrent flow runs that each submit one job to IBM's service."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from prefect import flow
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import arun_sampler
from tests.simulated_ibm import ibm_backend


@flow(persist_result=False)
async def sampling(number: int) -> int:
    backend = ibm_backend(**json.loads(os.environ["MANY_FLOWS"]))
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
