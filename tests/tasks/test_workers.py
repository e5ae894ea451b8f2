"""When a worker is not given back; that it is, tests/deployments shows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow, flow, get_client, runtime, task
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow

from prefect_qiskit_runtime import (
    ConfigurationError,
    RuntimeJob,
    arelease_worker,
    release_worker,
    run_program,
    runtime_session,
    submit_program,
    upload_program,
)
from prefect_qiskit_runtime.testing import OfflineService

pytestmark = pytest.mark.usefixtures("prefect_server")

PROGRAM = "def main(backend, user_messenger, number=0):\n    return number\n"


@pytest.fixture(scope="module")
def program(running_offline: OfflineService) -> str:
    return upload_program.fn(PROGRAM, name="numbers", backend=running_offline.backend())


@pytest.fixture
def queued(offline: OfflineService, program: str) -> RuntimeJob:
    """A job that stays queued."""
    offline.add("hold_job")
    return submit_program.fn(program, backend=offline.backend())


def of_deployment(served: Flow[..., Any], work_pool_name: str | None = None) -> Any:
    """Run a flow as a run of a deployment that is not served."""
    with get_client(sync_client=True) as client:
        deployment_id = client.create_deployment(
            client.create_flow(served), name=f"in-{work_pool_name}", work_pool_name=work_pool_name
        )
        flow_run = client.create_flow_run_from_deployment(deployment_id)
    return run_flow(served, flow_run=flow_run)


@pytest.fixture(scope="module")
def work_pool(prefect_server: None) -> str:
    """A work pool whose workers start flow runs."""

    async def made() -> str:
        async with get_client() as client:
            work_pool = await client.create_work_pool(WorkPoolCreate(name="pool", type="process"))
            return work_pool.name

    return asyncio.run(made())


def state_of(flow_run_id: str) -> State:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run_id)).state
        assert state is not None
        return state


def test_a_flow_run_is_scheduled_again_when_it_gives_its_worker_back(
    queued: RuntimeJob, work_pool: str
) -> None:
    ids: list[str] = []

    @flow
    def releasing() -> None:
        ids.append(runtime.flow_run.id)
        release_worker(queued)

    before = datetime.now(UTC)
    with pytest.raises(Abort):
        of_deployment(releasing, work_pool)
    state = state_of(ids[0])
    assert (state.name, state.type) == ("AwaitingQuantumJob", StateType.SCHEDULED)
    assert state.message == f"Job {queued.job_id} is queued."
    assert state.state_details.scheduled_time >= before + timedelta(seconds=30)


async def test_an_async_flow_gives_its_worker_back_for_as_long_as_it_says(
    queued: RuntimeJob, work_pool: str
) -> None:
    ids: list[str] = []

    @flow
    async def releasing() -> None:
        ids.append(runtime.flow_run.id)
        await arelease_worker([queued], check_after_seconds=3600)

    before = datetime.now(UTC)
    with pytest.raises(Abort):
        await of_deployment(releasing, work_pool)
    scheduled = state_of(ids[0]).state_details.scheduled_time
    assert scheduled >= before + timedelta(seconds=3600)


def test_outside_of_a_flow_it_is_refused(queued: RuntimeJob) -> None:
    with pytest.raises(ConfigurationError, match="must be called in the body of a flow"):
        release_worker(queued)


def test_in_a_task_it_is_refused(queued: RuntimeJob) -> None:
    @task
    def releasing() -> None:
        with pytest.raises(ConfigurationError, match="must be called in the body of a flow"):
            release_worker(queued)

    @flow
    def outer() -> None:
        releasing()

    outer()


@pytest.mark.parametrize(
    ("jobs", "seconds", "message"),
    [((), None, "needs a job"), ((1,), 0, "must be more than 0")],
)
def test_wrong_arguments_are_refused(jobs: Any, seconds: float | None, message: str) -> None:
    @flow
    def releasing() -> None:
        with pytest.raises(ConfigurationError, match=message):
            release_worker(jobs, check_after_seconds=seconds)

    releasing()


def test_it_returns_at_once_when_one_of_the_jobs_has_ended(
    offline: OfflineService, queued: RuntimeJob, program: str
) -> None:
    @flow
    def releasing() -> int:
        job = submit_program(program, {"number": 3}, backend=offline.backend())
        job.wait_for_final_state()
        release_worker([queued, job])
        return job.result()

    assert of_deployment(releasing) == 3


def test_without_a_deployment_the_flow_waits_in_its_process(
    queued: RuntimeJob, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def releasing() -> None:
        release_worker(queued)

    releasing()
    assert (
        "The worker is not released: without a deployment it would not be started again"
        in caplog.text
    )


def test_a_subflow_waits_in_its_process(
    queued: RuntimeJob, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def child() -> None:
        release_worker(queued)

    @flow
    def parent() -> None:
        child()

    parent()
    assert "a subflow is started again only by its parent" in caplog.text


def test_a_deployment_that_is_not_served_does_not_start_it_again(
    queued: RuntimeJob, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def releasing() -> None:
        release_worker(queued)

    of_deployment(releasing)
    assert "no longer served" in caplog.text


def test_an_open_session_keeps_the_process(
    offline: OfflineService, queued: RuntimeJob, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def releasing() -> None:
        with runtime_session(offline.backend()):
            release_worker(queued)

    of_deployment(releasing)
    assert "is open, and would be closed with the process" in caplog.text


def test_calls_that_wait_in_threads_keep_the_process(
    offline: OfflineService, queued: RuntimeJob, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    hold = offline.add("hold_job")

    @flow
    def releasing() -> int:
        future = run_program.submit(program, {"number": 5}, backend=offline.backend())
        while not offline.requests("GET", "/jobs/*/stream"):
            pass
        release_worker(queued)
        offline.remove(hold)
        return future.result()

    assert of_deployment(releasing) == 5
    assert "other calls wait for jobs" in caplog.text
