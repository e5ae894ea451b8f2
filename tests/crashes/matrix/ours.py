"""The flows that the matrix kills, written with this package and run by `host.py`."""

from __future__ import annotations

import os
import signal
from typing import Any

import qiskit_ibm_runtime  # noqa: F401 - once, rather than in each process that is forked
from host import note
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeServiceCredentials,
    run_program,
    run_sampler,
    runtime_session,
)
from prefect_qiskit_runtime.client._stream import ResultStream
from prefect_qiskit_runtime.records import records

ORDER: dict[str, Any] = {}


def begin(order: dict[str, Any]) -> None:
    ORDER.update(order)
    # A time-out then takes only seconds.
    defaults = ResultStream.__init__.__kwdefaults__
    assert defaults is not None
    defaults["silence_seconds"] = 3.0
    if "die_at_record" in order:
        _die_at_record(**order["die_at_record"])


def _die_at_record(beginning: str, moment: str) -> None:
    """Kill this process at the first record whose name begins so; others may be written beside."""
    write = records.Records.write

    async def dying(self: records.Records, name: str, record: dict[str, object]) -> None:
        is_it = name.startswith(beginning)
        if is_it and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await write(self, name, record)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)

    records.Records.write = dying


def seen(job_id: str, interim: int) -> None:
    note(ORDER, f"interim {interim}")


def run_the_program() -> float:
    credentials = RuntimeServiceCredentials.model_validate(
        {"url": ORDER["url"], "token": ORDER["token"]}
    )
    backend = RuntimeBackend(service="team", credentials=credentials, retry_delay_seconds=0.1)
    with runtime_session(backend) as session:
        return run_program(ORDER["program"], {}, backend=backend, callback=seen, session=session)


def run_the_sampler() -> dict[str, int]:
    credentials = IBMQuantumCredentials.model_validate(
        {"api_key": ORDER["token"], "url": f"{ORDER['url']}/api/v1"}
    )
    backend = RuntimeBackend(name="aer_simulator", service="ibm", credentials=credentials)
    coins = QuantumCircuit(8)  # two runs hardly ever give the same counts
    coins.h(range(8))
    coins.measure_all()
    result: Any = run_sampler([coins], backend=backend, shots=20)
    return result[0].data.meas.get_counts()


def work() -> Any:
    return run_the_program() if ORDER["program"] else run_the_sampler()
