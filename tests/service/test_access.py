"""Access to a service: users, names of the host, prefixes of paths, sizes of bodies."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from prefect_qiskit_runtime.models import BASELINE_CAPABILITIES
from prefect_qiskit_runtime.service.http import gate

PROTOCOL = Path(__file__).parents[2] / "docs" / "reference" / "protocol.md"


def get(service, path: str, **headers: str) -> httpx.Response:
    url = f"{service.discovery.url}{path}"
    return httpx.get(url, headers=headers, trust_env=False, timeout=60)


@pytest.mark.parametrize(
    "path", ["/programs", "/jobs", "/jobs/x/stream", "/backends", "/service/status"]
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_everything_needs_the_token(service, path, headers) -> None:
    answer = get(service, path, **headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "apikey {}"])
def test_the_token_comes_in_the_forms_of_all_clients(service, form) -> None:
    authorization = form.format(service.token)
    assert get(service, "/jobs", Authorization=authorization).status_code == 200


def test_the_token_may_come_as_access_token(service) -> None:
    assert get(service, "/jobs", **{"X-Access-Token": service.token}).status_code == 200


@pytest.mark.parametrize("prefix", ["/experimental", "/api", "/experimental/api/v1"])
def test_the_api_is_there_under_ibms_prefixes(service, prefix) -> None:
    answer = get(service, f"{prefix}/jobs", Authorization=f"Bearer {service.token}")
    assert answer.status_code == 200 and "jobs" in answer.json()


def test_a_listener_proves_that_it_knows_the_token_without_receiving_it(service) -> None:
    nonce = "0123456789abcdef" * 4
    identity = get(service, f"/.well-known/qiskit-runtime?nonce={nonce}").json()
    proof = hmac.new(service.token.encode(), nonce.encode(), hashlib.sha256).hexdigest()
    assert identity["product"] == "prefect-qiskit-runtime"
    assert identity["proof"] == proof
    assert get(service, "/.well-known/qiskit-runtime").json()["proof"] is None


def test_the_service_publishes_the_capabilities_of_the_documentation(service) -> None:
    published = get(service, "/.well-known/qiskit-runtime").json()["capabilities"]
    text = PROTOCOL.read_text("utf-8").partition("### Capabilities")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|.*\| (yes|no)", text, re.MULTILINE)

    assert published == [name for name, _ in rows]
    assert [name for name, is_old in rows if is_old == "yes"] == list(BASELINE_CAPABILITIES)


@pytest.mark.parametrize("nonce", ["", "zz", "ab", "ab" * 100])
def test_only_a_fair_nonce_is_answered(service, nonce) -> None:
    assert get(service, f"/.well-known/qiskit-runtime?nonce={nonce}").status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1"])
def test_a_web_page_under_another_name_is_turned_away(service, host) -> None:
    answer = get(service, "/jobs", Host=host, Authorization=f"Bearer {service.token}")
    assert answer.status_code == 421


def test_localhost_is_a_name_of_the_service(service) -> None:
    host = service.discovery.url.replace("http://127.0.0.1", "localhost")
    authorization = f"Bearer {service.token}"
    assert get(service, "/jobs", Host=host, Authorization=authorization).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("DELETE", "/jobs", 405), ("GET", "/jobs/", 404)],
)
def test_what_is_not_there_is_answered_in_the_protocols_form(api, method, path, status) -> None:
    answer = api.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status


async def test_a_body_that_says_it_is_too_large_is_not_read(local) -> None:
    async with local.client() as client:
        headers = {"Content-Length": str(gate.LARGEST_BODY_BYTES + 1)}
        answer = await client.post("/jobs", content=b"{}", headers=headers)
    assert answer.status_code == 413


async def test_a_body_that_grows_too_large_is_cut(local, monkeypatch) -> None:
    monkeypatch.setattr(gate, "LARGEST_BODY_BYTES", 100)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10

    async with local.client() as client:
        answer = await client.post("/jobs", content=chunks())
    assert answer.status_code == 413


async def test_an_inner_fault_is_answered_without_its_details(local, monkeypatch) -> None:
    async def fail(*_args: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(local.context.store, "read", fail)
    async with local.client() as client:
        client._transport.raise_app_exceptions = False
        answer = await client.get("/jobs")
    assert answer.status_code == 500
    assert "a secret detail" not in answer.text


async def test_a_team_service_has_no_proof_and_no_switch(local) -> None:
    async with local.client() as client:
        identity = await client.get(f"/.well-known/qiskit-runtime?nonce={'ab' * 16}")
        assert identity.json()["proof"] is None
        assert (await client.post("/service/shutdown")).status_code == 404


def test_backends_are_the_ideal_simulator_and_the_fake_devices(api) -> None:
    devices = {device["name"]: device for device in api.http.get("/backends").json()["devices"]}
    assert next(iter(devices)) == "aer_simulator" and len(devices) > 50
    manila = devices["fake_manila"]
    assert (manila["qubits"], manila["is_simulator"]) == (5, False)
    assert manila["status"] == {"name": "online"}


def test_the_pages_of_a_backend(api) -> None:
    for name, qubits in (("aer_simulator", None), ("fake_manila", 5)):
        configuration = api.http.get(f"/backends/{name}/configuration").json()
        assert configuration["backend_name"] == name and configuration["online_date"]
        assert qubits in (None, configuration["n_qubits"])
        status = api.http.get(f"/backends/{name}/status").json()
        assert (status["state"], status["status"]) == (True, "active")
        assert api.http.get(f"/backends/{name}/defaults").json()["cmd_def"] == []
    assert api.http.get("/backends/aer_simulator/properties").json() == {}
    assert len(api.http.get("/backends/fake_manila/properties").json()["qubits"]) == 5


def test_an_unknown_backend_lists_close_names(api) -> None:
    for page in ("configuration", "properties", "defaults", "status"):
        answer = api.http.get(f"/backends/fake_manilla/{page}")
        assert answer.status_code == 404
        assert "fake_manila" in answer.json()["error"]["message"]


def test_ibms_models_read_the_configuration_of_the_ideal_simulator(api) -> None:
    from qiskit_ibm_runtime.models import QasmBackendConfiguration

    page = api.http.get("/backends/aer_simulator/configuration").json()
    assert QasmBackendConfiguration.from_dict(page).n_qubits == page["n_qubits"]


def test_a_queue_is_as_long_as_its_jobs(api, counting, tmp_path) -> None:
    gate_file = tmp_path / "gate"
    job_id = api.submit(counting, params={"wait_for": str(gate_file)}, backend="fake_vigo")
    assert api.http.get("/backends/fake_vigo/status").json()["length_queue"] == 1
    gate_file.touch()
    api.finish(job_id)
    assert api.http.get("/backends/fake_vigo/status").json()["length_queue"] == 0


def test_errors_are_json(api) -> None:
    answer = api.http.post("/jobs", content="{")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["error"]["message"].startswith("The request's body is not")
