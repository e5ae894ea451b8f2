"""Answers that are empty, cut, garbled or a page of HTML: no result is lost, none reads as None."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    AuthenticationError,
    ConfigurationError,
    DecodingError,
    IBMQuantumCredentials,
    JobError,
    NotFoundError,
    ProtocolError,
    RuntimeBackend,
    RuntimeServiceCredentials,
    arun_sampler,
    asubmit_sampler,
    run_program,
    submit_program,
    upload_program,
)
from prefect_qiskit_runtime.client import RuntimeClient
from prefect_qiskit_runtime.client.ibm import _polling
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import flip
from tests.proxy import Fault, Proxy
from tests.simulated_ibm import ibm_backend
from tests.team import TOKENS

PAGE = b"<html><body><h1>The gateway is busy</h1></body></html>"
RESULTS = r"GET (/api/v1)?/jobs/\w+/results"
DAMAGED = {
    "empty": b"",
    "cut": b'{"__type__": "PrimitiveResult", "__value__": {"pub_res',
    "garbled": b"\xff\xfe{}\x00",
    "page": PAGE,
}
ANSWERING = "def main(backend, user_messenger, answer=None):\n    return answer\n"


@pytest.fixture
def ibm(cloud: OfflineService) -> Iterator[Proxy]:
    proxy = Proxy(cloud.url)
    yield proxy
    proxy.close()


@pytest.fixture
def backend(ibm: Proxy, cloud: OfflineService) -> RuntimeBackend:
    return ibm_backend(ibm.url, cloud.token, retry_deadline_seconds=20)


def team_backend(proxy: Proxy, **fields: Any) -> RuntimeBackend:
    credentials = RuntimeServiceCredentials(url=proxy.url, token=TOKENS["alice"])
    return RuntimeBackend(service="team", credentials=credentials, **fields)


async def count(backend: RuntimeBackend, **how: Any) -> dict[str, int]:
    async with asyncio.timeout(60):
        (result,) = cast("Any", await arun_sampler.fn([flip()], backend=backend, shots=5, **how))
    return result.data.meas.get_counts()


def asked(proxy: Proxy, what: str) -> int:
    return sum(request.endswith(what) for request in proxy.seen)


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_damaged_result_is_fetched_again(
    ibm: Proxy, backend: RuntimeBackend, damage: str
) -> None:
    ibm.faults.append(Fault(RESULTS, "after", 200, DAMAGED[damage]))
    assert await count(backend) == {"1": 5}
    assert (asked(ibm, "/results"), asked(ibm, "POST /api/v1/jobs")) == (2, 1)


async def test_a_result_that_stays_empty_is_an_error_and_is_not_kept(
    ibm: Proxy, backend: RuntimeBackend, prefect_server: None
) -> None:
    ibm.faults.append(Fault(RESULTS, "after", 200, b"", times=4))
    with pytest.raises(ProtocolError, match=r"Job \w+ has completed, but .* empty result 4 times"):
        await count(backend, cache=True)
    assert await count(backend, cache=True) == {"1": 5}
    assert asked(ibm, "POST /api/v1/jobs") == 1


async def test_a_result_that_stays_garbled_is_an_error(ibm: Proxy, backend: RuntimeBackend) -> None:
    ibm.faults.append(Fault(RESULTS, "after", 200, DAMAGED["cut"], times=9))
    with pytest.raises(DecodingError, match="as JSON"):
        await count(backend)
    assert asked(ibm, "/results") == 2  # the second answer is the same


async def test_a_page_in_place_of_a_result_may_come_again_and_is_never_the_result(
    ibm: Proxy, backend: RuntimeBackend
) -> None:
    ibm.faults.append(Fault(RESULTS, "after", 200, PAGE, times=2))
    assert await count(backend) == {"1": 5}
    assert (asked(ibm, "/results"), asked(ibm, "POST /api/v1/jobs")) == (3, 1)


class AsItIs:
    """A decoder that takes any text."""

    @staticmethod
    def decode(data: str) -> str:
        return data


async def test_a_page_is_not_the_result_of_a_decoder_that_takes_any_text(proxy: Proxy) -> None:
    async with RuntimeClient(url=proxy.url, token=TOKENS["alice"]) as client:
        program_id = await client.upload_program(ANSWERING, {"name": "answering-null"})
        job = await client.run(program_id, {"answer": 7})
        proxy.faults.append(Fault(RESULTS, "after", 200, PAGE, times=2))
        assert await job.result(decoder=AsItIs) == "7"


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_client_without_prefect_fetches_a_damaged_result_again(
    proxy: Proxy, damage: str
) -> None:
    async with RuntimeClient(url=proxy.url, token=TOKENS["alice"]) as client:
        program_id = await client.upload_program(ANSWERING, {"name": "answering-null"})
        job = await client.run(program_id, {"answer": 7})
        proxy.faults.append(Fault(RESULTS, "after", 200, DAMAGED[damage]))
        assert await job.result() == 7


def test_a_program_that_returns_none_has_a_result(proxy: Proxy) -> None:
    team = team_backend(proxy)
    program_id = upload_program.fn(ANSWERING, name="answering-null", backend=team)
    proxy.seen.clear()
    assert run_program.fn(program_id, backend=team) is None
    assert asked(proxy, "/results") == 1


# --- private results -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "error"),
    [("cut", DecodingError), ("garbled", DecodingError), ("page", ProtocolError)],
)
async def test_a_damaged_private_result_is_never_fetched_again(
    ibm: Proxy,
    backend: RuntimeBackend,
    prefect_server: None,
    damage: str,
    error: type[Exception],
) -> None:
    ibm.faults.append(Fault(RESULTS, "after", 200, DAMAGED[damage]))
    with pytest.raises(error):
        await count(backend.model_copy(update={"private": True}))
    assert asked(ibm, "/results") == 1


async def test_a_private_result_that_was_read_before_is_an_error(
    ibm: Proxy, backend: RuntimeBackend, prefect_server: None
) -> None:
    """IBM answers a second request for it with 204 and nothing."""
    ibm.faults.append(Fault(RESULTS, "before", 204, b""))
    job = await asubmit_sampler.fn(
        [flip()], backend=backend.model_copy(update={"private": True}), shots=5
    )
    with pytest.raises(NotFoundError, match="has already been read, and it is not in") as caught:
        await job.aresult()
    assert (caught.value.kind, caught.value.identifier) == ("result", job.job_id)
    assert asked(ibm, "/results") == 1


async def test_a_client_without_prefect_reports_a_private_result_that_was_read_before(
    proxy: Proxy,
) -> None:
    async with RuntimeClient(url=proxy.url, token=TOKENS["alice"]) as client:
        program_id = await client.upload_program(ANSWERING, {"name": "answering-null"})
        job = await client.run(program_id, {"answer": 7}, {"private": True})
        assert await job.result() == 7
        await job._api.acknowledge_result(job.job_id)
        with pytest.raises(NotFoundError, match="is private, and its result can be fetched only"):
            await job.result()


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_private_result_is_fetched_again_where_it_is_kept_until_acknowledged(
    proxy: Proxy, prefect_server: None, damage: str
) -> None:
    team = team_backend(proxy, private=True)
    program_id = upload_program.fn(ANSWERING, name="answering-null", backend=team)
    proxy.faults.append(Fault(RESULTS, "after", 200, DAMAGED[damage]))

    @flow
    def once() -> int:
        return run_program(program_id, {"answer": 7}, backend=team)

    assert once() == 7
    asked_for = [seen.split(" ")[0] for seen in proxy.seen if seen.endswith("/results")]
    assert asked_for == ["GET", "GET", "DELETE"]


def test_a_private_result_that_stays_damaged_is_neither_stored_nor_acknowledged(
    proxy: Proxy, prefect_server: None
) -> None:
    team = team_backend(proxy, private=True)
    program_id = upload_program.fn(ANSWERING, name="answering-null", backend=team)
    cut = Fault(RESULTS, "after", 200, DAMAGED["cut"], times=2)
    proxy.faults.append(cut)

    @flow
    def twice() -> int:
        job = submit_program(program_id, {"answer": 7}, backend=team)
        with pytest.raises(DecodingError, match="as JSON"):
            job.result()
        assert cut.happened == 2
        return job.result()

    assert twice() == 7
    assert sum(seen.startswith("DELETE") for seen in proxy.seen) == 1


async def test_the_error_of_a_damaged_private_result_says_that_ibm_does_not_send_it_again(
    ibm: Proxy, backend: RuntimeBackend, prefect_server: None
) -> None:
    ibm.faults.append(Fault(RESULTS, "after", 200, DAMAGED["cut"]))
    job = await asubmit_sampler.fn(
        [flip()], backend=backend.model_copy(update={"private": True}), shots=5
    )
    with pytest.raises(DecodingError) as caught:
        await job.aresult()
    assert f"Job {job.job_id} is private, and its service sends the result only once" in str(
        caught.value
    )
    assert asked(ibm, "/results") == 1


# --- pages in place of answers -------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        r"GET /api/v1/jobs/\w+\?exclude_params",
        r"GET /api/v1/backends/\w+/configuration",
        r"GET /api/v1/jobs/\w+/metrics",
    ],
)
@pytest.mark.parametrize("damage", ["empty", "garbled", "page"])
async def test_an_answer_that_is_not_json_is_asked_for_again(
    ibm: Proxy,
    backend: RuntimeBackend,
    cloud: OfflineService,
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    damage: str,
) -> None:
    cloud.add("job_usage", pending=True)  # otherwise the list of jobs has their usage
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    limited = backend.model_copy(update={"max_qpu_seconds_per_day": 1e6, "transpile": True})
    assert await count(limited) == {"1": 5}
    ibm.seen.clear()
    page = Fault(question, "after", 200, DAMAGED[damage])
    ibm.faults.append(page)
    other = limited.model_copy(update={"fractional_gates": True})  # a device that is not known yet
    assert await count(other if "backends" in question else limited) == {"1": 5}
    assert (page.happened, asked(ibm, "POST /api/v1/jobs")) == (1, 1)


async def test_but_not_without_end(
    ibm: Proxy, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    monkeypatch.setattr(_polling, "_GIVE_UP_SECONDS", 0.5)
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+\?", "after", 200, PAGE, times=1000))
    with pytest.raises(ProtocolError, match="the answer is not one of the protocol"):
        await count(backend.model_copy(update={"retry_deadline_seconds": 0}))


GATEWAYS = {
    "nginx": b"<html><head><title>404 Not Found</title></head></html>",
    "traefik": b"404 page not found",
    "envoy": b"",
    "kong": b'{"message": "no Route matched with those values"}',
    "spring": b'{"status": 404, "error": "Not Found", "path": "/api/v1/jobs"}',
}


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("gateway", GATEWAYS)
async def test_a_404_of_a_gateway_does_not_show_that_a_job_was_deleted(
    ibm: Proxy,
    backend: RuntimeBackend,
    monkeypatch: pytest.MonkeyPatch,
    gateway: str,
    status: int,
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+\?", "before", status, GATEWAYS[gateway]))
    ibm.faults.append(Fault(RESULTS, "before", status, GATEWAYS[gateway]))
    assert await count(backend) == {"1": 5}
    assert [fault.happened for fault in ibm.faults] == [1, 1]
    assert asked(ibm, "POST /api/v1/jobs") == 1


INVISIBLE = b'{"errors": [{"code": 1291, "message": "Job not found."}]}'


async def test_a_job_that_is_not_visible_right_after_its_submission_is_not_taken_for_deleted(
    ibm: Proxy, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+\?", "before", 404, INVISIBLE, times=3))
    assert await count(backend) == {"1": 5}
    assert (ibm.faults[0].happened, asked(ibm, "POST /api/v1/jobs")) == (3, 1)


async def test_a_job_that_stays_invisible_ends_the_call_with_what_was_tried(
    ibm: Proxy, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "1")
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+\?", "before", 404, INVISIBLE, times=1000))
    with pytest.raises(NotFoundError, match="has not shown it since") as caught:
        await count(backend)
    assert caught.value.kind == "unseen_job"
    assert asked(ibm, "POST /api/v1/jobs") == 1


async def test_a_page_of_a_firewall_during_the_wait_ends_no_call(
    ibm: Proxy, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+\?", "before", 403, PAGE))
    assert await count(backend) == {"1": 5}
    assert (ibm.faults[0].happened, asked(ibm, "POST /api/v1/jobs")) == (1, 1)


async def test_a_404_of_a_gateway_for_a_submission_leads_to_the_job_that_was_made(
    ibm: Proxy, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "2")
    ibm.faults.append(Fault(r"POST /api/v1/jobs$", "after", 404, GATEWAYS["nginx"]))
    assert await count(backend) == {"1": 5}
    assert asked(ibm, "POST /api/v1/jobs") == 1


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, PAGE, "Is this a Qiskit Runtime service"),
        (404, GATEWAYS["nginx"], "404 without the reason"),
    ],
    ids=["a page", "404"],
)
async def test_an_address_that_has_never_answered_with_json_is_reported_at_once(
    proxy: Proxy, status: int, body: bytes, message: str
) -> None:
    proxy.faults.append(Fault("GET /", "before", status, body, times=1000))
    async with RuntimeClient(url=proxy.url, token=TOKENS["alice"]) as client:
        with pytest.raises(ProtocolError, match=message) as caught:
            await client.programs()
    assert (caught.value.transient, len(proxy.seen)) == (False, 1)


# --- errors of jobs -------------------------------------------------------------------------------


async def test_the_error_of_a_job_is_reported_even_if_it_left_no_text_and_no_log(
    ibm: Proxy, backend: RuntimeBackend, cloud: OfflineService
) -> None:
    cloud.add("end_job", reason_code=1102)
    none = b'{"errors": [{"code": 1291, "message": "There is no result."}]}'
    ibm.faults.append(Fault(RESULTS, "before", 404, none))
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+/logs", "before", 404, b"", times=9))
    with pytest.raises(JobError) as caught:
        await count(backend)
    assert caught.value.reason_code == 1102


# --- pages of a firewall -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("request_", ["POST /identity/token", "GET /api/v1/backends"])
async def test_a_page_of_a_firewall_is_not_called_a_wrong_key(
    ibm: Proxy, backend: RuntimeBackend, request_: str, status: int
) -> None:
    ibm.faults.append(Fault(request_, "before", status, PAGE, times=1000))
    with pytest.raises(ConfigurationError, match="so a firewall or a proxy blocks the request"):
        await count(backend.model_copy(update={"retry_deadline_seconds": 0}), transpile=True)
    assert isinstance(backend.credentials, IBMQuantumCredentials)
    with pytest.raises(ConfigurationError, match=f"answered {status} with a page") as caught:
        await backend.credentials.averify()
    assert "key is wrong" not in str(caught.value)
    assert asked(ibm, "POST /api/v1/jobs") == 0


async def test_a_refusal_of_the_identity_service_is(ibm: Proxy, backend: RuntimeBackend) -> None:
    refusal = b'{"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}'
    ibm.faults.append(Fault("POST /identity/token", "before", 403, refusal, times=1000))
    with pytest.raises(AuthenticationError, match="refused the API key"):
        await count(backend)
