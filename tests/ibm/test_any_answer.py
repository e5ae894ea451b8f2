"""Whatever IBM answers: no job is lost, no result is None, no budget is passed, no call is endless.

Each question of the client is a row. The fields of its answer are removed, nulled, of another type
or added, and its body arrives broken. Fields without which an answer is still useful change nothing
else; of the others, an error names the one that is wrong. `make fuzz` tries many more.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from prefect_qiskit_runtime.client import (
    IbmAccount,
    IbmApi,
    Spending,
    _transport,
    expected_seconds,
    usage_of,
)
from prefect_qiskit_runtime.client.ibm import _login, _polling, api as ibm_api
from prefect_qiskit_runtime.errors import ProtocolError, QiskitRuntimeError
from prefect_qiskit_runtime.models import JobInfo, JobStatus, JobUsage, StatusEvent
from tests.ibm.api_schema import PRESENT, fault_of
from tests.ibm.tampering import Change, broken_bodies, changed, changes

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
LONGEST_CALL_SECONDS = 30.0
URL = "http://ibm.test/api/v1"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
THEN, LATER = "2026-10-01T12:00:00Z", "2026-10-01T12:00:40Z"

# --- answers, in the form that ibm_api.json describes ---------------------------------------------


def job(job_id: str = "j1", status: str = "Completed", **fields: Any) -> dict[str, Any]:
    is_final = status not in ("Queued", "Running")
    return {
        "id": job_id,
        "backend": "ibm_fez",
        "state": {"status": status, "reason": "", "reason_code": None},
        "status": status,
        "program": {"id": "sampler"},
        "created": THEN,
        "tags": ["a", "b"],
        "runtime": "r",
        "cost": 60,
        "private": False,
        "estimated_running_time_seconds": 30,
        "usage": usage(30 if is_final else 0, "complete" if is_final else "pending"),
        **fields,
    }


def usage(seconds: float, status: str = "complete") -> dict[str, Any]:
    return {"qpu_charge_time_seconds": seconds, "status": status}


def jobs(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"jobs": list(listed), "count": len(listed)}


METRICS = {
    "timestamps": {"created": THEN, "running": THEN, "finished": LATER},
    "usage": usage(30),
    "qiskit_version": "2.6.1",
    "circuits_execution_time_ns": 20_000_000_000,
}
SESSION = {
    "id": "s1",
    "backend_name": "ibm_fez",
    "interactive_ttl": 60,
    "max_ttl": 28_800,
    "active_ttl": 28_800,
    "state": "closed",
    "accepting_jobs": False,
    "started_at": THEN,
    "closed_at": LATER,
    "activated_at": THEN,
    "mode": "dedicated",
    "elapsed_time": 40.0,
    "timestamps": [{"status": "open", "timestamp": THEN}],
}
DEVICE = {"name": "ibm_fez", "status": {"name": "online"}, "queue_length": 7, "qubits": 156}
DEVICES = {"devices": [DEVICE, {**DEVICE, "name": "ibm_kingston"}]}
USED = {"usage_consumed_seconds": 50, "usage_limit_seconds": 600, "usage_limit_reached": False}
STATUS = {"state": True, "status": "active", "length_queue": 7, "backend_version": "1.2"}
TOKEN = {
    "access_token": "iam-token",
    "refresh_token": "none",
    "token_type": "Bearer",
    "expires_in": 3600,
    "expiration": 1_790_000_000,
    "scope": "ibm openid",
}
INSTANCE = {
    "crn": CRN,
    "name": "team",
    "service_plan_unique_id": "p1",
    "tags": ["a"],
    "doc": {"extensions": {"backends": "all"}},
}
PLAN = {
    "overview_ui": {"en": {"display_name": "Open"}},
    "metadata": {"pricing": {"type": "free"}},
}
WITH_INPUTS = job(params={"pubs": [], "version": 2})

ANSWERS: dict[str, Any] = {
    "POST /identity/token": TOKEN,
    "POST /v3/resources/search": {"items": [INSTANCE]},
    "GET /catalog/api/v1/p1": PLAN,
    "GET /instances/usage": USED,
    "GET /backends": DEVICES,
    "GET /backends/ibm_fez/status": STATUS,
    "POST /jobs": {"id": "j1", "backend": "ibm_fez", "messages": [{"data": "be careful"}]},
    "GET /jobs": jobs(job("j1"), job("j2"), job("j3")),
    "GET /jobs/j1": job("j1"),
    "GET /jobs/j2": job("j2"),
    "GET /jobs/j3": job("j3"),
    "GET /jobs/j1/metrics": METRICS,
    "GET /jobs/j2/metrics": METRICS,
    "GET /jobs/j3/metrics": METRICS,
    "POST /sessions": {"id": "s1"},
    "GET /sessions": {"sessions": [SESSION, {**SESSION, "id": "s2"}], "count": 2},
    "GET /sessions/s1": SESSION,
}


class Cloud:
    """Answers the client's requests in this process, with changes."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.posts = 0

    def serve(self, answers: dict[str, Any]) -> None:
        """Answer with these bodies, or lists of bodies, in place of the usual ones."""
        _login._logins.cache_clear()
        self.answers, self.posts = {**ANSWERS, **answers}, 0

    def open(self, *_args: Any, headers: Any = None, **_kwargs: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer), headers=headers)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        self.posts += (request.method, path) == ("POST", "/jobs")
        if f"{request.method} {path}" not in self.answers:
            refusal = {"errors": [{"code": 404, "message": "There is none."}]}
            return httpx.Response(404, json=refusal)
        body = self.answers[f"{request.method} {path}"]
        if isinstance(body, Turns):
            body = body.bodies.pop(0) if len(body.bodies) > 1 else body.bodies[0]
        if int(request.url.params.get("offset", 0)) > 0:
            body = {path.removeprefix("/"): []}
        return httpx.Response(200, content=body if isinstance(body, bytes) else json.dumps(body))


@dataclass
class Turns:
    """Bodies for the answers to one request, one after the other, the last for ever."""

    bodies: list[Any]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud()
    monkeypatch.setattr(_transport, "open_http", cloud.open)
    monkeypatch.setattr(ibm_api, "open_http", cloud.open)
    monkeypatch.setattr(_transport, "pauses", lambda: iter([0.0, None]))
    monkeypatch.setattr(_login, "pauses", lambda: iter([0.0, None]))
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.001)
    yield cloud
    _login._logins.cache_clear()


Ask = Callable[[IbmApi], Awaitable[Any]]


def ask_of(cloud: Cloud, ask: Ask, answers: dict[str, Any], *, instance: str | None = CRN) -> Any:
    """Ask one question of a service with these answers, within the longest time."""
    cloud.serve(answers)

    async def call() -> Any:
        account = IbmAccount("key", url=URL, instance=instance)
        async with asyncio.timeout(LONGEST_CALL_SECONDS), IbmApi(account) as api:
            return await ask(api)

    return asyncio.run(call())


# --- each question ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A question of the client.

    Attributes:
        request: The request whose answer is changed.
        ask: Asks the question.
        essential: The fields without which there is no answer, with `*` for any index.
        holds: Whether the answer to the question is right where only other fields are changed.
        answer: The answer at IBM, if it is another than the usual one.
        is_optional: Whether the question has an answer without this one.
        instance: The instance of the account.
    """

    request: str
    ask: Ask
    essential: tuple[str, ...] = ()
    holds: Callable[[Any], bool] = lambda _: True
    answer: Any = None
    is_optional: bool = False
    instance: str | None = CRN

    @property
    def body(self) -> Any:
        return ANSWERS[self.request] if self.answer is None else self.answer

    def touched(self, made: Sequence[Change]) -> list[list[str]]:
        paths = [path.split(".") for path in self.essential]
        return [path for path in paths if any(change.touches(path) for change in made)]


ROWS: dict[str, Row] = {
    "log in": Row("POST /identity/token", lambda api: api.usage(), ("access_token",)),
    "find the instance": Row(
        "POST /v3/resources/search", lambda api: api.list_instances(), ("items", "items.*.crn")
    ),
    "the plan": Row(
        "GET /catalog/api/v1/p1",
        lambda api: api.list_instances(),
        holds=lambda found: len(found) == 1,
        is_optional=True,
    ),
    "usage": Row(
        "GET /instances/usage",
        lambda api: api.usage(),
        holds=lambda used: used.usage_consumed_seconds in (50, None),
    ),
    "backends": Row(
        "GET /backends",
        lambda api: api.list_backends(),
        ("devices", "devices.*.name"),
        holds=lambda found: len(found) == 2,
    ),
    "status": Row("GET /backends/ibm_fez/status", lambda api: api.backend_status("ibm_fez")),
    "submit": Row(
        "POST /jobs",
        lambda api: api.submit_job("sampler", "{}", backend="ibm_fez"),
        ("id",),
        holds=lambda sent: sent.id == "j1",
    ),
    "jobs": Row(
        "GET /jobs",
        lambda api: api.list_jobs(),
        ("jobs", "jobs.*.id"),
        holds=lambda found: [one.id for one in found] == ["j1", "j2", "j3"],
    ),
    "pending jobs": Row(
        "GET /jobs",
        lambda api: api.pending_jobs(limit=200, offset=0),
        ("jobs", "jobs.*.id"),
        holds=lambda found: [one.id for one in found[0]] == ["j1", "j2", "j3"],
    ),
    "job": Row(
        "GET /jobs/j1",
        lambda api: api.get_job("j1"),
        ("id", "state.status"),
        holds=lambda found: (found.id, found.state.status) == ("j1", JobStatus.COMPLETED),
    ),
    "why it failed": Row(
        "GET /jobs/j1",
        lambda api: api.get_job("j1"),
        ("id", "state.status"),
        answer=job(
            "j1",
            "Failed",
            state={"status": "Failed", "reason": "r", "reason_code": None, "reasonCode": 1305},
        ),
        holds=lambda found: found.state.status is JobStatus.FAILED,
    ),
    "inputs": Row(
        "GET /jobs/j1", lambda api: api.job_inputs("j1"), ("params",), answer=WITH_INPUTS
    ),
    "metrics": Row(
        "GET /jobs/j1/metrics",
        lambda api: api.job_metrics("j1"),
        holds=lambda metrics: metrics.quantum_seconds in (30, None),
    ),
    "open a session": Row(
        "POST /sessions",
        lambda api: api.create_session("ibm_fez"),
        ("id",),
        holds=lambda opened: (opened.id, opened.backend_name) == ("s1", "ibm_fez"),
    ),
    "session": Row("GET /sessions/s1", lambda api: api.get_session("s1"), ("id",)),
    "sessions": Row(
        "GET /sessions",
        lambda api: api.list_sessions(),
        ("sessions", "sessions.*.id"),
        holds=lambda found: [one.id for one in found] == ["s1", "s2"],
    ),
}

few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_the_answers_here_are_those_of_ibm() -> None:
    bodies = [*ANSWERS.items(), *((row.request, row.body) for row in ROWS.values())]
    for request, body in bodies:
        method, path = request.split(" ")
        asked = httpx.Request(method, f"{URL}{path}", headers={"IBM-API-Version": PRESENT})
        status = 201 if request == "POST /sessions" else 200
        assert fault_of(httpx.Response(status, json=body, request=asked)) is None, request


@pytest.mark.parametrize("name", ROWS)
def test_a_changed_answer_is_understood_or_the_error_names_the_field(
    cloud: Cloud, name: str
) -> None:
    row = ROWS[name]

    @few
    @given(made=st.lists(changes(row.body), min_size=1, max_size=3))
    def check(made: list[Change]) -> None:
        touched = row.touched(made)
        is_whole = any(change.path == () and change.how == "replace" for change in made)
        answers = {row.request: changed(row.body, made)}
        try:
            found = ask_of(cloud, row.ask, answers, instance=row.instance)
        except ProtocolError as error:
            assert touched or is_whole, (made, error)
            parts = {part for path in touched for part in path} - {"*"}
            named = any(re.search(rf"\b{part}\b", str(error)) for part in parts)
            assert named or is_whole, (made, error)
        else:
            assert found is not None
            assert touched or is_whole or row.holds(found), (made, found)

    check()


@pytest.mark.parametrize("name", ROWS)
def test_a_broken_body_is_an_error_and_never_an_empty_answer(cloud: Cloud, name: str) -> None:
    row = ROWS[name]
    for what, body in broken_bodies(row.body).items():
        try:
            found = ask_of(cloud, row.ask, {row.request: body}, instance=row.instance)
        except QiskitRuntimeError as error:
            assert str(error).startswith("Cannot "), (what, error)
        else:
            assert row.is_optional and row.holds(found), (what, found)


# --- waiting ------------------------------------------------------------------------------------

ESSENTIAL_OF_JOB = {(), ("id",), ("state",), ("state", "status")}


@few
@given(
    running=st.lists(changes(job("j1", "Running"), ESSENTIAL_OF_JOB.__contains__), max_size=3),
    ended=st.lists(changes(job("j1"), ESSENTIAL_OF_JOB.__contains__), max_size=3),
)
def wait(cloud: Cloud, running: list[Change], ended: list[Change]) -> None:
    bodies = [changed(job("j1", "Running"), running), changed(job("j1"), ended)]
    answers = {"GET /jobs/j1": Turns(bodies)}
    state = ask_of(cloud, lambda api: api.wait_for_job("j1"), answers)
    assert state.status is JobStatus.COMPLETED


def test_side_fields_never_end_a_wait(cloud: Cloud) -> None:
    wait(cloud)


def test_an_unreadable_list_of_pending_jobs_never_ends_the_waits_for_its_jobs(
    cloud: Cloud,
) -> None:
    pending = jobs(job("j1", "Running"), job("j2", "Queued"))

    @few
    @given(made=st.lists(changes(pending), min_size=1, max_size=3))
    def check(made: list[Change]) -> None:
        listed = changed(pending, made)
        answers = {"GET /jobs": Turns([listed, listed, jobs()])}

        async def both(api: IbmApi) -> Any:
            return await asyncio.gather(api.wait_for_job("j1"), api.wait_for_job("j2"))

        first, second = ask_of(cloud, both, answers)
        assert (first.status, second.status) == (JobStatus.COMPLETED, JobStatus.COMPLETED)

    check()


# --- statuses -----------------------------------------------------------------------------------

KNOWN = {one.value.lower() for one in JobStatus}
NEW_STATUSES = ["Initializing", "Validating", "Done", "Completed with errors", "Completed - partly"]
new_statuses = st.sampled_from(NEW_STATUSES) | st.text(min_size=1, max_size=30).map(
    str.strip
).filter(lambda text: text and re.split(r"\W", text.lower())[0] not in KNOWN)
OPEN_STATES = ["open", "active", "inactive", "closed", "pending_inactive", "pending_closed"]


@st.composite
def spelt(draw: st.DrawFn, status: JobStatus) -> str:
    """Draw a spelling of a known status: in any case and, except for a success, with a reason."""
    text = "".join(draw(st.sampled_from([one.lower(), one.upper()])) for one in status.value)
    if status is JobStatus.COMPLETED or draw(st.booleans()):
        return text
    return draw(st.sampled_from(["{} - {}", "{}: {}", "{} ({})"])).format(text, draw(st.text()))


def with_status(status: str, job_id: str = "j1") -> dict[str, Any]:
    return {**job(job_id, "Running", state={"status": status}), "status": status}


def test_a_listing_holds_whatever_the_status_of_a_job_is(cloud: Cloud) -> None:
    @few
    @given(status=new_statuses)
    def check(status: str) -> None:
        answers = {"GET /jobs": jobs(job("j1"), with_status(status, "j2"), job("j3", "Failed"))}
        found = [one.state.status for one in ask_of(cloud, lambda api: api.list_jobs(), answers)]
        assert found == [JobStatus.COMPLETED, status, JobStatus.FAILED]
        assert (found[1].value, found[1].is_terminal, found[1].is_known) == (status, False, False)
        assert found[1] not in list(JobStatus)
        assert ask_of(cloud, spent_by_all, answers) == 3 * 30

    check()


UNREADABLE = {
    "null": ({"state": {"status": None}, "status": None}, "unknown"),
    "missing": ({"state": {"reason": "r"}, "status": None}, "unknown"),
    "empty": ({"state": {"status": " "}, "status": ""}, "unknown"),
    "a number": ({"state": {"status": 7}, "status": 7}, "unknown (7)"),
    "a list": ({"state": {"status": ["Queued"]}, "status": None}, 'unknown (["Queued"])'),
    "no state": ({"state": None, "status": None}, "unknown"),
    "a list as the state": ({"state": [], "status": None}, "unknown ([])"),
    "only in the state": ({"state": {"status": "Failed"}, "status": 7}, "Failed"),
    "only beside the state": ({"state": {"status": 7}, "status": "Failed"}, "Failed"),
    "a state that is a text": ({"state": "Running", "status": None}, "Running"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_job_without_a_readable_status_is_listed_with_an_unknown_one(
    cloud: Cloud, kind: str
) -> None:
    fields, shown = UNREADABLE[kind]
    answers = {"GET /jobs": jobs(job("j1"), job("j2", **fields), job("j3"))}
    for ask in (IbmApi.list_jobs, pending):
        _, found, last = ask_of(cloud, ask, answers)
        assert (found.id, found.state.status, last.id) == ("j2", shown, "j3")
        assert found.state.status.is_terminal is (shown == "Failed")
        assert found.state.status.is_known is not shown.startswith("unknown")
    (_, used, _) = ask_of(cloud, usages, answers)
    assert (used.job_id, used.status) == ("j2", shown)


def test_a_job_without_a_readable_status_counts_with_its_expected_usage(cloud: Cloud) -> None:
    fields = {"state": None, "status": None, "usage": usage(0), "estimated_running_time_seconds": 7}
    answers = {"GET /jobs": jobs(job("j1"), job("j2", **fields))}
    assert ask_of(cloud, spent_by_all, answers) == 30 + 7


def test_known_statuses_are_read_in_any_case_and_with_a_reason(cloud: Cloud) -> None:
    @few
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        status = data.draw(st.sampled_from(list(JobStatus)))
        answers = {"GET /jobs": jobs(with_status(data.draw(spelt(status))))}
        (found,) = ask_of(cloud, lambda api: api.list_jobs(), answers)
        assert found.state.status is status

    check()


def test_a_wait_goes_on_through_unknown_statuses_to_a_known_end(cloud: Cloud) -> None:
    @few
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        new = data.draw(st.lists(new_statuses, min_size=1, max_size=3))
        end = data.draw(st.sampled_from(list(JobStatus)[2:]))
        last = with_status(data.draw(spelt(end)))

        async def seen(api: IbmApi) -> list[str]:
            return [one.status async for one in api.stream("j1") if isinstance(one, StatusEvent)]

        answers = {"GET /jobs/j1": Turns([*map(with_status, new), last])}
        statuses = ask_of(cloud, seen, answers)
        changes = [one for one, before in zip(new, [None, *new], strict=False) if one != before]
        assert statuses == [*changes, end]

    check()


def test_a_listing_of_sessions_holds_whatever_their_states_are(cloud: Cloud) -> None:
    @few
    @given(state=new_statuses.filter(lambda text: text.lower() not in OPEN_STATES))
    def check(state: str) -> None:
        answers = {"GET /sessions": {"sessions": [{**SESSION, "state": state}, SESSION]}}
        answers["GET /sessions"]["sessions"][1] = {**SESSION, "id": "s2", "state": "CLOSED"}
        found = ask_of(cloud, lambda api: api.list_sessions(), answers)
        assert [one.state for one in found] == [state, "closed"]
        assert found[0].state.value == state

    check()


# --- budgets ------------------------------------------------------------------------------------


async def pending(api: IbmApi) -> list[JobInfo]:
    return (await api.pending_jobs(limit=200, offset=0))[0]


async def usages(api: IbmApi) -> list[JobUsage]:
    return await usage_of(api, await api.list_jobs())


async def spent_by_all(api: IbmApi) -> float:
    return (await Spending().seconds(api, await api.list_jobs(), expected_seconds)).seconds


def is_answered(cloud: Cloud, answers: dict[str, Any]) -> float | None:
    """Return the seconds that count; None if the question is an error."""
    try:
        return ask_of(cloud, spent_by_all, answers)
    except QiskitRuntimeError:
        return None


@few
@given(
    listed=st.lists(changes(ANSWERS["GET /jobs"]), max_size=3),
    measured=st.lists(changes(METRICS), max_size=3),
)
def count(cloud: Cloud, listed: list[Change], measured: list[Change]) -> None:
    answers = {
        "GET /jobs": changed(ANSWERS["GET /jobs"], listed),
        "GET /jobs/j1/metrics": changed(METRICS, measured),
    }
    seconds = is_answered(cloud, answers)
    assert seconds is None or seconds >= 3 * 30


def test_the_usage_of_ended_jobs_never_counts_less_than_it_is(cloud: Cloud) -> None:
    count(cloud)


@few
@given(made=st.lists(changes(SESSION), max_size=4))
def count_session(cloud: Cloud, made: list[Change]) -> None:
    answers = {
        "GET /jobs": jobs(job("j1", session_id="s1")),
        "GET /sessions/s1": changed(SESSION, made),
    }
    seconds = is_answered(cloud, answers)
    assert seconds is None or seconds >= 40


def test_the_usage_of_a_session_never_counts_less_than_it_is(cloud: Cloud) -> None:
    count_session(cloud)


@pytest.mark.parametrize(
    "unknown",
    [None, {}, usage(0, "pending"), {"status": "complete"}, {"qpu_charge_time_seconds": 0}, 0],
)
def test_usage_that_is_not_final_counts_as_estimated(cloud: Cloud, unknown: Any) -> None:
    ended = job("j1", usage=unknown)
    answers = {
        "GET /jobs": jobs(ended),
        "GET /jobs/j1/metrics": {**METRICS, "usage": unknown},
    }
    assert ask_of(cloud, spent_by_all, answers) == 30
    del ended["estimated_running_time_seconds"]
    assert ask_of(cloud, spent_by_all, answers) == 60  # its max_execution_time
    del ended["cost"]
    assert ask_of(cloud, spent_by_all, answers) == 10_800  # the most that IBM lets a job use


def test_usage_before_2026_is_read_as_well(cloud: Cloud) -> None:
    before = {"quantum_seconds": 20, "seconds": 25}
    answers = {"GET /jobs": jobs(job("j1", usage=before))}
    assert ask_of(cloud, spent_by_all, answers) == 20


# --- pages --------------------------------------------------------------------------------------


@dataclass
class Pages:
    """A listing of many jobs, whose number IBM may leave out or get wrong."""

    ids: list[str]
    count: Any
    ignores_offset: bool = False
    asked: int = field(default=0)

    def get(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        assert self.asked < 20
        query = request.url.params
        first = 0 if self.ignores_offset else int(query["offset"])
        page = [job(one) for one in self.ids[first : first + int(query["limit"])]]
        return httpx.Response(200, json={"jobs": page, "count": self.count})


@pytest.mark.parametrize("count", [450, None, "many", 0, -1, 449, 10**12])
@pytest.mark.parametrize("ignores_offset", [False, True])
def test_all_pages_are_read_whatever_the_number_of_jobs_is(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, count: Any, ignores_offset: bool
) -> None:
    pages = Pages([f"j{number}" for number in range(450)], count, ignores_offset)
    usual = cloud._answer

    def answer(request: httpx.Request) -> httpx.Response:
        return pages.get(request) if request.url.path.endswith("/jobs") else usual(request)

    monkeypatch.setattr(cloud, "_answer", answer)
    found = ask_of(cloud, lambda api: api.list_jobs(), {})
    assert len(found) == (200 if ignores_offset else 450)
