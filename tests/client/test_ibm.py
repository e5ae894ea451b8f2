"""Requests to IBM and its answers: submissions, errors, instances, waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from prefect_qiskit_runtime.client import IbmAccount, IbmApi, RuntimeClient
from prefect_qiskit_runtime.client.ibm import _login, _polling, api as api_module
from prefect_qiskit_runtime.client.ibm._polling import JobPoller
from prefect_qiskit_runtime.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
)
from prefect_qiskit_runtime.models import (
    EndEvent,
    JobInfo,
    JobStatus,
    ProgramMetadata,
    RuntimeOptions,
)
from prefect_qiskit_runtime.settings import Settings

from .conftest import Wire, answer, cut, refuse

KEY = "a-very-secret-api-key"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1234:5678::"
EU = "crn:v1:bluemix:public:quantum-computing:eu-de:a/1234:9999::"
JOB = "GET /api/v1/jobs/j1"
SEARCH = "POST /v3/resources/search"


@pytest.fixture(autouse=True)
def without_saved_logins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
        monkeypatch.delenv(name, raising=False)
    _login._logins.cache_clear()
    yield


@pytest.fixture
def ibm(wire: Wire) -> Callable[..., IbmApi]:
    wire.on("POST /identity/token", answer({"access_token": "iam-token", "expires_in": 3600}))

    def ibm(**fields: Any) -> IbmApi:
        account = IbmAccount(KEY, **{"url": f"{wire.url}/api/v1", "instance": CRN, **fields})
        return IbmApi(account, settings=Settings(request_timeout_seconds=30))

    return ibm


@pytest.fixture
async def api(ibm: Callable[..., IbmApi]) -> AsyncIterator[IbmApi]:
    async with ibm() as api:
        yield api


def job(status: str, **state: object) -> dict[str, object]:
    return {
        "id": "j1",
        "backend": "ibm_fez",
        "state": {"status": status, **state},
        "status": status,
        "program": {"id": "sampler"},
        "created": datetime.now(UTC).isoformat(),
        "tags": [],
    }


NOT_FOUND = refuse(404, "Job not found.")


@pytest.fixture
def grace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how long a job that was submitted may be invisible."""
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    monkeypatch.setattr(api_module, "_INVISIBLE_PAUSE_SECONDS", 0.01)
    name = "PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS"
    return lambda seconds: monkeypatch.setenv(name, str(seconds))


def submitted(ibm: Callable[..., IbmApi]) -> IbmApi:
    """Return a connection with the settings of the environment."""
    return IbmApi(ibm()._source)


QUESTIONS: dict[str, tuple[str, Callable[[IbmApi], Any]]] = {
    "wait": (JOB, lambda api: api.wait_for_job("j1")),
    "get": (JOB, lambda api: api.get_job("j1")),
    "cancel": ("POST /api/v1/jobs/j1/cancel", lambda api: api.cancel_job("j1")),
    "delete": ("DELETE /api/v1/jobs/j1", lambda api: api.delete_job("j1")),
}


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_new_job_that_is_not_visible_yet_is_asked_for_again(
    wire: Wire, ibm: Callable[..., IbmApi], grace: Callable[[float], None], name: str
) -> None:
    grace(60)
    request, ask = QUESTIONS[name]
    wire.on("POST /api/v1/jobs", answer({"id": "j1", "backend": "ibm_fez"}))
    wire.on(request, NOT_FOUND, NOT_FOUND, answer(job("Completed")))
    async with submitted(ibm) as api:
        await api.submit_job("sampler", "{}", backend="ibm_fez")
        await ask(api)
    assert len(wire.calls(request)) == 3


@pytest.mark.parametrize("name", QUESTIONS)
async def test_after_the_grace_period_the_error_says_what_was_tried_and_not_that_it_was_deleted(
    wire: Wire, ibm: Callable[..., IbmApi], grace: Callable[[float], None], name: str
) -> None:
    grace(0.2)
    request, ask = QUESTIONS[name]
    wire.on("POST /api/v1/jobs", answer({"id": "j1", "backend": "ibm_fez"}))
    wire.on(request, NOT_FOUND)
    async with submitted(ibm) as api:
        await api.submit_job("sampler", "{}", backend="ibm_fez")
        with pytest.raises(
            NotFoundError, match=r"accepted job j1 .* asked for \d+ times"
        ) as caught:
            await ask(api)
    assert (caught.value.kind, caught.value.identifier) == ("unseen_job", "j1")
    assert not caught.value.transient
    assert len(wire.calls(request)) > 1
    assert len(wire.calls("POST /api/v1/jobs")) == 1


@pytest.mark.parametrize(
    ("seen", "gone", "kind"),
    [
        (True, NOT_FOUND, "job"),
        (False, refuse(410, "The job was deleted."), "deleted_job"),
    ],
)
async def test_a_job_that_was_seen_or_is_gone_is_deleted_at_once(
    wire: Wire,
    ibm: Callable[..., IbmApi],
    grace: Callable[[float], None],
    seen: bool,
    gone: Any,
    kind: str,
) -> None:
    grace(60)
    wire.on("POST /api/v1/jobs", answer({"id": "j1", "backend": "ibm_fez"}))
    wire.on(JOB, *([answer(job("Running"))] if seen else []), gone)
    async with submitted(ibm) as api:
        await api.submit_job("sampler", "{}", backend="ibm_fez")
        with pytest.raises(NotFoundError) as caught:
            await api.wait_for_job("j1")
    assert (caught.value.kind, caught.value.identifier) == (kind, "j1")
    assert len(wire.calls(JOB)) == 1 + seen


async def test_a_job_of_another_process_that_does_not_exist_is_reported_at_once(
    wire: Wire, ibm: Callable[..., IbmApi], grace: Callable[[float], None]
) -> None:
    grace(60)
    wire.on(JOB, NOT_FOUND)
    async with submitted(ibm) as api:
        with pytest.raises(NotFoundError, match=r"^Cannot get job j1: Job not found"):
            await api.get_job("j1")
    assert len(wire.calls(JOB)) == 1


# Submitting ------------------------------------------------------------------------------------


async def test_a_submission_has_what_ibm_knows_and_nothing_else(wire: Wire, api: IbmApi) -> None:
    wire.on("POST /api/v1/jobs", answer({"id": "j1", "backend": "ibm_fez"}))
    options = RuntimeOptions(max_execution_time=60, tags=("t",), log_level="INFO")
    submitted = await api.submit_job(
        "sampler", '{"pubs":[]}', backend="ibm_fez", options=options, idempotency_key="k", attempt=2
    )
    assert (submitted.id, submitted.replayed) == ("j1", False)
    (seen,) = wire.calls("POST /api/v1/jobs")
    assert seen.json == {
        "program_id": "sampler",
        "backend": "ibm_fez",
        "tags": ["t"],
        "cost": 60,
        "log_level": "INFO",
        "params": {"pubs": []},
    }
    assert "idempotency-key" not in seen.headers
    assert not api.kind.is_keyed


@pytest.mark.parametrize("fault", [refuse(503, "busy"), refuse(500, "oops"), cut])
async def test_a_submission_with_an_unclear_outcome_is_not_sent_again(
    wire: Wire, api: IbmApi, fault
) -> None:
    wire.on("POST /api/v1/jobs", fault, answer({"id": "j1", "backend": "ibm_fez"}))
    with pytest.raises(ServiceUnavailableError):
        await api.submit_job("sampler", "{}")
    assert len(wire.calls("POST /api/v1/jobs")) == 1


async def test_a_submission_that_comes_too_soon_says_when_to_come_again(
    wire: Wire, api: IbmApi
) -> None:
    wire.on("POST /api/v1/jobs", refuse(429, "5 a minute", Retry_After="12"))
    with pytest.raises(RateLimitedError) as caught:
        await api.submit_job("sampler", "{}")
    assert caught.value.retry_after_seconds == 12
    assert len(wire.calls("POST /api/v1/jobs")) == 1


async def test_an_error_has_ibms_code_message_and_solution_and_no_secret(
    wire: Wire, api: IbmApi
) -> None:
    said = {
        "code": 1234,
        "message": f"Usage of {KEY} by iam-token exceeds the limit",
        "solution": "Wait for the next period",
        "more_info": "https://quantum.cloud.ibm.com/docs/errors",
    }
    wire.on("POST /api/v1/jobs", answer({"errors": [said], "trace": "t1"}, 409))
    with pytest.raises(ConflictError) as caught:
        await api.submit_job("sampler", "{}", backend="ibm_fez")
    assert caught.value.code == 1234
    assert str(caught.value) == (
        "Cannot submit a job of program sampler to ibm_fez: Usage of *** by *** exceeds the limit."
        " Wait for the next period."
    )


# What IBM has not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda api: api.upload_program("def main(): ...", ProgramMetadata(name="p")),
        lambda api: api.list_programs(),
        lambda api: api.get_program("p"),
        lambda api: api.delete_program("p"),
        lambda api: api.set_program_visibility("p", public=True),
        lambda api: api.submit_job("hello-world", "{}"),
        lambda api: api.job_interim_results("j1"),
    ],
)
async def test_what_ibm_removed_is_refused_with_where_to_go(wire: Wire, api: IbmApi, ask) -> None:
    with pytest.raises(ConfigurationError, match=r"removed .* in 2024.*service='embedded'"):
        await ask(api)
    assert wire.seen == []


async def test_a_job_without_a_log_has_an_empty_one(wire: Wire, api: IbmApi) -> None:
    wire.on(JOB, answer(job("Completed")))
    assert await api.job_logs("j1") == ""
    with pytest.raises(NotFoundError):
        await api.job_logs("j2")


# Waiting ---------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)


async def events(api: IbmApi) -> list[Any]:
    async with aclosing(api.stream("j1")) as given:
        return [event async for event in given]


@pytest.mark.usefixtures("quick")
async def test_a_job_is_followed_by_asking_where_it_is(wire: Wire, api: IbmApi) -> None:
    states = ["Queued", "Queued", "Running", "Running", "Completed"]
    wire.on(JOB, *(answer(job(state)) for state in states))
    *statuses, end = await events(api)
    assert [event.status for event in statuses] == ["Queued", "Running", "Completed"]
    assert isinstance(end, EndEvent) and end.state.status is JobStatus.COMPLETED
    asked = wire.calls(JOB)
    assert len(asked) == len(states)
    assert {tuple(seen.query["exclude_params"]) for seen in asked} == {("true",)}


async def test_states_are_read_in_any_case(wire: Wire, api: IbmApi) -> None:
    wire.on(JOB, answer(job("COMPLETED")))
    assert (await api.get_job("j1")).state.status is JobStatus.COMPLETED


@pytest.mark.usefixtures("quick")
async def test_the_end_says_why(wire: Wire, api: IbmApi) -> None:
    wire.on(JOB, answer(job("Cancelled", reason="Ran too long", reason_code=1305)))
    assert (await api.wait_for_job("j1")).reason_code == 1305


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [refuse(503, "busy"), refuse(429, "slower"), cut])
async def test_a_question_that_fails_is_asked_again_and_nothing_is_submitted(
    wire: Wire, api: IbmApi, fault
) -> None:
    wire.on(JOB, answer(job("Queued")), *[fault] * 2, answer(job("Completed")))
    *_, end = await events(api)
    assert end.state.status is JobStatus.COMPLETED
    assert {seen.method for seen in wire.seen[1:]} == {"GET"}


@pytest.fixture
def passing_time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; they take no time, and the clock goes on by them."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(_polling, "_sleep", sleep)
    monkeypatch.setattr(_polling, "_now", lambda: sum(pauses))
    return pauses


class Jobs:
    """Jobs of a service as the poller sees them."""

    def __init__(self, answers: Callable[[], ServiceUnavailableError | str]) -> None:
        self.answers = answers
        self.asked = 0

    async def __aenter__(self) -> Jobs:
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def ask_job(self, job_id: str) -> JobInfo:
        self.asked += 1
        given = self.answers()
        if isinstance(given, str):
            return JobInfo.model_validate(job(given))
        raise given

    async def pending_jobs(self, *, limit: int, offset: int) -> tuple[list[JobInfo], int]:
        raise AssertionError("One job is asked for by its id.")


async def drain(jobs: Jobs) -> list[Any]:
    return [event async for event in JobPoller(lambda: jobs).events("j1")]


async def test_an_outage_is_waited_out_for_half_an_hour(passing_time: list[float]) -> None:
    with pytest.raises(ServiceUnavailableError, match="gone"):
        await drain(Jobs(lambda: ServiceUnavailableError("gone")))
    assert 1800 <= sum(passing_time) <= 1860


async def test_the_service_says_how_long_not_to_ask(passing_time: list[float]) -> None:
    answers: list[RateLimitedError | str] = [RateLimitedError("", retry_after_seconds=90), "Failed"]
    await drain(Jobs(lambda: answers.pop(0)))
    assert sum(passing_time) == 90


async def test_three_hours_in_a_queue_cost_few_questions_and_the_end_is_seen_in_time(
    passing_time: list[float],
) -> None:
    jobs = Jobs(lambda: "Completed" if sum(passing_time) >= 3 * 3600 else "Queued")
    await drain(jobs)
    assert 3 * 3600 <= sum(passing_time) <= 3 * 3600 + 60
    assert 230 < jobs.asked < 300


# Backends --------------------------------------------------------------------------------------


async def test_backends_are_read_in_todays_form_and_mocks_left_out(wire: Wire, api: IbmApi) -> None:
    fez = {"name": "ibm_fez", "qubits": 156, "queue_length": 7, "status": {"name": "online"}}
    paused = {**fez, "name": "ibm_torino", "status": {"name": "paused", "reason": "calibration"}}
    mock = {**fez, "name": "mock_fez", "class": "mock"}
    wire.on("GET /api/v1/backends", answer({"devices": [fez, paused, mock]}))
    listed = [(one.name, one.qubits, one.operational) for one in await api.list_backends()]
    assert listed == [("ibm_fez", 156, True), ("ibm_torino", 156, False)]


async def test_the_least_busy_backend_is_the_one_that_the_fewest_wait_for(wire: Wire) -> None:
    def device(name: str, waiting: int, status: str = "online") -> dict[str, object]:
        wire.on(f"GET /backends/{name}/configuration", answer({"n_qubits": 5, "simulator": False}))
        state = {"name": status}
        return {"name": name, "qubits": 5, "queue_length": waiting, "status": state}

    devices = [device("busy", 7), device("calm", 3), device("away", 0, "paused")]
    wire.on("GET /backends", answer({"devices": devices}))
    async with RuntimeClient(wire.url, KEY) as client:
        assert (await client.least_busy()).name == "calm"
        assert (await client.least_busy(filters=lambda one: one.pending_jobs > 3)).name == "busy"
    configurations = [seen.path for seen in wire.seen if seen.path.endswith("configuration")]
    assert sorted(configurations) == [  # kept by the client
        "/backends/busy/configuration",
        "/backends/calm/configuration",
    ]


# Instances and hosts ---------------------------------------------------------------------------


def found(crn: str, name: str, plan: str = "p1", **more: object) -> dict[str, object]:
    return {
        "crn": crn,
        "name": name,
        "service_plan_unique_id": plan,
        "doc": {"extensions": {"backends": "all"}},
        "tags": [],
        **more,
    }


@pytest.fixture
def catalog(wire: Wire) -> Wire:
    entry = {
        "overview_ui": {"en": {"display_name": "Flex"}},
        "metadata": {"pricing": {"type": "Paid"}},
    }
    wire.on("GET /catalog/api/v1/p1", answer(entry))
    wire.on("GET /api/v1/backends", answer({"devices": []}))
    return wire


async def test_an_instance_is_found_by_its_name_once(ibm, catalog: Wire) -> None:
    first = {"items": [found(EU, "another")], "search_cursor": "next"}
    catalog.on(SEARCH, answer(first), answer({"items": [found(CRN, "mine")]}))
    for _ in range(2):
        async with ibm(instance="mine") as api:
            await api.list_backends()
            assert api.instance == CRN
    searches = catalog.calls(SEARCH)
    assert [seen.json.get("search_cursor") for seen in searches] == [None, "next"]
    assert searches[0].json["query"] == "service_name:quantum-computing"
    assert catalog.seen[-1].headers["service-crn"] == CRN


async def test_the_only_instance_needs_no_name(ibm, catalog: Wire) -> None:
    without_backends = found(EU, "empty", doc={})
    catalog.on(SEARCH, answer({"items": [without_backends, found(CRN, "mine")]}))
    async with ibm(instance=None) as api:
        assert api.instance == CRN
        (instance,) = await api.list_instances()
    assert (instance.name, instance.plan, instance.pricing_type) == ("mine", "flex", "paid")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"instance": None}, "2 instances of this account could be meant"),
        ({"instance": "nowhere"}, "No instance of this account has the name 'nowhere'"),
        ({"instance": None, "plans": ("open",)}, "No instance of this account fit plans open"),
    ],
)
async def test_jobs_are_not_sent_to_an_instance_by_chance(
    ibm, catalog: Wire, asked: dict[str, Any], says: str
) -> None:
    catalog.on(SEARCH, answer({"items": [found(CRN, "mine"), found(EU, "other")]}))
    with pytest.raises(ConfigurationError, match=says) as caught:
        async with ibm(**asked):
            pass
    assert CRN in str(caught.value) and EU in str(caught.value)


async def test_a_region_chooses_the_instance(ibm, catalog: Wire) -> None:
    catalog.on(SEARCH, answer({"items": [found(CRN, "mine"), found(EU, "other")]}))
    async with ibm(instance=None, region="eu-de") as api:
        assert api.instance == EU


async def test_a_plan_that_is_no_longer_sold_is_unknown(ibm, catalog: Wire) -> None:
    catalog.on("GET /catalog/api/v1/p1", refuse(403, "archived"))
    catalog.on(SEARCH, answer({"items": [found(CRN, "mine")]}))
    async with ibm() as api:
        (instance,) = await api.list_instances()
    assert (instance.plan, instance.pricing_type) == ("unknown", "unknown")


async def test_an_account_without_instances_says_so(ibm, catalog: Wire) -> None:
    catalog.on(SEARCH, answer({"items": []}))
    with pytest.raises(ConfigurationError, match="no instance with backends"):
        async with ibm(instance=None):
            pass


@pytest.mark.parametrize(
    ("fields", "crn", "api", "iam"),
    [
        ({}, CRN, "quantum.cloud.ibm.com/api/v1", "iam.cloud.ibm.com"),
        ({}, EU, "eu-de.quantum.cloud.ibm.com/api/v1", "iam.cloud.ibm.com"),
        ({"region": "eu-de"}, None, "eu-de.quantum.cloud.ibm.com/api/v1", "iam.cloud.ibm.com"),
        (
            {"private_endpoint": True},
            EU,
            "private.eu-de.quantum.cloud.ibm.com/api/v1",
            "private.iam.cloud.ibm.com",
        ),
        (
            {"url": "https://cloud.ibm.com"},
            EU,
            "eu-de.quantum.cloud.ibm.com/api/v1",
            "iam.cloud.ibm.com",
        ),
        (
            {"url": "https://test.cloud.ibm.com"},
            CRN,
            "quantum.test.cloud.ibm.com/api/v1",
            "iam.test.cloud.ibm.com",
        ),
        (
            {"url": "https://quantum.cloud.ibm.com/api/v1/"},
            EU,
            "quantum.cloud.ibm.com/api/v1",
            "iam.cloud.ibm.com",
        ),
        ({"url": "https://own.org:8400/api/v1"}, CRN, "own.org:8400/api/v1", "own.org:8400"),
        (
            {"url": "https://cloud.ibm.com.own.org"},
            CRN,
            "cloud.ibm.com.own.org",
            "cloud.ibm.com.own.org",
        ),
    ],
)
def test_the_hosts_follow_from_the_account(
    fields: dict[str, Any], crn: str | None, api: str, iam: str
) -> None:
    account = IbmAccount(KEY, **fields)
    assert (account.api_url(crn), account.iam_url) == (f"https://{api}", f"https://{iam}")


def test_the_variables_of_ibms_client_name_its_other_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = IbmAccount(KEY)
    assert account.search_url == "https://api.global-search-tagging.cloud.ibm.com"
    assert account.catalog_url == "https://globalcatalog.cloud.ibm.com/api/v1"
    monkeypatch.setenv("IAM_URL", "https://iam.example.org/")
    monkeypatch.setenv("GLOBAL_SEARCH_URL", "https://search.example.org")
    monkeypatch.setenv("GLOBAL_CATALOG_URL", "https://catalog.example.org/v1")
    assert account.iam_url == "https://iam.example.org"
    assert account.search_url == "https://search.example.org"
    assert account.catalog_url == "https://catalog.example.org/v1"


def test_what_looks_like_a_crn_and_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not a cloud resource name"):
        IbmAccount(KEY).api_url("crn:v1:mine")


# Side fields: what is null, missing, new or of another type breaks nothing else -----------------


async def test_a_device_without_a_queue_length_breaks_no_listing(wire: Wire, api: IbmApi) -> None:
    fez = {"name": "ibm_fez", "qubits": 156, "queue_length": 7, "status": {"name": "online"}}
    odd = {"name": "ibm_odd", "qubits": None, "queue_length": None, "status": None}
    wire.on("GET /api/v1/backends", answer({"devices": [fez, odd]}))
    known, unknown = await api.list_backends()
    assert (known.queue_length, known.qubits, known.operational) == (7, 156, True)
    assert (unknown.queue_length, unknown.qubits, unknown.operational) == (None, None, False)


async def test_a_device_without_a_name_is_an_error_that_names_the_field(
    wire: Wire, api: IbmApi
) -> None:
    wire.on("GET /api/v1/backends", answer({"devices": [{"name": "ibm_fez"}, {"qubits": 5}]}))
    with pytest.raises(ProtocolError, match=r"Cannot list backends: .*devices\.1\.name: Field"):
        await api.list_backends()


@pytest.mark.parametrize("state", ["pending_inactive", "pending_closed", "invented", None, 7])
async def test_any_state_of_a_session_can_be_listed(wire: Wire, api: IbmApi, state: object) -> None:
    wire.on("GET /api/v1/sessions", answer({"sessions": [{"id": "s1", "state": state}]}))
    (session,) = await api.list_sessions()
    assert session.state == (state if isinstance(state, str) else "unknown")
    assert session.takes_jobs is (state != "pending_closed")


async def test_null_fields_of_a_job_are_the_same_as_missing_ones(wire: Wire, api: IbmApi) -> None:
    fields = dict.fromkeys(["usage", "tags", "created", "program", "backend", "cost", "private"])
    state = {"status": "Failed", "reason_code": None, "reasonCode": 1305}
    wire.on(JOB, answer({"id": "j1", **fields, "state": state}))
    info = await api.get_job("j1")
    assert (info.state.reason_code, info.tags, info.usage) == (1305, [], None)
    assert (info.backend, info.program.id, info.created) == ("unknown", "unknown", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"state": {"status": "Queued"}}, "id: Field required"),
        ({"id": "j1", "state": {"status": 7}}, r"state\.status: Input should be 'Queued'"),
        ({"id": "j1"}, "state: Field required"),
    ],
)
async def test_a_job_without_its_id_or_its_state_is_an_error_that_names_it(
    wire: Wire, api: IbmApi, body: object, field: str
) -> None:
    wire.on(JOB, answer(body))
    with pytest.raises(ProtocolError, match=f"Cannot get job j1: .*{field}"):
        await api.get_job("j1")


@pytest.mark.parametrize(
    ("usage", "partial", "final"),
    [
        ({"qpu_charge_time_seconds": 20, "status": "complete"}, 20, 20),
        ({"qpu_charge_time_seconds": 5, "status": "pending"}, 5, None),
        ({"quantum_seconds": 20, "seconds": 25}, 20, 20),
        ({"quantum_seconds": 0, "status": "pending", "note": "soon"}, None, None),
        ({"qpu_charge_time_seconds": "20", "quantum_seconds": 0, "status": "complete"}, None, None),
        ({}, None, None),
        (None, None, None),
    ],
)
async def test_usage_is_read_in_both_forms_and_is_none_until_it_is_final(
    wire: Wire, usage: object, partial: float | None, final: float | None
) -> None:
    wire.on("GET /jobs/j1", answer(job("Completed")))
    wire.on("GET /jobs/j1/metrics", answer({"usage": usage}))
    async with RuntimeClient(wire.url, "t", channel=None) as client:
        ended = await client.job("j1")
        assert await ended.usage() == final
        assert await ended.usage(partial=True) == partial
