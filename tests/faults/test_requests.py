"""Faults of requests that a test can cause."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import websockets

from prefect_qiskit_runtime import RuntimeClient
from prefect_qiskit_runtime.errors import QiskitRuntimeError, RateLimitedError


def test_a_request_is_refused_with_what_the_scenario_says(service, caller, error) -> None:
    service.add(
        "refuse",
        when={"method": "GET", "path": "/jobs/*"},
        status=429,
        retry_after_seconds=7,
        message="Too fast.",
        solution="Wait.",
    )
    answer = caller.http.get("/jobs/abc")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert error(answer) == {"message": "Too fast.", "code": 429, "solution": "Wait."}
    assert caller.http.get("/jobs/abc").status_code == 404


def test_a_scenario_acts_on_the_requests_that_it_counts_out(service, caller) -> None:
    service.add("refuse", when={"path": "/backends", "skip": 1, "times": 2}, status=503)
    statuses = [caller.http.get("/backends").status_code for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    (scenario,) = service.scenarios()
    assert (scenario["seen"], scenario["used"]) == (5, 2)


def test_the_prefixes_of_ibms_clients_do_not_matter(service, caller) -> None:
    service.add("refuse", when={"path": "/backends"}, status=500)
    assert caller.http.get("/experimental/api/v1/backends").status_code == 500


def test_a_submission_refused_before_its_effect_makes_no_job(service, caller) -> None:
    service.add("refuse", when={"method": "POST", "path": "/jobs"}, status=500)
    assert caller.submit(tags=["before"]).status_code == 500
    assert caller.found(tags="before") == []


def test_a_submission_refused_after_its_effect_makes_a_job(service, caller) -> None:
    service.add("refuse", when={"method": "POST"}, status=503, after_effect=True)
    assert caller.submit(tags=["after"]).status_code == 503
    assert len(caller.found(tags="after")) == 1


def test_a_connection_is_reset_before_the_effect(service, caller) -> None:
    service.add("cut", when={"method": "POST"}, moment="before_effect")
    with pytest.raises(httpx.TransportError):
        caller.submit(tags=["cut-before"])
    assert caller.found(tags="cut-before") == []
    assert service.requests("POST", "/jobs")[0]["cut"] is True


def test_a_connection_is_reset_after_the_effect(service, caller) -> None:
    service.add("cut", when={"method": "POST"}, moment="after_effect")
    with pytest.raises(httpx.TransportError):
        caller.submit(tags=["cut-after"])
    assert len(caller.found(tags="cut-after")) == 1


def test_half_of_an_answer_comes(service, caller) -> None:
    service.add("cut", when={"path": "/backends"}, moment="half_body")
    with (
        pytest.raises(httpx.RemoteProtocolError, match="complete message body"),
        caller.http.stream("GET", "/backends") as answer,
    ):
        assert int(answer.headers["Content-Length"]) > 100
        answer.read()


def test_a_silent_request_is_answered_when_its_time_is_over(service, caller) -> None:
    service.add("silence", when={"path": "/backends"}, seconds=3600)
    with pytest.raises(httpx.ReadTimeout):
        caller.http.get("/backends", timeout=0.2)
    service.add("silence", when={"path": "/backends"}, seconds=0.01)
    assert caller.http.get("/backends").status_code == 200


def test_a_silent_submission_has_its_effect_or_has_not(service, caller) -> None:
    for moment, jobs in (("before_effect", 0), ("after_effect", 1)):
        service.add("silence", when={"method": "POST"}, moment=moment)
        with pytest.raises(httpx.ReadTimeout):
            caller.http.post(
                "/jobs",
                content=json.dumps({"program_id": caller.program_id, "tags": [moment]}),
                timeout=1,
            )
        assert len(caller.found(tags=moment)) == jobs


def test_a_result_stream_says_nothing_after_its_headers(service, caller) -> None:
    job_id = caller.job()
    caller.end(job_id)
    service.add("silence", when={"path": "/jobs/*/stream"}, moment="after_headers")
    with (
        pytest.raises(httpx.ReadTimeout),
        caller.http.stream("GET", f"/jobs/{job_id}/stream", timeout=0.3) as stream,
    ):
        assert stream.status_code == 200
        stream.read()


async def test_a_websocket_is_accepted_and_silent(service, caller) -> None:
    job_id = caller.job()
    scenario = service.add("silence", when={"method": "WEBSOCKET"})
    url = f"{service.url.replace('http', 'ws')}/stream/jobs/{job_id}"
    headers = {"Authorization": f"Bearer {service.token}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None) as socket:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)
        await asyncio.to_thread(service.remove, scenario)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


async def test_a_websocket_breaks(service, caller) -> None:
    job_id = caller.job()
    service.add("cut", when={"method": "WEBSOCKET"}, moment="half_body")
    url = f"{service.url.replace('http', 'ws')}/stream/jobs/{job_id}"
    headers = {"Authorization": f"Bearer {service.token}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None) as socket:
        assert json.loads(await socket.recv()) == {"type": "ack"}
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()


def test_access_tokens_end_until_a_new_login(service, caller) -> None:
    def log_in() -> dict[str, str]:
        answer = caller.http.post("/users/loginWithToken", json={"apiToken": service.token})
        return {"Authorization": f"Bearer {answer.json()['id']}"}

    before = log_in()
    assert caller.http.get("/backends", headers=before).status_code == 200
    service.add("expire_tokens", when={"path": "/backends"})
    statuses = [caller.http.get("/backends", headers=before).status_code for _ in range(2)]
    assert statuses == [401, 401]
    assert caller.http.get("/backends", headers=log_in()).status_code == 200
    assert caller.http.get("/backends").status_code == 200


def test_access_tokens_expire_by_the_clock(service, caller) -> None:
    form = {"apikey": service.token, "grant_type": "urn:ibm:params:oauth:grant-type:apikey"}
    token = caller.http.post("/identity/token", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert caller.http.get("/backends", headers=headers).status_code == 200
    service.advance(3601)
    assert caller.http.get("/backends", headers=headers).status_code == 401


async def test_our_client_meets_them_as_its_own_errors(service) -> None:
    async with RuntimeClient(service.url, service.token) as client:
        service.add("refuse", when={"method": "POST"}, status=429, retry_after_seconds=600)
        with pytest.raises(RateLimitedError) as limited:
            await client.run("anything", {})
        assert limited.value.retry_after_seconds == 600
        service.add("cut", when={"path": "/backends", "times": 2})
        assert await client.backends()
    assert len(service.requests(path="/backends")) == 3


def test_the_journal_holds_requests_without_secrets(service, caller) -> None:
    caller.submit(tags=["journal"])
    (request,) = service.requests("POST")
    assert (request["path"], request["user"], request["status"]) == ("/jobs", "tester", 200)
    assert request["headers"]["authorization"] == "***"
    assert len(request["body_sha256"]) == 64 and request["body_bytes"] > 50
    assert service.token not in json.dumps(service.requests())


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"fault": "earthquake"}, "fault"),
        ({"fault": "refuse", "status": 200}, "refuse.status"),
        ({"fault": "cut", "moment": "later"}, "cut.moment"),
        ({"fault": "cut", "when": {"paths": "/jobs"}}, "when.paths"),
        ({"fault": "end_job"}, "reason_code"),
        ({"fault": "late_tags", "seconds": -1}, "seconds"),
    ],
)
def test_a_wrong_scenario_is_refused_with_the_place(service, scenario, message) -> None:
    with pytest.raises(QiskitRuntimeError, match=message):
        service.add(**scenario)
    assert service.scenarios() == []


def test_the_control_endpoints_need_a_token(service) -> None:
    for path in ("scenarios", "journal", "clock"):
        answer = httpx.get(f"{service.url}/fault-mode/{path}", trust_env=False)
        assert answer.status_code == 401


def test_a_private_result_outlives_half_an_answer_and_not_a_lost_one(service, caller) -> None:
    def read(job_id: str, moment: str) -> int:
        path = f"/jobs/{job_id}/results"
        service.add("cut", when={"path": path}, moment=moment)
        with pytest.raises(httpx.TransportError):
            caller.http.get(path)
        return caller.http.get(path).status_code

    first, second = (caller.job(private=True, params={"result": "x" * 9}) for _ in range(2))
    caller.end(first), caller.end(second)
    assert read(first, "half_body") == 200
    assert read(second, "after_effect") == 410
