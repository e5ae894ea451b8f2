"""Requests over a real socket to a service that misbehaves: what is asked again, what is not."""

from __future__ import annotations

import pickle

import pytest

from prefect_qiskit_runtime.client import RuntimeApi, format_programs
from prefect_qiskit_runtime.client._answers import KnownServices
from prefect_qiskit_runtime.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
    RateLimitedError,
    ServiceUnavailableError,
)
from prefect_qiskit_runtime.models import ProgramMetadata, RuntimeOptions
from prefect_qiskit_runtime.settings import Settings

from .conftest import TOKEN, Wire, answer, cut, hang, refuse

SUBMITTED = {"id": "j1", "backend": "aer_simulator"}


PROGRAM = {
    "id": "p2",
    "name": "vqe",
    "description": "d",
    "cost": 60,
    "is_public": True,
    "creation_date": "2026-10-01T12:00:00Z",
    "update_date": "2026-10-01T12:00:00Z",
    "spec": {"parameters": {}},
    "version": 2,
    "content_hash": "h",
    "owner": "alice",
}


@pytest.mark.parametrize("name", [name for name in PROGRAM if name != "id"])
@pytest.mark.parametrize("value", [None, "", True, -1.5, [None], {"other": 1}], ids=repr)
async def test_a_side_field_of_a_program_never_breaks_the_listing(
    wire: Wire, api: RuntimeApi, name: str, value: object
) -> None:
    odd = {**PROGRAM, name: value}
    rows = [{**PROGRAM, "id": "p1"}, odd, {"id": "p3"}]
    wire.on("GET /programs", answer({"programs": rows, "count": 3}))
    found = await api.list_programs()
    assert [program.id for program in found] == ["p1", "p2", "p3"]
    assert (found[0].name, found[2].name, found[2].creation_date) == ("vqe", "unknown", None)
    assert all(program.id in format_programs(found, detailed=True) for program in found)
    with pytest.raises(ProtocolError, match=r"programs\.1\.id"):
        wire.on("GET /programs", answer({"programs": [PROGRAM, {**PROGRAM, "id": ""}], "count": 2}))
        await api.list_programs()


async def test_a_request_carries_token_and_instance(wire: Wire) -> None:
    wire.on("GET /api/backends", answer({"devices": []}))
    async with RuntimeApi(f"{wire.url}/api/", TOKEN, instance="crn:a:b") as api:
        assert await api.list_backends() == []
    assert wire.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert wire.seen[0].headers["service-crn"] == "crn:a:b"


@pytest.mark.parametrize("fault", [refuse(503, "busy"), refuse(500, "oops"), cut])
async def test_a_read_is_asked_again_after_a_passing_fault(
    wire: Wire, api: RuntimeApi, fault
) -> None:
    wire.on("GET /jobs/j1/logs", fault, answer("the log"))
    assert await api.job_logs("j1") == "the log"
    assert len(wire.seen) == 2


@pytest.mark.parametrize("fault", [refuse(503, "busy"), cut])
async def test_a_deletion_is_not_asked_again_after_an_unclear_outcome(
    wire: Wire, api: RuntimeApi, fault
) -> None:
    wire.on("DELETE /jobs/j1", fault, answer(status=204))
    with pytest.raises(ServiceUnavailableError) as caught:
        await api.delete_job("j1")
    assert caught.value.transient
    assert len(wire.seen) == 1


async def test_a_submission_that_is_sent_again_carries_the_same_key(
    wire: Wire, api: RuntimeApi
) -> None:
    wire.on("POST /jobs", cut, answer(SUBMITTED, Idempotent_Replayed="true"))
    submitted = await api.submit_job("p1", "{}")
    assert (submitted.id, submitted.replayed) == ("j1", True)
    first, second = (seen.headers["idempotency-key"] for seen in wire.seen)
    assert first == second
    assert len(first) > 20


async def test_two_submissions_without_a_key_get_two_keys(wire: Wire, api: RuntimeApi) -> None:
    wire.on("POST /jobs", answer(SUBMITTED))
    assert not (await api.submit_job("p1", "{}")).replayed
    await api.submit_job("p1", "{}")
    assert wire.seen[0].headers["idempotency-key"] != wire.seen[1].headers["idempotency-key"]


@pytest.mark.parametrize("key", ["né", "two words", "line\nbreak", "k" * 256])
async def test_a_key_that_fits_no_header_is_refused_before_it_is_sent(
    wire: Wire, api: RuntimeApi, key: str
) -> None:
    with pytest.raises(InvalidInputError, match="printable ASCII"):
        await api.submit_job("p1", "{}", idempotency_key=key)
    assert wire.seen == []


async def test_the_inputs_go_out_as_they_are(wire: Wire, api: RuntimeApi) -> None:
    wire.on("POST /jobs", answer(SUBMITTED))
    inputs = '{"x": 1.50, "text": "\\u00e9 é", "x2":[ 1e3,NaN ]}'
    options = RuntimeOptions(tags=("t",))
    await api.submit_job("p1", inputs, backend="b", options=options, idempotency_key="k", attempt=2)
    assert wire.seen[0].body.decode() == (
        f'{{"program_id": "p1", "backend": "b", "tags": ["t"], "attempt": 2, "params": {inputs}}}'
    )
    assert wire.seen[0].headers["idempotency-key"] == "k"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidInputError),
        (401, AuthenticationError),
        (403, AccessDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, InvalidInputError),
        (422, InvalidInputError),
        (429, RateLimitedError),
        (307, ProtocolError),
        (418, ProtocolError),
        (500, ServiceUnavailableError),
        (522, ServiceUnavailableError),
    ],
)
async def test_a_refusal_becomes_the_error_of_its_status(
    wire: Wire, api: RuntimeApi, status: int, error: type[QiskitRuntimeError]
) -> None:
    wire.on("POST /jobs/j1/cancel", refuse(status, "said so"))
    with pytest.raises(error) as caught:
        await api.cancel_job("j1")
    assert type(caught.value) is error
    said = "said so." if 400 <= status < 500 else f"127.0.0.1 answered {status}: said so."
    assert str(caught.value).startswith(f"Cannot cancel job j1: {said}")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_a_broken_rule_keeps_its_path(wire: Wire, api: RuntimeApi) -> None:
    refusal = {"message": "-1 is too small", "code": 1, "path": "$.maxiter", "rule": "minimum: 1"}
    wire.on("POST /jobs", answer({"error": refusal}, 400))
    with pytest.raises(InvalidInputError) as caught:
        await api.submit_job("p1", '{"maxiter": -1}')
    assert (caught.value.path, caught.value.rule) == ("$.maxiter", "minimum: 1")


async def test_what_is_missing_is_named(wire: Wire, api: RuntimeApi) -> None:
    with pytest.raises(NotFoundError) as caught:
        await api.get_program("p/1")
    assert (caught.value.kind, caught.value.identifier) == ("program", "p/1")
    assert wire.seen[0].path == "/programs/p%2F1"


async def test_the_service_may_say_what_is_missing(wire: Wire, api: RuntimeApi) -> None:
    refusal = {"message": "no", "code": 404, "kind": "backend", "identifier": "nowhere"}
    wire.on("POST /jobs", answer({"error": refusal}, 404))
    with pytest.raises(NotFoundError) as caught:
        await api.submit_job("p1", "{}", backend="nowhere")
    assert (caught.value.kind, caught.value.identifier) == ("backend", "nowhere")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"errors": [{"code": 1, "message": "Not yours", "solution": "Ask"}]}, "Not yours. Ask."),
        ({"detail": "Method Not Allowed"}, "Method Not Allowed."),
        (b"<html>no</html>", "127.0.0.1 answered 409."),
        (b"[]", "127.0.0.1 answered 409."),
    ],
)
async def test_refusals_of_other_forms_are_read(
    wire: Wire, api: RuntimeApi, body: object, expected: str
) -> None:
    wire.on("POST /jobs/j1/cancel", answer(body, 409))
    with pytest.raises(ConflictError) as caught:
        await api.cancel_job("j1")
    assert str(caught.value) == f"Cannot cancel job j1: {expected}"


async def test_the_token_is_taken_out_of_what_the_service_says(wire: Wire, api: RuntimeApi) -> None:
    wire.on("GET /jobs/j1", refuse(401, f"token {TOKEN} is bad"))
    with pytest.raises(AuthenticationError) as caught:
        await api.get_job("j1")
    assert "token *** is bad" in str(caught.value)
    assert TOKEN not in repr(api) + repr(caught.value)


async def test_a_service_that_asks_for_patience_is_asked_again(wire: Wire, api: RuntimeApi) -> None:
    wire.on("GET /jobs/j1/logs", refuse(429, "slow down", Retry_After="0"), answer("log"))
    assert await api.job_logs("j1") == "log"


async def test_a_wait_beyond_the_deadline_is_left_to_the_caller(
    wire: Wire, api: RuntimeApi
) -> None:
    wire.on("GET /jobs/j1/logs", refuse(429, "slow down", Retry_After="3600"))
    with pytest.raises(RateLimitedError) as caught:
        await api.job_logs("j1")
    assert caught.value.retry_after_seconds == 3600
    assert len(wire.seen) == 1


async def test_a_service_that_never_answers_is_given_up(wire: Wire) -> None:
    wire.on("GET /jobs/j1/logs", hang)
    async with RuntimeApi(wire.url, TOKEN, settings=Settings(request_timeout_seconds=0.5)) as api:
        with pytest.raises(ServiceUnavailableError, match="no answer in time"):
            await api.job_logs("j1")


async def test_a_question_without_an_answer_in_time_is_asked_once_more(wire: Wire) -> None:
    wire.on("GET /jobs/j1/logs", hang, answer("log"))
    async with RuntimeApi(wire.url, TOKEN, settings=Settings(request_timeout_seconds=1)) as api:
        assert await api.job_logs("j1") == "log"
    assert len(wire.seen) == 2


async def test_a_refused_connection_is_a_passing_fault(unused_port: int) -> None:
    settings = Settings(request_timeout_seconds=0.1)
    async with RuntimeApi(f"http://127.0.0.1:{unused_port}", TOKEN, settings=settings) as api:
        with pytest.raises(ServiceUnavailableError, match="Is the service running"):
            await api.get_job("j1")


@pytest.mark.parametrize("body", [b"<html>a secret</html>", {"secret": 1}, {"id": {"secret": 1}}])
async def test_an_answer_out_of_protocol_is_not_cited(
    wire: Wire, api: RuntimeApi, body: object
) -> None:
    wire.on("GET /jobs/j1", answer(body))
    with pytest.raises(ProtocolError) as caught:
        await api.get_job("j1")
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_listing_goes_through_all_pages(wire: Wire, api: RuntimeApi) -> None:
    def page(*numbers: int) -> dict:
        times = {"creation_date": "2026-01-01T00:00:00Z", "update_date": "2026-01-01T00:00:00Z"}
        programs = [{"id": f"p{number}", "name": "n", **times} for number in numbers]
        return {"programs": programs, "count": 4}

    # Between the pages a program was uploaded: p2 moved to the second page.
    wire.on("GET /programs", answer(page(1, 2)), answer(page(2, 3)))
    assert [program.id for program in await api.list_programs()] == ["p1", "p2", "p3"]
    assert [seen.query["offset"] for seen in wire.seen] == [["0"], ["2"]]


async def test_a_limit_asks_for_no_more(wire: Wire, api: RuntimeApi) -> None:
    wire.on("GET /jobs", answer({"jobs": [], "count": 0}))
    assert await api.list_jobs(limit=3, offset=2, tags=["a", "b"], pending=True) == []
    assert wire.seen[0].query == {
        "exclude_params": ["true"],
        "limit": ["3"],
        "offset": ["2"],
        "pending": ["true"],
        "tags": ["a", "b"],
    }


async def test_an_upload_names_the_limit_as_ibm_does(wire: Wire, api: RuntimeApi) -> None:
    wire.on("POST /programs", answer({"id": "p1"}, 201))
    metadata = ProgramMetadata(name="n", max_execution_time=60)
    uploaded = await api.upload_program("def main(): ...\n", metadata)
    assert (uploaded.id, uploaded.version, uploaded.outcome) == ("p1", 1, "created")
    assert wire.seen[0].json == {
        "name": "n",
        "description": "",
        "spec": {},
        "cost": 60,
        "data": "ZGVmIG1haW4oKTogLi4uCg==",
        "if_exists": "update",
    }


async def test_no_result_is_none(wire: Wire, api: RuntimeApi) -> None:
    wire.on("GET /jobs/j1/results", answer("", 204), answer("null"))
    assert await api.job_result("j1") is None
    assert await api.job_result("j1") == b"null"


async def test_a_proxy_of_the_environment_sees_no_local_requests(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    wire.on("GET /jobs/j1/logs", answer("log"))
    async with RuntimeApi(wire.url, TOKEN) as api:
        assert await api.job_logs("j1") == "log"


@pytest.mark.parametrize("url", ["localhost:1", "ftp://localhost", "http://a:b:c", ""])
async def test_what_is_no_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        async with RuntimeApi(url, TOKEN) as api:
            await api.list_backends()


async def test_a_client_outside_its_with_says_so() -> None:
    with pytest.raises(ConfigurationError, match="async with"):
        await RuntimeApi("http://127.0.0.1", TOKEN).list_backends()


async def test_a_certificate_is_verified_unless_it_is_given(
    tmp_path, tls_wire: tuple[Wire, str]
) -> None:
    wire, certificate = tls_wire
    wire.on("GET /jobs/j1/logs", answer("log"))
    async with RuntimeApi(wire.url, TOKEN) as api:
        with pytest.raises(ConfigurationError, match="certificate is not trusted"):
            await api.job_logs("j1")
    assert wire.seen == []
    async with RuntimeApi(wire.url, TOKEN, verify=certificate) as api:
        assert await api.job_logs("j1") == "log"
    async with RuntimeApi(wire.url, TOKEN, verify=False) as api:
        assert await api.job_logs("j1") == "log"


def test_a_known_service_is_remembered_until_many_others_have_answered() -> None:
    known = KnownServices(limit=2)
    known.record_answer("http://a:1/v1", is_json=True)
    known.record_answer("http://b:1")
    known.record_answer("http://a:1/other")
    assert known.has_answered("http://b:1/jobs")
    assert not known.speaks_json("http://b:1")
    assert known.speaks_json("http://a:1")
    known.record_answer("http://c:1")
    assert not known.has_answered("http://a:1")
    assert not known.speaks_json("http://a:1")
    assert known.has_answered("http://c:1")
