"""When a worker is not given back; that it is, tests/deployments shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import Flow, flow, get_client, task
from prefect.flow_engine import run_flow

from prefect_qiskit_runtime import (
    ConfigurationError,
    RuntimeJob,
    release_worker,
    run_program,
    runtime_session,
    submit_program,
)
from prefect_qiskit_runtime.testing import OfflineService, offline_service

pytestmark = pytest.mark.usefixtures("prefect_server")

PROGRAM = "def main(backend, user_messenger, number=0):\n    return number\n"


@pytest.fixture(scope="module")
def service() -> Iterator[OfflineService]:
    with offline_service() as service:
        yield service


@pytest.fixture(scope="module")
def program(service: OfflineService) -> str:
    from prefect_qiskit_runtime import upload_program

    return upload_program.fn(PROGRAM, name="numbers", backend=service.backend())


@pytest.fixture
def queued(service: OfflineService, program: str) -> Iterator[RuntimeJob]:
    """A job that stays queued."""
    service.clear()
    service.add("hold_job")
    yield submit_program.fn(program, backend=service.backend())
    service.clear()


def of_deployment(served: Flow[..., Any]) -> Any:
    """Run a flow as a run of a deployment, which nobody serves."""
    with get_client(sync_client=True) as client:
        deployment_id = client.create_deployment(client.create_flow(served), name="unserved")
        flow_run = client.create_flow_run_from_deployment(deployment_id)
    return run_flow(served, flow_run=flow_run)


def test_outside_of_a_flow_it_is_refused(queued: RuntimeJob) -> None:
    with pytest.raises(ConfigurationError, match="belongs into the body of a flow"):
        release_worker(queued)


def test_in_a_task_it_is_refused(queued: RuntimeJob) -> None:
    @task
    def releasing() -> None:
        with pytest.raises(ConfigurationError, match="belongs into the body of a flow"):
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
    service: OfflineService, queued: RuntimeJob, program: str
) -> None:
    @flow
    def releasing() -> int:
        job = submit_program(program, {"number": 3}, backend=service.backend())
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
    assert "stays with this flow run: without a deployment nobody would" in caplog.text


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
    assert "a subflow is started again by its parent only" in caplog.text


def test_a_deployment_that_nobody_serves_does_not_start_it_again(
    queued: RuntimeJob, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def releasing() -> None:
        release_worker(queued)

    of_deployment(releasing)
    assert "not served any more" in caplog.text


def test_an_open_session_keeps_the_process(
    service: OfflineService, queued: RuntimeJob, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def releasing() -> None:
        with runtime_session(service.backend()):
            release_worker(queued)

    of_deployment(releasing)
    assert "is open, and would be closed with the process" in caplog.text


def test_calls_that_wait_in_threads_keep_the_process(
    service: OfflineService, queued: RuntimeJob, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    hold = service.add("hold_job")

    @flow
    def releasing() -> int:
        future = run_program.submit(program, {"number": 5}, backend=service.backend())
        while not service.requests("GET", "/jobs/*/stream"):
            pass
        release_worker(queued)
        service.remove(hold)
        return future.result()

    assert of_deployment(releasing) == 5
    assert "other calls of it wait for jobs" in caplog.text
