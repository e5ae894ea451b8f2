"""Logins and small endpoints of IBM's clients."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jwt
import pytest

from prefect_qiskit_runtime.service.access_tokens import Authenticator, Purpose
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.store.records import Owner

LEGACY = {"X-Qx-Client-Application": "ibmqiskitruntime/0.15.1"}
TODAY = {**LEGACY, "IBM-API-Version": "2026-04-15"}
ALICE = Owner("alice", "")


def anyone(local: Any) -> httpx.AsyncClient:
    client = local.client()
    del client.headers["Authorization"]
    return client


async def quantum_login(client: httpx.AsyncClient, token: str = "token-of-alice") -> httpx.Response:
    return await client.post("/api/users/loginWithToken", json={"apiToken": token})


async def iam_login(client: httpx.AsyncClient, key: str = "token-of-alice") -> httpx.Response:
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": key}
    return await client.post("/identity/token", data=form)


async def test_ibm_quantums_login_gives_an_access_token(local) -> None:
    async with anyone(local) as client:
        assert "api-auth" in (await client.get("/api/version")).json()
        access = (await quantum_login(client)).json()["id"]
        client.headers["X-Access-Token"] = access
        user = (await client.get("/api/users/me")).json()
        assert user["username"] == "alice"
        assert user["urls"] == {
            "http": "http://service/api",
            "ws": "ws://service/api",
            "services": {"runtime": "http://service/api"},
        }
        assert (await client.get("/api/jobs")).status_code == 200


async def test_ibm_clouds_login_gives_a_token_with_its_times(local) -> None:
    async with anyone(local) as client:
        answer = (await iam_login(client)).json()
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == answer["expires_in"] == 3600
        assert answer["expiration"] == claims["exp"]
        client.headers["Authorization"] = f"Bearer {answer['access_token']}"
        assert (await client.get("/users/me")).json()["username"] == "alice"


@pytest.mark.parametrize("token", ["wrong", "", "a.b.c"])
async def test_a_wrong_token_is_refused(local, token) -> None:
    async with anyone(local) as client:
        assert (await quantum_login(client, token)).status_code == (401 if token else 400)
        refused = await iam_login(client, token)
        assert refused.status_code == 400
        assert refused.json()["errorMessage"] == "Provided API key was not found."


async def test_an_access_token_does_not_make_another(local) -> None:
    async with anyone(local) as client:
        access = (await quantum_login(client)).json()["id"]
        assert (await quantum_login(client, access)).status_code == 401


async def test_a_client_that_sent_a_logout_continues_with_its_token(local) -> None:
    async with anyone(local) as client, local.client() as alice:
        assert (await client.post("/api/logout")).status_code == 401
        client.headers["X-Access-Token"] = (await quantum_login(client)).json()["id"]
        for each, jobs in ((client, "/api/jobs"), (alice, "/jobs")):
            assert (await each.post(jobs.replace("jobs", "logout"))).status_code == 204
            assert (await each.get(jobs)).status_code == 200


def test_an_access_token_outlives_the_process_and_ends_with_the_users_token() -> None:
    access = Authenticator({"secret": ALICE}, Clock()).access.issue(ALICE, Purpose.API, seconds=60)
    assert Authenticator({"secret": ALICE}, Clock()).identify(access) == ALICE
    with pytest.raises(Exception, match="refused"):
        Authenticator({"changed": ALICE}, Clock()).identify(access)


def test_an_access_token_ends_and_opens_only_what_it_is_for() -> None:
    authenticator = Authenticator({"secret": ALICE}, Clock())
    for purpose, seconds in ((Purpose.API, -1), (Purpose.RESULT, 60)):
        access = authenticator.access.issue(ALICE, purpose, seconds=seconds)
        with pytest.raises(Exception, match="refused"):
            authenticator.identify(access)


def test_no_user_signs_for_another() -> None:
    forged = jwt.encode({"sub": "alice", "aud": "api", "iat": 0, "exp": 2**40}, "x" * 32)
    unsigned = jwt.encode({"sub": "alice", "aud": "api", "iat": 0, "exp": 2**40}, "", "none")
    for token in (forged, unsigned):
        with pytest.raises(Exception, match="refused"):
            Authenticator({"secret": ALICE}, Clock()).identify(token)


async def test_instances_are_found_as_todays_client_looks_for_them(local) -> None:
    async with local.client() as client:
        found = await client.post("/v3/resources/search?limit=100", json={"query": "…"})
        (item,) = found.json()["items"]
        assert item["crn"].startswith("crn:v1:") and item["crn"].count(":") >= 7
        plan = (await client.get(f"/catalog/api/v1/{item['service_plan_unique_id']}")).json()
        assert plan["metadata"]["pricing"]["type"] == "free"
        assert (await client.get("/catalog/api/v1/another")).status_code == 404
        usage = (await client.get("/instances/usage")).json()
        assert usage == {"usage_consumed_seconds": 0.0, "usage_limit_reached": False}
        assert (await client.get("/instance")).json() == {"qctrl_enabled": False}


async def test_hubs_lead_to_the_devices(local) -> None:
    async with local.client() as client:
        (hub,) = (await client.get("/Network")).json()
        assert hub["groups"]["open"]["projects"]["main"]["isDefault"] is True
        project = "/Network/ibm-q/Groups/open/Projects/main"
        devices = (await client.get(f"{project}/devices/v/1")).json()
        assert devices[0]["backend_name"] == "aer_simulator"
        queue = (await client.get(f"{project}/devices/fake_manila/queue/status")).json()
        assert (queue["lengthQueue"], queue["state"]) == (0, True)
        assert (await client.get(f"{project}/devices/fake_manila/defaults")).json()["cmd_def"] == []
        properties = (await client.get(f"{project}/devices/fake_manila/properties")).json()
        assert len(properties["qubits"]) == 5
        for year, known in ((2000, False), (2100, True)):
            where = {"where": {"last_update_date": {"lt": f"{year}-01-01T00:00:00"}}}
            before = await client.get(
                f"{project}/devices/fake_manila/properties", params={"filter": json.dumps(where)}
            )
            assert before.json() == (properties if known else {})
        refused = await client.get(
            f"{project}/devices/fake_manila/properties", params={"filter": '{"where": 1}'}
        )
        assert refused.status_code == 400
        assert "filter of calibrations" in refused.json()["error"]["message"]
        elsewhere = "/Network/ibm-q/Groups/open/Projects/another/devices/v/1"
        assert (await client.get(elsewhere)).status_code == 404


async def test_backends_have_no_limit_of_jobs_and_no_reservations(local) -> None:
    async with local.client() as client:
        await local.job(client, await local.program(client), backend="fake_manila")
        devices = "/Network/ibm-q/Groups/open/Projects/main/devices"
        for name, pending in (("fake_manila", 1), ("fake_lagos", 0)):
            limit = (await client.get(f"{devices}/{name}/jobsLimit")).json()
            assert limit == {"maximumJobs": -1, "runningJobs": pending}
            assert (await client.get(f"/Network/devices/{name}/bookings/v2")).json() == []
        assert (await client.get("/Network/bookings/v2")).json() == []
        for path in (f"{devices}/nowhere/jobsLimit", "/Network/devices/nowhere/bookings/v2"):
            assert (await client.get(path)).status_code == 404


async def test_each_generation_lists_backends_in_its_form(local) -> None:
    async with local.client() as client:
        names = (await client.get("/backends", headers=LEGACY)).json()["devices"]
        assert names[0] == "aer_simulator"
        for headers in (TODAY, {}):
            devices = (await client.get("/backends", headers=headers)).json()["devices"]
            listed = [device["name"] for device in devices]
            assert listed == [name for name in names if name in listed]
            # Older clients refuse a name that is not listed, and old samples name these.
            assert "ibmq_qasm_simulator" in set(names) - set(listed)


def test_a_bare_value_comes_to_older_clients_by_a_link(service, api, counting) -> None:
    for value in ("0.5", "null", "true"):
        body = f'{{"program_id": "{counting}", "params": {{"n": 0, "result": {value}}}}}'
        job_id = api.http.post("/jobs", content=body).json()["id"]
        api.finish(job_id)
        path = f"/jobs/{job_id}/results"
        link = api.http.get(path, headers=LEGACY).json()["url"]
        assert link.startswith(service.discovery.url)
        assert httpx.get(link, trust_env=False).text == value
        assert httpx.get(link + "x", trust_env=False).status_code == 401
        assert api.http.get(path, headers=TODAY).text == api.http.get(path).text == value


def test_other_values_come_as_they_are(api, counting) -> None:
    job_id = api.submit(counting, params={"n": 0, "result": {"x": 1}})
    api.finish(job_id)
    assert api.http.get(f"/jobs/{job_id}/results", headers=LEGACY).json() == {"x": 1}


def test_the_kind_of_a_job_is_reported(api, counting) -> None:
    job_id = api.submit(counting)
    assert api.http.get(f"/facade/v1/jobs/{job_id}/type").json() == {"type": "RUNTIME"}
