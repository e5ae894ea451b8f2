"""A service without idempotency keys still creates only one job for each evaluation."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH

from prefect_qiskit_runtime import (
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    RuntimeBackend,
    RuntimeServiceCredentials,
    ServiceUnavailableError,
    arun_sampler,
    backend as backends,
    run_program,
    submit_program,
    upload_program,
)
from prefect_qiskit_runtime.client import RuntimeApi, Spending, was_sent
from prefect_qiskit_runtime.client.ibm import _login
from prefect_qiskit_runtime.errors import SubmissionUnclearError
from prefect_qiskit_runtime.evaluation import budget, tagged_submission
from prefect_qiskit_runtime.models import OUR_SERVICE, JobInfo
from prefect_qiskit_runtime.records.records import FOLDER
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import flip
from tests.proxy import EMPTY_LISTING, Fault, Proxy
from tests.simulated_ibm import ibm_backend
from tests.team import TOKENS, TeamService

SUBMISSION = r"POST /jobs$"
BY_TAG = r"GET /jobs\?.*tags=pqr-"
NO_JOB = b'{"error": {"message": "There is no such job.", "code": 404}}'
COUNTING = "def main(backend, user_messenger, upto=1):\n    return upto\n"


class Keyless(RuntimeApi):
    """Our service, used like one without idempotency keys."""

    kind = replace(OUR_SERVICE, is_keyed=False)


@pytest.fixture
def backend(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> RuntimeBackend:
    """A backend behind the proxy, on a service without keys."""
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "2")

    @asynccontextmanager
    async def keyless(credentials: RuntimeServiceCredentials) -> AsyncIterator[RuntimeApi]:
        async with Keyless(str(credentials.url), credentials.token.get_secret_value()) as api:
            yield api

    monkeypatch.setattr(RuntimeServiceCredentials, "connect", keyless)
    credentials = RuntimeServiceCredentials(url=proxy.url, token=TOKENS["alice"])
    return backends.RuntimeBackend(service="team", credentials=credentials)


@pytest.fixture
def program(backend: RuntimeBackend) -> str:
    return upload_program.fn(COUNTING, name="counting", backend=backend)


def jobs_of(team: TeamService, program: str) -> list[JobInfo]:
    with team.client() as client:
        listing = client.get("/jobs", params={"program": program, "limit": 1000}).json()
    return [JobInfo.model_validate(job) for job in listing["jobs"]]


class CountNew:
    """The number of jobs created since the start of the test."""

    def __init__(self, team: TeamService, program: str) -> None:
        self._team, self._program = team, program
        self._before = {job.id for job in jobs_of(team, program)}

    def new(self) -> list[JobInfo]:
        found = jobs_of(self._team, self._program)
        return [job for job in found if job.id not in self._before]


@pytest.fixture
def count(team: TeamService, program: str) -> CountNew:
    return CountNew(team, program)


def posts(proxy: Proxy) -> int:
    return proxy.seen.count("POST /jobs")


def test_the_first_submission_asks_nothing_beforehand(
    proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    proxy.seen.clear()
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert proxy.seen[0] == "POST /jobs"
    assert not [request for request in proxy.seen if "tags=" in request]


@pytest.mark.parametrize("action", ["cut", 500, 503, 504])
def test_an_answer_that_is_lost_leads_to_the_job_that_was_made(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew, action: object
) -> None:
    proxy.faults.append(Fault(SUBMISSION, "after", action))  # type: ignore[arg-type]
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert (posts(proxy), len(count.new())) == (1, 1)


def test_a_truncated_answer_leads_to_the_job_that_was_made(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew
) -> None:
    proxy.faults.append(Fault(SUBMISSION, "after", 200, body=b'{"id": "ab'))
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert (posts(proxy), len(count.new())) == (1, 1)


def test_a_job_that_is_found_late_is_waited_for(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew
) -> None:
    proxy.faults += [
        Fault(SUBMISSION, "after"),
        Fault(BY_TAG, "before", 200, EMPTY_LISTING, times=2),
    ]
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert (posts(proxy), len(count.new())) == (1, 1)


@pytest.mark.parametrize("action", ["cut", 503])
def test_a_submission_that_never_arrived_is_sent_again_after_the_grace_period(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew, action: object
) -> None:
    proxy.faults.append(Fault(SUBMISSION, "before", action))  # type: ignore[arg-type]
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert (posts(proxy), len(count.new())) == (2, 1)


def test_or_it_is_held(
    proxy: Proxy,
    backend: RuntimeBackend,
    program: str,
    count: CountNew,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_UNCLEAR_SUBMISSION", "hold")
    proxy.faults.append(Fault(SUBMISSION, "before"))
    with pytest.raises(SubmissionUnclearError, match="No job with the tag pqr-") as caught:
        run_program.fn(program, {"upto": 2}, backend=backend)
    assert caught.value.tag.startswith("pqr-")
    assert (posts(proxy), count.new()) == (1, [])


def test_a_refusal_for_being_busy_is_waited_out(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew
) -> None:
    proxy.faults.append(Fault(SUBMISSION, "before", 429))
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert (posts(proxy), len(count.new())) == (2, 1)
    assert not [request for request in proxy.seen if "tags=" in request]


def test_a_clear_refusal_is_reported_at_once(
    proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    refusal = json.dumps({"errors": [{"message": "no such shots", "code": 1101}]}).encode()
    proxy.faults.append(Fault(SUBMISSION, "before", 400, refusal))
    with pytest.raises(InvalidInputError, match="no such shots"):
        run_program.fn(program, backend=backend)
    assert posts(proxy) == 1


@pytest.mark.usefixtures("prefect_server")
def test_a_task_that_is_retried_finds_its_job(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew
) -> None:
    proxy.faults.append(Fault(r"GET /jobs/\w+/results", "before", 404, NO_JOB))

    @task(retries=1)
    def evaluating() -> int:
        return run_program(program, {"upto": 3}, backend=backend)

    @flow
    def retrying() -> int:
        return evaluating()

    assert retrying() == 3
    assert (posts(proxy), len(count.new())) == (1, 1)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("after_unclear", ["resubmit", "hold"])
def test_a_flow_that_is_retried_does_not_send_a_deleted_job_again(
    proxy: Proxy,
    backend: RuntimeBackend,
    program: str,
    team: TeamService,
    monkeypatch: pytest.MonkeyPatch,
    after_unclear: str,
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_UNCLEAR_SUBMISSION", after_unclear)
    deleted: list[str] = []

    @flow(retries=1)
    def deleting() -> None:
        job = submit_program(program, {"upto": 7}, backend=backend)
        job.wait_for_completion()
        deleted.append(job.job_id)
        with team.client() as client:
            assert client.delete(f"/jobs/{job.job_id}").status_code == 204
        raise ConnectionError("of the flow")

    with pytest.raises(NotFoundError, match="was deleted in the service") as caught:
        deleting()
    assert caught.value.kind == "deleted_job"
    assert [caught.value.identifier] == deleted
    assert posts(proxy) == 1


def searches(proxy: Proxy) -> int:
    return sum("tags=pqr-" in request for request in proxy.seen)


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_that_is_retried_before_it_has_sent_anything_waits_for_nothing(
    proxy: Proxy, backend: RuntimeBackend, program: str, count: CountNew
) -> None:
    """Here, and where an earlier process has left its records."""
    has_failed: list[bool] = []

    @flow(retries=1)
    def failing_first() -> int:
        if not has_failed:
            has_failed.append(True)
            raise ConnectionError("of the flow")
        return run_program(program, {"upto": 4}, backend=backend)

    assert failing_first() == 4
    # One before it was sent; one for twins as it goes on, and one after its end.
    assert (searches(proxy), len(count.new())) == (3, 1)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("are_kept", [True, False], ids=["kept", "lost"])
def test_where_records_of_an_earlier_run_are_lost_a_job_is_looked_for_longer(
    proxy: Proxy,
    backend: RuntimeBackend,
    program: str,
    monkeypatch: pytest.MonkeyPatch,
    are_kept: bool,
) -> None:
    """Make it look to the process as if another process had resumed the flow run."""
    monkeypatch.setattr(
        tagged_submission, "_here_since", {os.getpid(): datetime.max.replace(tzinfo=UTC)}
    )
    runs: list[int] = []

    @flow(retries=1)
    def going_on() -> int:
        runs.append(len(runs) + 1)
        proxy.seen.clear()
        result = run_program(program, {"upto": len(runs)}, backend=backend)
        if len(runs) == 1:
            tagged_submission._known.clear()
            if not are_kept:
                shutil.rmtree(Path(PREFECT_LOCAL_STORAGE_PATH.value()) / FOLDER)
            raise ConnectionError("of the flow")
        return result

    assert going_on() == 2
    assert posts(proxy) == 1
    assert (searches(proxy) > 3) is not are_kept


@pytest.mark.usefixtures("prefect_server")
def test_of_two_jobs_of_one_name_the_older_is_kept(
    proxy: Proxy, backend: RuntimeBackend, team: TeamService, tmp_path: Path
) -> None:
    source = """
import os, time

def main(backend, user_messenger, path):
    while not os.path.exists(path):
        time.sleep(0.02)
    return "done"
"""
    program, gate = upload_program.fn(source, name="waiting", backend=backend), tmp_path / "gate"

    def make_twin() -> None:
        """Another process was at the same point, and its job was not visible yet."""
        (job,) = jobs_of(team, program)
        with team.client() as client:
            body = {"program_id": program, "params": {"path": str(gate)}, "tags": job.tags}
            client.post("/jobs", json=body).raise_for_status()
        gate.touch()

    proxy.faults.append(Fault(r"GET /jobs/\w+/stream", "before", 404, NO_JOB, call=make_twin))

    @flow
    def racing() -> str:
        @task(retries=1)
        def evaluating() -> str:
            return run_program(program, {"path": str(gate)}, backend=backend)

        return evaluating()

    gate_was_closed = not gate.exists()
    assert (racing(), gate_was_closed) == ("done", True)
    newer, older = jobs_of(team, program)
    assert older.state.status == "Completed"
    assert newer.state.status in ("Cancelled", "Completed")  # it may end before it is cancelled


def test_a_service_that_never_answers_fails_soon(
    team: TeamService, proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    proxy.close()
    with pytest.raises(ServiceUnavailableError):
        run_program.fn(program, backend=backend)


# --- queries before the submission ---------------------------------------------------------------


@pytest.fixture
def ibm(cloud: OfflineService, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy to an offline IBM Quantum, with a short grace period."""
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "1")
    monkeypatch.setattr(budget, "_spending", Spending())
    proxy = Proxy(cloud.url)
    yield proxy
    proxy.close()


async def sample_within_a_budget(ibm: Proxy, cloud: OfflineService) -> None:
    """Call a primitive whose budget needs the metrics of an earlier job."""
    await arun_sampler.fn([flip()], backend=ibm_backend(ibm.url, cloud.token), shots=5)
    cloud.add("job_usage", pending=True)  # otherwise the list of jobs has their usage
    ibm.seen.clear()
    limited = ibm_backend(
        ibm.url, cloud.token, max_qpu_seconds_per_day=1e6, retry_deadline_seconds=0
    )
    async with asyncio.timeout(60):
        await arun_sampler.fn([flip()], backend=limited, shots=5)


@pytest.mark.parametrize("afterwards", ["resubmit", "hold"])
async def test_a_query_that_fails_before_the_submission_is_not_an_unclear_submission(
    ibm: Proxy, cloud: OfflineService, monkeypatch: pytest.MonkeyPatch, afterwards: str
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_UNCLEAR_SUBMISSION", afterwards)
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+/metrics", "before", 503, times=1000))
    with pytest.raises(
        ServiceUnavailableError, match=r"^Cannot get the metrics of job .* was not submitted\.$"
    ):
        await sample_within_a_budget(ibm, cloud)
    assert not [request for request in ibm.seen if request.startswith("POST /api/v1/jobs")]
    assert not [request for request in ibm.seen if "tags=" in request]


async def test_an_answer_that_cannot_be_read_before_the_submission_ends_the_call(
    ibm: Proxy, cloud: OfflineService
) -> None:
    ibm.faults.append(Fault(r"GET /api/v1/jobs/\w+/metrics", "before", 200, b"[7]", times=1000))
    with pytest.raises(ProtocolError, match=r"metrics of job .* The job was not submitted\.$"):
        await sample_within_a_budget(ibm, cloud)
    assert not [request for request in ibm.seen if request.startswith("POST /api/v1/jobs")]


async def test_a_login_that_fails_before_the_submission_is_not_an_unclear_submission(
    ibm: Proxy, cloud: OfflineService
) -> None:
    backend = ibm_backend(ibm.url, cloud.token, retry_deadline_seconds=0)
    await arun_sampler.fn([flip()], backend=backend, shots=5)
    ibm.seen.clear()
    async with backend.connect() as api:
        login = _login.iam_login(ibm.url, cloud.token)
        login.forget()
        ibm.faults.append(Fault("POST /identity/token", "before", 503, times=1000))
        with pytest.raises(ServiceUnavailableError) as caught:
            await api.submit_job("sampler", "{}", backend="aer_simulator")
    assert not was_sent(caught.value)
    assert {request.split("?")[0] for request in ibm.seen} == {"POST /identity/token"}


def test_a_listing_that_ignores_the_tag_gives_no_result_of_another_job_and_cancels_none(
    proxy: Proxy, backend: RuntimeBackend, program: str, team: TeamService
) -> None:
    others = [submit_program.fn(program, {"upto": 7}, backend=backend).job_id for _ in range(2)]
    with team.client() as client:
        listing = client.get("/jobs", params={"program": program, "sort": "ASC"}).content
    assert all(one.encode() in listing for one in others)
    proxy.seen.clear()
    proxy.faults.append(Fault(SUBMISSION, "before", 503))
    proxy.faults.append(Fault(BY_TAG, "after", 200, listing, times=1000))
    assert run_program.fn(program, {"upto": 2}, backend=backend) == 2
    assert posts(proxy) == 2
    assert not [request for request in proxy.seen if request.endswith("/cancel")]


def test_a_submission_that_never_has_a_clear_outcome_ends(
    proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    proxy.faults.append(Fault(SUBMISSION, "before", 503, times=1000))
    impatient = backend.model_copy(update={"retry_deadline_seconds": 1.0})
    with pytest.raises(SubmissionUnclearError, match="with the tag pqr-"):
        run_program.fn(program, {"upto": 2}, backend=impatient)
    assert posts(proxy) == 2
