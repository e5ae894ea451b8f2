"""The offline IBM answers as IBM's API does: each answer is checked against `ibm_api.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime import run_sampler, runtime_session
from prefect_qiskit_runtime.client import _transport
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import flip
from tests.ibm.api_schema import BEFORE, CHARGED, PRESENT, description, fault_of, row_of
from tests.simulated_ibm import ibm_backend

VERSIONS = [BEFORE, CHARGED, PRESENT]


class Checked:
    """A client of the offline IBM that checks each answer, and counts the rows it has seen."""

    def __init__(self, cloud: OfflineService, version: str) -> None:
        self.seen: set[str] = set()
        self.http = httpx.Client(
            base_url=f"{cloud.url}/api/v1",
            headers={"IBM-API-Version": version},
            timeout=60,
            trust_env=False,
            event_hooks={"response": [self._check]},
        )
        login = self.http.post(f"{cloud.url}/identity/token", data={"apikey": cloud.token})
        self.http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        (found,) = self.http.post(f"{cloud.url}/v3/resources/search").json()["items"]
        self.http.get(f"{cloud.url}/catalog/api/v1/{found['service_plan_unique_id']}")
        self.http.headers["Service-CRN"] = found["crn"]

    def _check(self, response: httpx.Response) -> None:
        response.read()
        path = response.request.url.path.removeprefix("/api/v1")
        assert fault_of(response) is None, (response.request.method, path, fault_of(response))
        version = response.request.headers["IBM-API-Version"]
        row = row_of(response.request.method, path, response.status_code, version)
        if row is not None:
            self.seen.add(f"{row['request']} {row['status']} {row.get('from', '')}")

    def submit(self, **fields: Any) -> str:
        answer = self.ask("POST", "/jobs", 200, {**SAMPLER, **fields})
        return answer.json()["id"]

    def ask(self, method: str, path: str, status: int, body: Any = None) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        answer = self.http.request(method, path, content=content)
        assert answer.status_code == status, answer.text
        return answer

    def ended(self, job_id: str) -> dict[str, Any]:
        while True:
            job = self.ask("GET", f"/jobs/{job_id}?exclude_params=true", 200).json()
            if job["state"]["status"] not in ("Queued", "Running"):
                return job


INPUTS = encode_inputs({"pubs": [[flip(), None, 5]], "version": 2}, is_for_ibm=True)
SAMPLER = {"program_id": "sampler", "backend": "aer_simulator", "params": json.loads(INPUTS)}


@pytest.fixture
def client(cloud: OfflineService) -> Iterator[Callable[[str], Checked]]:
    opened: list[Checked] = []

    def client(version: str) -> Checked:
        opened.append(Checked(cloud, version))
        return opened[-1]

    yield client
    for one in opened:
        one.http.close()


def look_at_backends(client: Checked) -> None:
    names = [device["name"] for device in client.ask("GET", "/backends", 200).json()["devices"]]
    assert "fake_manila" in names
    for page in ("configuration", "properties", "status"):
        client.ask("GET", f"/backends/fake_manila/{page}", 200)
    client.ask("GET", "/instances/usage", 200)


def run_jobs(client: Checked, cloud: OfflineService) -> None:
    hold = cloud.add("hold_job")
    held = client.submit(tags=["a"], cost=60)
    for path in (f"/jobs/{held}", f"/jobs/{held}/metrics", "/jobs", "/jobs?pending=true"):
        client.ask("GET", path, 200)
    client.ask("GET", f"/jobs/{held}/results", 204)
    client.ask("PUT", f"/jobs/{held}/tags", 204, {"tags": ["b"]})
    client.ask("POST", f"/jobs/{held}/cancel", 204)
    client.ask("POST", f"/jobs/{held}/cancel", 409)
    cloud.remove(hold)
    job_id = client.submit(log_level="INFO")
    assert client.ended(job_id)["state"]["status"] == "Completed"
    for page in ("", "/metrics", "/results", "/logs"):
        client.ask("GET", f"/jobs/{job_id}{page}", 200)
    client.ask("DELETE", f"/jobs/{job_id}", 204)
    client.ask("GET", f"/jobs/{job_id}", 404)


def end_jobs_with_codes(client: Checked, cloud: OfflineService) -> None:
    for code in (1305, 1500, 8101):
        cloud.add("end_job", reason_code=code)
        state = client.ended(client.submit())["state"]
        assert code in (state.get("reason_code"), state.get("reasonCode"))
    client.ask("GET", "/jobs?limit=500", 200)


def use_sessions(client: Checked) -> None:
    for mode in ("dedicated", "batch"):
        opened = client.ask("POST", "/sessions", 201, {"mode": mode, "backend": "aer_simulator"})
        session_id = opened.json()["id"]
        client.ask("GET", f"/sessions/{session_id}", 200)
        client.ended(client.submit(session_id=session_id))
        client.ask("GET", f"/sessions/{session_id}", 200)
        client.ask("PATCH", f"/sessions/{session_id}", 204, {"accepting_jobs": False})
        client.ask("DELETE", f"/sessions/{session_id}/close", 204)
        client.ask("GET", f"/sessions/{session_id}", 200)
    client.ask("GET", "/sessions", 200)


def be_refused(client: Checked, cloud: OfflineService) -> None:
    client.ask("POST", "/jobs", 404, {**SAMPLER, "program_id": "mine"})
    client.ask("POST", "/jobs", 400, {**SAMPLER, "tags": ["t"] * 9})
    client.ask("GET", "/programs", 404)
    client.ask("DELETE", "/jobs/x/results", 404)
    cloud.add("refuse", status=503, code=1999, retry_after_seconds=7)
    assert client.ask("GET", "/backends", 503).headers["Retry-After"] == "7"
    cloud.add("submission_limit", submissions=1, seconds=3600)
    client.submit()
    assert "Retry-After" in client.ask("POST", "/jobs", 429, SAMPLER).headers
    cloud.add("expire_tokens")
    client.ask("GET", "/backends", 401)


def expected_rows(version: str) -> set[str]:
    """The rows of the description that apply to a version."""
    latest: dict[str, str] = {}
    for row in description()["answers"]:
        if row.get("from", "") <= version:
            latest[f"{row['request']} {row['status']}"] = row.get("from", "")
    return {f"{request} {since}" for request, since in latest.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_answer_has_the_form_of_the_version_that_is_asked_for(
    client: Callable[[str], Checked], cloud: OfflineService, version: str
) -> None:
    checked = client(version)
    look_at_backends(checked)
    run_jobs(checked, cloud)
    end_jobs_with_codes(checked, cloud)
    use_sessions(checked)
    be_refused(checked, cloud)
    assert checked.seen == expected_rows(version)


@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_usage_of_a_job_has_the_form_of_its_version(
    client: Callable[[str], Checked], cloud: OfflineService, version: str, pending: bool
) -> None:
    cloud.add("job_usage", seconds=20, pending=pending)
    checked = client(version)
    job_id = checked.submit()
    job = checked.ended(job_id)
    metrics = checked.ask("GET", f"/jobs/{job_id}/metrics", 200).json()
    (listed,) = checked.ask("GET", "/jobs?limit=1", 200).json()["jobs"]
    assert job["usage"] == listed["usage"] == metrics["usage"]
    if version == BEFORE:
        assert job["usage"].get("quantum_seconds") == (None if pending else 20)
    else:
        charged = {"qpu_charge_time_seconds": 20, "status": "complete"}
        waiting = {"qpu_charge_time_seconds": 0, "status": "pending"}
        assert job["usage"] == (waiting if pending else charged)


def test_a_key_and_an_acknowledgement_are_ignored_as_at_ibm(
    client: Callable[[str], Checked],
) -> None:
    checked = client(PRESENT)
    checked.http.headers["Idempotency-Key"] = "same"
    assert checked.submit() != checked.submit()
    checked.http.headers["Result-Acknowledgement"] = "explicit"
    job_id = checked.submit(private=True)
    checked.ended(job_id)
    assert checked.http.get(f"/jobs/{job_id}/results").content
    assert b"quasi" not in (again := checked.http.get(f"/jobs/{job_id}/results")).content
    assert again.status_code != 200 or not again.content


def test_a_field_of_ours_in_an_answer_is_a_fault() -> None:
    job = {"attempt": 1, "usage": {"qpu_charge_time_seconds": 0, "status": "pending", "seconds": 1}}
    request = httpx.Request("GET", "http://x/api/v1/jobs/j", headers={"IBM-API-Version": PRESENT})
    response = httpx.Response(200, json=job, request=request)
    assert "required" in str(fault_of(response))
    whole = {
        "id": "j",
        "backend": "b",
        "state": {"status": "Queued"},
        "status": "Queued",
        "program": {"id": "sampler"},
        "created": "2026-04-15T10:00:00Z",
        "tags": [],
        "usage": {"qpu_charge_time_seconds": 0, "status": "pending"},
    }
    assert fault_of(httpx.Response(200, json=whole, request=request)) is None
    for extra in ({"attempt": 1}, {"usage": job["usage"]}, {"bss": {"seconds": 0}}):
        changed = httpx.Response(200, json={**whole, **extra}, request=request)
        assert fault_of(changed) is not None


def test_all_answers_to_our_own_calls_have_ibms_form(
    cloud: OfflineService, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Any] = []
    seen: list[str] = []
    actual = _transport.open_http

    async def check(response: httpx.Response) -> None:
        await response.aread()
        seen.append(response.request.method)
        if (fault := fault_of(response)) is not None:
            faults.append((response.request.method, response.request.url.path, fault))

    def checking(*args: Any, **kwargs: Any) -> httpx.AsyncClient:
        http = actual(*args, **kwargs)
        http.event_hooks = {"response": [check]}
        return http

    monkeypatch.setattr(_transport, "open_http", checking)
    backend = ibm_backend(cloud.url, cloud.token, max_qpu_seconds_per_day=1e6)
    with runtime_session(backend) as session:
        (result,) = run_sampler.fn([flip()], backend=backend, session=session, shots=5)
    assert result.data.meas.get_counts() == {"1": 5}
    assert session.details().mode == "dedicated"
    assert faults == []
    assert len(seen) > 8
