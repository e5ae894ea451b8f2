"""Limits of QPU time: which jobs are sent, which are stopped, and which wait for approval."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    BudgetExceededError,
    RuntimeBackend,
    areport_usage,
    arun_sampler,
    aruntime_session,
    run_sampler,
)
from prefect_qiskit_runtime.client import Spending
from prefect_qiskit_runtime.client._api import BackendCalls
from prefect_qiskit_runtime.evaluation import budget
from prefect_qiskit_runtime.models import InstanceUsage
from prefect_qiskit_runtime.testing import OfflineService
from tests.evaluation.line import set_pace
from tests.simulated_ibm import ibm_backend

ESTIMATE = 2.0 + 1000 * (250e-6 + 100e-6)
"""Of `circuit` with 1000 shots: 2 s, and for each shot the delay and a typical circuit."""


@pytest.fixture
def cloud(cloud: OfflineService, monkeypatch: pytest.MonkeyPatch) -> OfflineService:
    """A service on which each job has used ten seconds."""
    monkeypatch.setattr(budget, "_spending", Spending())
    monkeypatch.setattr(budget, "_granted", {})
    cloud.add("job_usage", seconds=10)
    return cloud


def backend_of(cloud: OfflineService, **limits: Any) -> RuntimeBackend:
    return ibm_backend(cloud.url, cloud.token, **limits)


def circuit(number: int = 0) -> QuantumCircuit:
    made = QuantumCircuit(1)
    made.rx(number, 0)
    made.measure_all()
    return made


def submissions(cloud: OfflineService) -> int:
    return len(cloud.requests("POST", "/jobs"))


async def sample(backend: RuntimeBackend, number: int = 0) -> None:
    await arun_sampler.fn([circuit(number)], backend=backend, shots=1000)


def test_a_call_that_is_estimated_to_use_too_much_is_not_sent(cloud: OfflineService) -> None:
    backend = backend_of(cloud, max_qpu_seconds_per_call=2.3)
    with pytest.raises(
        BudgetExceededError, match=r"2\.4 s .* the limit for one call is 2\.3 s"
    ) as caught:
        run_sampler.fn([circuit()], backend=backend, shots=1000)
    error = caught.value
    assert (error.scope, error.limit_seconds, error.used_seconds) == ("call", 2.3, 0)
    assert error.estimated_seconds == pytest.approx(ESTIMATE)
    assert submissions(cloud) == 0
    run_sampler.fn([circuit()], backend=backend, shots=500)
    assert submissions(cloud) == 1


def test_a_job_uses_no_more_than_its_own_limit(cloud: OfflineService) -> None:
    backend = backend_of(cloud, max_qpu_seconds_per_call=2.3, max_execution_time=2)
    run_sampler.fn([circuit()], backend=backend, shots=1000)
    assert submissions(cloud) == 1


async def test_the_day_counts_what_all_jobs_have_used(cloud: OfflineService) -> None:
    await sample(backend_of(cloud))
    spent = await spent_seconds(cloud)
    await sample(backend_of(cloud, max_qpu_seconds_per_day=spent + ESTIMATE + 0.1))
    with pytest.raises(
        BudgetExceededError, match=r"the limit for one day \(UTC\) of the account"
    ) as caught:
        await sample(backend_of(cloud, max_qpu_seconds_per_day=spent + ESTIMATE + 0.1))
    assert caught.value.used_seconds == spent + 10


async def spent_seconds(cloud: OfflineService) -> float:
    async with backend_of(cloud).connect() as api:
        return 10.0 * len(await api.list_jobs())


async def test_an_instance_that_has_used_its_share_takes_no_more(cloud: OfflineService) -> None:
    usage = cloud.add("usage_limit", seconds=600)
    with pytest.raises(
        BudgetExceededError, match=r"the limit for the instance is 601 s, of which 600\.0 s"
    ):
        await sample(backend_of(cloud, max_qpu_seconds_of_instance=601))
    cloud.remove(usage)
    await sample(backend_of(cloud, max_qpu_seconds_of_instance=601))
    assert submissions(cloud) == 1


@pytest.fixture
async def no_line(cloud: OfflineService, prefect_server: None) -> None:
    """Allow any number of submissions in a minute."""
    await set_pace(backend_of(cloud), 0.001)


@flow(persist_result=False)
async def sampling(backend: RuntimeBackend, count: int) -> int:
    for number in range(count):
        await arun_sampler([circuit(number)], backend=backend, shots=1000)
    return len(await areport_usage(backend=backend, key="spent-here"))


@pytest.mark.usefixtures("no_line")
async def test_a_flow_run_stops_at_its_limit(cloud: OfflineService) -> None:
    backend = backend_of(cloud, max_qpu_seconds_per_flow_run=13)
    with pytest.raises(
        BudgetExceededError, match=r"the limit for the flow run is 22 s, of which 20\.0 s"
    ) as caught:
        await sampling(backend_of(cloud, max_qpu_seconds_per_flow_run=22), 3)
    error = caught.value
    assert (error.scope, error.limit_seconds, error.used_seconds) == ("flow run", 22, 20.0)
    assert error.backend == backend.name
    assert await sampling(backend, 2) == 2
    async with get_client() as client:
        key = ArtifactFilter(key=ArtifactFilterKey(any_=["spent-here"]))
        (artifact,) = await client.read_artifacts(artifact_filter=key)
    assert "2 jobs on the ibm service have used 20.0 s of QPU time" in str(artifact.description)


@pytest.mark.usefixtures("no_line")
async def test_usage_that_ibm_has_not_calculated_yet_counts_as_estimated(
    cloud: OfflineService,
) -> None:
    cloud.clear()
    cloud.add("job_usage", pending=True)
    with pytest.raises(
        BudgetExceededError, match=r"has not reported the usage of \w+, \w+ yet: 4\.7 s"
    ):
        await sampling(backend_of(cloud, max_qpu_seconds_per_flow_run=2.5 * ESTIMATE), 4)
    assert submissions(cloud) == 2


async def test_a_limit_of_an_instance_whose_usage_is_unknown_refuses_in_words(
    cloud: OfflineService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(_api: object) -> InstanceUsage:
        return InstanceUsage()

    monkeypatch.setattr(BackendCalls, "usage", unknown)
    with pytest.raises(BudgetExceededError, match="usage_consumed_seconds"):
        await sample(backend_of(cloud, max_qpu_seconds_of_instance=601))
    assert submissions(cloud) == 0


@pytest.mark.usefixtures("no_line")
async def test_a_session_counts_with_the_time_that_it_is_active(cloud: OfflineService) -> None:
    backend = backend_of(cloud, max_qpu_seconds_per_flow_run=30)

    @flow(persist_result=False)
    async def sampling_in_a_session() -> str:
        async with aruntime_session(backend) as session:
            await arun_sampler([circuit()], backend=backend, session=session, shots=1000)
            cloud.advance(30)  # the flow computes, and the session holds the device
            with pytest.raises(BudgetExceededError, match="of which 3") as caught:
                await arun_sampler([circuit(1)], backend=backend, session=session, shots=1000)
        assert 30 <= caught.value.used_seconds < 40
        await areport_usage(backend=backend, key="spent-in-a-session")
        return session.session_id

    session_id = await sampling_in_a_session()
    async with get_client() as client:
        key = ArtifactFilter(key=ArtifactFilterKey(any_=["spent-in-a-session"]))
        (artifact,) = await client.read_artifacts(artifact_filter=key)
    assert f"Session {session_id} was active for 3" in str(artifact.description)
    assert json.loads(str(artifact.data))[0]["session"] == session_id


async def awaiting_approval(client: PrefectClient, running: asyncio.Task[int]) -> FlowRun:
    """Return the flow run once it waits for approval."""
    while True:
        assert not running.done()
        for found in await client.read_flow_runs():
            if found.state_name == "AwaitingApproval":
                return found
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("no_line")
async def test_an_approval_while_the_usage_of_the_instance_is_unknown_is_for_one_job(
    cloud: OfflineService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(_api: object) -> InstanceUsage:
        return InstanceUsage()

    monkeypatch.setattr(BackendCalls, "usage", unknown)
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_FLOW_STATE_INTERVAL_SECONDS", "0.1")
    backend = backend_of(cloud, max_qpu_seconds_of_instance=601, at_budget="pause")
    running = asyncio.create_task(sampling.with_options(name="unknown")(backend, 3))
    async with get_client() as client:
        for sent in range(3):
            paused = await awaiting_approval(client, running)
            assert "usage_consumed_seconds" in str(paused.state and paused.state.message)
            assert submissions(cloud) == sent
            await client.resume_flow_run(paused.id)
    assert await running == 3
    assert submissions(cloud) == 3


@pytest.mark.usefixtures("no_line")
async def test_a_flow_run_waits_for_approval(
    cloud: OfflineService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_FLOW_STATE_INTERVAL_SECONDS", "0.1")
    backend = backend_of(cloud, max_qpu_seconds_per_flow_run=5, at_budget="pause")
    running = asyncio.create_task(sampling.with_options(name="approved")(backend, 2))
    async with get_client() as client:
        paused = await awaiting_approval(client, running)
        assert paused.state is not None
        assert "the limit for the flow run is 5 s, of which 10.0 s" in str(paused.state.message)
        assert submissions(cloud) == 1
        await client.resume_flow_run(paused.id)
    assert await running == 2
    assert submissions(cloud) == 2
