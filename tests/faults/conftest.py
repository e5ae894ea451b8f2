"""A service with its fault mode, and one that imitates IBM, each a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend
from prefect_qiskit_runtime.client.ibm import _login
from prefect_qiskit_runtime.testing import OfflineService, offline_service

PROGRAM = """
import time

def main(backend, user_messenger, wait=0, result="done"):
    user_messenger.publish("interim")
    time.sleep(wait)
    return result
"""


class Caller:
    """The few calls that most tests make, over a real connection of their own."""

    def __init__(self, service: OfflineService) -> None:
        self.http = httpx.Client(
            base_url=service.url,
            headers={"Authorization": f"Bearer {service.token}"},
            timeout=30,
            trust_env=False,
        )
        self.program_id = ""

    def submit(self, **fields: Any) -> httpx.Response:
        body = {"program_id": self.program_id, "backend": "aer_simulator", **fields}
        return self.http.post("/jobs", content=json.dumps(body))

    def job(self, **fields: Any) -> str:
        answer = self.submit(**fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def state(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job_id}").json()["state"]

    def end(self, job_id: str) -> dict[str, Any]:
        """Wait for the end of a job; return its state."""
        with self.http.stream("GET", f"/jobs/{job_id}/stream?from={2**31}") as stream:
            *_, last = (json.loads(line) for line in stream.iter_lines())
        assert last["type"] == "end"
        return last["state"]

    def cancel_all(self) -> None:
        for job_id in self.found(pending=True):
            self.http.post(f"/jobs/{job_id}/cancel")

    def found(self, **query: Any) -> list[str]:
        return [job["id"] for job in self.http.get("/jobs", params=query).json()["jobs"]]


def error_of(answer: httpx.Response) -> dict[str, Any]:
    return answer.json()["error"]


@pytest.fixture(scope="package")
def running() -> Iterator[OfflineService]:
    with offline_service() as service:
        yield service


@pytest.fixture
def service(running: OfflineService) -> Iterator[OfflineService]:
    running.clear()
    yield running
    running.clear()


@pytest.fixture
def caller(service: OfflineService) -> Iterator[Caller]:
    from prefect_qiskit_runtime import SyncRuntimeClient

    caller = Caller(service)
    with SyncRuntimeClient(service.url, service.token) as client, caller.http:
        caller.program_id = client.upload_program(PROGRAM, name="waiting")
        service.clear()
        yield caller


@pytest.fixture
def error() -> Callable[[httpx.Response], dict[str, Any]]:
    return error_of


# --- as IBM's cloud ------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def running_cloud() -> Iterator[OfflineService]:
    with offline_service(imitate="ibm") as service:
        yield service


@pytest.fixture
def ibm_cloud(running_cloud: OfflineService) -> Iterator[OfflineService]:
    """One that imitates IBM's, without its limits."""
    _login._logins.cache_clear()
    running_cloud.clear()
    yield running_cloud
    running_cloud.clear()


@pytest.fixture
def at_ibm(ibm_cloud: OfflineService) -> Callable[..., RuntimeBackend]:
    """Makes blocks for it."""
    fields = {"api_key": ibm_cloud.token, "url": f"{ibm_cloud.url}/api/v1"}
    credentials = IBMQuantumCredentials.model_validate(fields)

    def block(name: str, **more: Any) -> RuntimeBackend:
        return RuntimeBackend(name=name, service="ibm", credentials=credentials, **more)

    return block


@pytest.fixture
def ibms_client(ibm_cloud: OfflineService, monkeypatch: pytest.MonkeyPatch) -> Any:
    """IBM's own client, logged in there."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    for name, path in (
        ("IAM_URL", ""),
        ("GLOBAL_SEARCH_URL", ""),
        ("GLOBAL_CATALOG_URL", "/catalog/api/v1"),
    ):
        monkeypatch.setenv(name, ibm_cloud.url + path)
    monkeypatch.setenv("NO_PROXY", "*")
    return QiskitRuntimeService(
        token=ibm_cloud.token, url=f"{ibm_cloud.url}/experimental/api/v1", instance="team"
    )
