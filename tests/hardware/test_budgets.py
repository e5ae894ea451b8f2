"""Programs on hardware at their budget: the flow run waits for approval, and goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.states import Cancelled

from prefect_qiskit_runtime import ProgramFailedError, RuntimeBackend, arun_program
from prefect_qiskit_runtime.broker import _journal
from prefect_qiskit_runtime.broker._budget import Budget, Limits
from prefect_qiskit_runtime.broker._journal import Journal
from prefect_qiskit_runtime.broker._session import HardwareSession
from prefect_qiskit_runtime.client import IbmApi, Spent, job_error
from prefect_qiskit_runtime.errors import HardwareBudgetError
from prefect_qiskit_runtime.evaluation import budget as _approval, budget as _hardware_budget
from prefect_qiskit_runtime.evaluation.budget import HardwareBudget
from prefect_qiskit_runtime.models import JobInfo, ReasonCode
from prefect_qiskit_runtime.settings import Settings
from tests.proxy import Fault, Proxy
from tests.simulated_ibm import ibm_credentials

from .conftest import Cloud

POINTS = 4


@pytest.fixture(autouse=True)
def nothing_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_FLOW_STATE_INTERVAL_SECONDS", "0.1")
    monkeypatch.setattr(_approval, "_granted", {})


async def awaiting_approval(running: asyncio.Task[Any], name: str, times: int = 1) -> Any:
    """Return the flow run of a name, once it is paused."""
    async with get_client() as client:
        while True:
            assert not running.done(), running.result()
            for one in await client.read_flow_runs():
                if one.name == name and one.state_name == "AwaitingApproval":
                    return one
            await asyncio.sleep(0.05)


@flow(persist_result=False)
async def energies(program_id: str, backend: RuntimeBackend) -> list[float]:
    result = await arun_program(program_id, {"points": POINTS}, backend=backend)
    return result["energies"]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("field", "limit", "pauses"),
    [("max_qpu_seconds_per_flow_run", 15, 1), ("hardware_max_seconds", 5, 3)],
)
async def test_a_program_at_its_budget_waits_for_approval_and_goes_on(
    cloud: Cloud, vqe: str, field: str, limit: float, pauses: int
) -> None:
    cloud.service.add("job_usage", seconds=10)  # each
    backend = cloud.backend(hardware_mode="job", at_budget="pause", **{field: limit})
    name = f"approved-{field}"
    running = asyncio.create_task(energies.with_options(flow_run_name=name)(vqe, backend))
    for _ in range(pauses):
        paused = await awaiting_approval(running, name)
        assert field in str(paused.state.message)
        assert "fake_manila" in str(paused.state.message)
        async with get_client() as client:
            await client.resume_flow_run(paused.id)
    found = await running
    assert len(found) == POINTS
    assert found[0] == pytest.approx(2, abs=0.4)
    # Each point ran once, whichever attempt asked for it.
    assert cloud.sent("POST", "/jobs") == POINTS
    assert {one["state"]["status"] for one in cloud.jobs} == {"Completed"}


@flow(persist_result=False)
async def two_programs(program_id: str, backend: RuntimeBackend) -> int:
    for points in (1, 2):
        await arun_program(program_id, {"points": points}, backend=backend)
    return points


@pytest.mark.usefixtures("prefect_server")
async def test_an_approval_while_the_usage_of_the_instance_is_unknown_is_for_one_program(
    cloud: Cloud, vqe: str, proxy: Proxy
) -> None:
    proxy.faults.append(Fault("GET /api/v1/instances/usage", "after", 200, b"{}", times=1000))
    backend = RuntimeBackend(
        name="fake_manila",
        hardware_credentials=ibm_credentials(proxy.url, cloud.service.token),
        hardware_mode="job",
        retry_delay_seconds=0.1,
        max_qpu_seconds_of_instance=601,
        at_budget="pause",
    )
    running = asyncio.create_task(two_programs.with_options(flow_run_name="unknown")(vqe, backend))
    async with get_client() as client:
        for sent in (0, 1):
            paused = await awaiting_approval(running, "unknown")
            assert (
                "is not known, so the limit for the instance (max_qpu_seconds_of_instance) of 601 s"
                in str(paused.state.message)
            )
            assert cloud.sent("POST", "/jobs") == sent
            await client.resume_flow_run(paused.id)
    assert await running == 2
    assert cloud.sent("POST", "/jobs") == 3


@pytest.mark.usefixtures("prefect_server")
async def test_who_does_not_resume_it_gets_the_error(cloud: Cloud, vqe: str) -> None:
    cloud.service.add("job_usage", seconds=10)
    backend = cloud.backend(
        hardware_mode="job", at_budget="pause", max_qpu_seconds_per_flow_run=5, attempts=1
    )
    running = asyncio.create_task(energies.with_options(flow_run_name="refused")(vqe, backend))
    paused = await awaiting_approval(running, "refused")
    async with get_client() as client:
        await client.set_flow_run_state(paused.id, Cancelled(), force=True)
    with pytest.raises(BaseException) as caught:
        await running
    assert (
        "max_qpu_seconds_per_flow_run" in str(caught.value) or "cancel" in str(caught.value).lower()
    )
    assert cloud.sent("POST", "/jobs") == 1


@pytest.mark.usefixtures("prefect_server")
async def test_outside_of_flows_no_approval_is_requested(
    cloud: Cloud, vqe: str, tmp_path: Path
) -> None:
    cloud.service.add("job_usage", seconds=10)
    backend = cloud.backend(hardware_mode="job", at_budget="pause", hardware_max_seconds=5)
    with pytest.raises(ProgramFailedError, match="HardwareBudgetError") as caught:
        await arun_program.fn(vqe, {"points": 2}, backend=backend)
    error = caught.value
    assert (error.reason_code, error.backend) == (90009, "fake_manila")
    assert (error.scope, error.limit_seconds, error.used_seconds) == ("call", 5.0, 10.0)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_seconds": 30},
        {"max_seconds_per_flow_run": 0},
        {"max_seconds_per_day": 0},
        {"max_seconds_of_instance": 5},
    ],
)
async def test_the_error_of_the_broker_names_the_limit_in_fields(
    cloud: Cloud, limits: dict[str, float]
) -> None:
    cloud.service.add("usage_limit", seconds=30)
    async with IbmApi(cloud.credentials.account().read()) as api:
        budget = Budget(api, "fake_manila", "mine", Limits(60, **limits))
        with pytest.raises(HardwareBudgetError) as caught:
            await budget.left_seconds(Spent(30.0))
    ((name, limit),) = limits.items()
    assert caught.value.scope is not None
    assert _hardware_budget._HARDWARE_LIMITS[caught.value.scope] == name
    assert (caught.value.limit_seconds, caught.value.backend) == (limit, "fake_manila")
    assert caught.value.used_seconds is not None
    assert caught.value.used_seconds >= limit


@pytest.mark.usefixtures("prefect_server")
async def test_a_service_that_does_not_report_the_limit_leads_to_no_pause(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Services before 0.1 report the code and a sentence."""
    job = JobInfo.model_validate(
        {
            "id": "j1",
            "backend": "fake_manila",
            "state": {
                "status": "Failed",
                "reasonCode": ReasonCode.HARDWARE_BUDGET,
                "reason": "HardwareBudgetError: The program has used 10.0 s of fake_manila; its"
                " limit (hardware_max_seconds or max_qpu_seconds_per_call) is 5 s.",
            },
        }
    )
    backend = cloud.backend(at_budget="pause", hardware_max_seconds=5)

    @flow
    async def asking() -> bool:
        async with IbmApi(cloud.credentials.account().read()) as api:
            budget = HardwareBudget(api, backend, "an-evaluation")
            return await budget.request_extension(job_error(job, None, None))

    assert not await asking()
    assert (
        f"Job j1 has used up its QPU time, but {cloud.service.url}/api/v1 does not report which"
        " limit ended it, so no approval is requested." in caplog.text
    )


GONE = b'{"errors": [{"code": 1291, "message": "There is none."}]}'


@asynccontextmanager
async def opened(
    cloud: Cloud, proxy: Proxy, journal: Path, **limits: float
) -> AsyncIterator[HardwareSession]:
    """The session of a broker that reaches IBM through a proxy; the journal outlives it."""
    credentials = ibm_credentials(proxy.url, cloud.service.token)
    settings = Settings(submission_grace_seconds=0.1)
    with Journal(journal) as known:
        async with IbmApi(credentials.account(), settings=settings) as api:
            budget = Budget(api, "fake_manila", "label", Limits(60, **limits))
            session = HardwareSession(api, "fake_manila", known, budget, "session")
            await session.settle_earlier()
            yield session


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    proxy = Proxy(cloud.service.url)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("is_closed_first", [False, True])
async def test_a_session_that_the_service_does_not_have_any_more_has_used_the_most_possible(
    cloud: Cloud,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_closed_first: bool,
) -> None:
    path = tmp_path / "one.jsonl"
    gone = Fault(r"(GET|DELETE) /api/v1/sessions/", "before", 404, GONE, times=1000)
    async with opened(cloud, proxy, path, max_seconds=40) as session:
        await session.enter()
        session_id = session.session_id
        proxy.faults.append(gone)
        monkeypatch.setattr(_journal.time, "time", partial(later, 15))
        if is_closed_first:
            await session.close(with_jobs=True)
        _, limit = await session.enter()
        assert limit in (24, 25)
        assert await session.used_seconds() is None
    # Another attempt counts the same, and at most the time for which a session could be open.
    monkeypatch.setattr(_journal.time, "time", partial(later, 3600))
    async with opened(cloud, proxy, path, max_seconds=12) as session:
        with pytest.raises(HardwareBudgetError, match=rf"not reported .* {session_id}") as caught:
            await session.enter()
        assert await session.used_seconds() == 0
    assert caught.value.used_seconds == pytest.approx(40, abs=1)


async def test_a_separate_job_that_the_service_does_not_have_any_more_has_used_the_most_possible(
    cloud: Cloud, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.faults.append(Fault(r"GET /api/v1/jobs/gone", "before", 404, GONE, times=1000))
    with Journal(tmp_path / "one.jsonl") as journal:
        submission, _ = journal.take("fingerprint")
        journal.intend(submission)
        journal.submitted(submission, "gone", is_single=True)
    for seconds, used in ((15, 15), (10**5, 10_800)):
        monkeypatch.setattr(_journal.time, "time", partial(later, seconds))
        async with opened(cloud, proxy, tmp_path / "one.jsonl", max_seconds=5) as session:
            with pytest.raises(
                HardwareBudgetError, match="not reported the usage of gone"
            ) as caught:
                await session.enter()
        assert caught.value.used_seconds == pytest.approx(used, abs=1)


_now = time.time


def later(seconds: float) -> float:
    """Return the time as a clock shows it that is so far ahead."""
    return _now() + seconds
