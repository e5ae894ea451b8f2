"""A service with its fault mode, and one that imitates IBM, each in a separate process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime import RuntimeBackend
from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.simulated_ibm import ibm_backend, point_ibms_client_to

PROGRAM = """
import time

def main(backend, user_messenger, wait=0, result="done"):
    user_messenger.publish("interim")
    time.sleep(wait)
    return result
"""


class Caller:
    """The few calls that most tests make, over a separate real connection."""

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
def running_offline() -> Iterator[OfflineService]:
    """One process for all files here."""
    with offline_service() as service:
        yield service


@pytest.fixture
def service(offline: OfflineService) -> OfflineService:
    return offline


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
    """One process for all files here."""
    with offline_service(imitate="ibm") as service:
        yield service


@pytest.fixture
def at_ibm(cloud: OfflineService) -> Callable[..., RuntimeBackend]:
    """Makes blocks for it."""
    return partial(ibm_backend, cloud.url, cloud.token)


@pytest.fixture
def ibms_client(cloud: OfflineService, monkeypatch: pytest.MonkeyPatch) -> Any:
    """IBM's own client, logged in there."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    point_ibms_client_to(cloud.url, monkeypatch)
    return QiskitRuntimeService(
        token=cloud.token, url=f"{cloud.url}/experimental/api/v1", instance="team"
    )
