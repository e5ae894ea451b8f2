"""A service that behaves as IBM's cloud does today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime.service.faults.ibm import LONGEST_TAG, MOST_TAGS
from prefect_qiskit_runtime.testing import OfflineService, offline_service


@pytest.fixture
def http(cloud: OfflineService) -> Iterator[httpx.Client]:
    """A client that has logged in and names its instance, as IBM's clients do."""
    with httpx.Client(base_url=f"{cloud.url}/api/v1", timeout=30, trust_env=False) as http:
        token = http.post(f"{cloud.url}/identity/token", data={"apikey": cloud.token}).json()
        http.headers["Authorization"] = f"Bearer {token['access_token']}"
        found = http.post(f"{cloud.url}/v3/resources/search").json()
        http.headers["Service-CRN"] = found["items"][0]["crn"]
        http.headers["IBM-API-Version"] = "2026-04-15"
        yield http


def submit(http: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"program_id": "sampler", "backend": "aer_simulator", "params": {"pubs": []}, **fields}
    return http.post("/jobs", content=json.dumps(body), headers={"Idempotency-Key": "same"})


def error(answer: httpx.Response) -> dict[str, Any]:
    (error,) = answer.json()["errors"]
    return error


def test_an_idempotency_key_is_not_known(http) -> None:
    first, second = submit(http), submit(http)
    assert first.json()["id"] != second.json()["id"]
    assert "Idempotent-Replayed" not in second.headers


@pytest.mark.parametrize(
    "path",
    ["/programs", "/jobs/x/interim_results", "/jobs/x/stream", "/service/status", "/version"],
)
def test_what_ibm_does_not_have_is_not_there(http, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, error(answer)["code"]) == (404, 404)
    assert answer.json()["trace"]


def test_custom_programs_are_refused(http) -> None:
    answer = submit(http, program_id="my-program")
    assert answer.status_code == 404
    assert "removed in 2024" in error(answer)["message"]


def test_only_access_tokens_and_api_keys_of_their_scheme_are_good(cloud, http) -> None:
    for scheme, status in (("Bearer", 401), ("apikey", 200)):
        headers = {"Authorization": f"{scheme} {cloud.token}"}
        assert http.get("/backends", headers=headers).status_code == status


def test_an_access_token_expires_within_the_hour(cloud, http) -> None:
    assert http.get("/backends").status_code == 200
    cloud.advance(3600)
    assert error(http.get("/backends"))["code"] == 1200


def test_the_instance_must_be_named(http) -> None:
    del http.headers["Service-CRN"]
    assert "Service-CRN" in error(http.get("/backends"))["message"]


def test_tags_are_few_and_short(http) -> None:
    longest = "x" * LONGEST_TAG
    good = submit(http, tags=[longest, "b"])
    assert good.status_code == 200
    assert error(submit(http, tags=["t"] * (MOST_TAGS + 1)))["code"] == 1204
    assert error(submit(http, tags=[longest + "x"]))["code"] == 1205
    path = f"/jobs/{good.json()['id']}/tags"
    assert error(http.put(path, json={"tags": [longest + "x"]}))["code"] == 1205


def test_errors_have_ibms_form(http) -> None:
    answer = http.get("/jobs/nothing")
    assert answer.status_code == 404
    assert set(error(answer)) == {"code", "message", "solution", "more_info"}


def test_five_submissions_a_minute_unless_the_test_removes_the_limit(http) -> None:
    with offline_service(imitate="ibm") as fresh:
        (limit,) = fresh.scenarios()
        assert limit["scenario"]["fault"] == "submission_limit"
        assert (limit["scenario"]["submissions"], limit["scenario"]["seconds"]) == (5, 60)


def test_max_execution_time_is_three_hours_at_most(http) -> None:
    assert submit(http, cost=10_800).status_code == 200
    assert "10800" in error(submit(http, cost=10_801))["message"]
