"""A simulated IBM, and programs of a real embedded service that use it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend
from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.simulated_ibm import ibm_credentials
from tests.waiting import wait_until

# A small VQE with all that a program can ask of its backend; an input makes it wait.
VQE = """
import os, time
import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

def pause(path):
    print("waiting", os.getpid(), flush=True)
    while not os.path.exists(path):
        time.sleep(0.01)

def main(backend, user_messenger, points=2, sample=False, wait_for=None, wait_at=1, fail=False):
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("angle"), 0)
    circuit.cx(0, 1)
    isa = transpile(circuit, backend=backend, optimization_level=1, seed_transpiler=1)
    observable = SparsePauliOp(["ZZ", "IZ"]).apply_layout(isa.layout)
    estimator = backend.estimator(shots=2000)
    energies = []
    for point in range(points):
        if wait_for is not None and point == wait_at:
            pause(wait_for)
        data = estimator.run([(isa, observable, [np.pi * point])]).result()[0].data
        energies.append(float(data.evs))
        user_messenger.publish(energies[-1])
    if fail:
        estimator.run([(isa, observable, [0.5])])
        raise ValueError("after a submission")
    result = {"energies": energies, "environment": dict(os.environ)}
    if sample:
        bound = isa.assign_parameters([np.pi])
        bound.measure_all()
        counts = backend.sampler(shots=100).run([bound]).result()[0].data.meas.get_counts()
        older = backend.run([bound, bound], shots=50, memory=True).result()
        result["sampled"] = max(counts, key=counts.get)
        result["counted"] = max(older.get_counts(1), key=older.get_counts(1).get)
        result["memory"] = len(older.get_memory(0))
    return result
"""


@dataclass
class Cloud:
    """The simulated IBM, as its account holder sees it: what is new since the test began."""

    service: OfflineService
    home: Path  # of the embedded service

    def __post_init__(self) -> None:
        for line in self.home.glob("v*/hardware/line-*.json"):
            line.unlink()  # the minute of the tests before
        self._before: set[str] = set()
        self._before = {one["id"] for what in ("jobs", "sessions") for one in self.listed(what)}
        self.service.clear()  # its requests until now

    @property
    def credentials(self) -> IBMQuantumCredentials:
        return ibm_credentials(self.service.url, self.service.token)

    def backend(self, **fields: Any) -> RuntimeBackend:
        """A block whose programs run on the embedded service and use the device."""
        return RuntimeBackend(
            name="fake_manila",
            hardware_credentials=self.credentials,
            retry_delay_seconds=0.1,
            **fields,
        )

    def sent(self, method: str, path: str) -> int:
        """How many requests of a kind took effect."""
        requests = self.service.requests(method, path)
        return sum((request["status"] or 500) < 300 for request in requests)

    def listed(self, what: str) -> list[dict[str, Any]]:
        headers = {"Authorization": f"apikey {self.service.token}", "Service-CRN": self._crn}
        answer = httpx.get(
            f"{self.service.url}/api/v1/{what}", headers=headers, trust_env=False, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return [one for one in answer.json()[what] if one["id"] not in self._before]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        return self.listed("jobs")

    @property
    def sessions(self) -> Counter[str]:
        """How many sessions are in which state."""
        return Counter(session["state"] for session in self.listed("sessions"))

    @property
    def _crn(self) -> str:
        answer = httpx.post(
            f"{self.service.url}/v3/resources/search",
            headers={"Authorization": f"apikey {self.service.token}"},
            trust_env=False,
        )
        return answer.json()["items"][0]["crn"]


@pytest.fixture(scope="package")
def running_cloud() -> Iterator[OfflineService]:
    """One process for all files here."""
    with offline_service(imitate="ibm") as service:
        yield service


@pytest.fixture
def cloud(cloud: OfflineService, service_home: Path) -> Cloud:
    return Cloud(cloud, service_home)


@pytest.fixture(scope="session")
def vqe(service_home: Path) -> str:
    from prefect_qiskit_runtime import programs

    return programs.upload_program.fn(VQE, name="vqe-on-hardware")


@pytest.fixture
def embedded(service_home: Path) -> Embedded:
    return Embedded(service_home)


@dataclass
class Embedded:
    """The embedded service, from outside."""

    home: Path

    @property
    def pid(self) -> int:
        (discovery,) = self.home.glob("v*/service.json")
        return json.loads(discovery.read_text())["pid"]

    def kill(self) -> None:
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _lives(pid), "the service is gone")

    def files(self) -> dict[str, bytes]:
        """All that the service has on disk."""
        found = (path for path in self.home.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in found}

    def brokers(self) -> list[int]:
        """The processes of brokers on this machine that use this home."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_broker(path)]


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _is_broker(process: Path) -> bool:
    try:
        return b"prefect_qiskit_runtime.broker" in (process / "cmdline").read_bytes()
    except OSError:
        return False
