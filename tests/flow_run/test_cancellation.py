"""Jobs of flow runs that did not cancel them are cancelled by the hooks and the reaper."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect import flow, get_client, runtime
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Running, State

from prefect_qiskit_runtime import (
    ConfigurationError,
    JobStatus,
    RuntimeSession,
    attach_job,
    cancel_abandoned_jobs,
    cancel_job,
    cancel_on_exit,
    runtime_session,
    submit_program,
)
from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.flow_run.open_sessions import sessions_left_open

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")

BACKEND = "aer_simulator"
NEVER = {"upto": 1, "wait_for": "/never/there"}


def status(job_id: str) -> JobStatus:
    return attach_job.fn(job_id, backend=BACKEND).status()


def is_pending(job_id: str) -> bool:
    return status(job_id) in (JobStatus.QUEUED, JobStatus.RUNNING)


@pytest.fixture
def left(counting: str) -> Iterator[tuple[UUID, str]]:
    """A flow run that has ended and left a job behind, and the job's id."""

    @flow
    def leaving() -> tuple[UUID, str]:
        job = submit_program(counting, NEVER, backend=BACKEND)
        return UUID(runtime.flow_run.id), job.job_id

    flow_run_id, job_id = leaving()
    yield flow_run_id, job_id
    if is_pending(job_id):
        cancel_job.fn(job_id, backend=BACKEND)


@pytest.mark.parametrize("state", [Cancelled(), Cancelling(), Crashed()], ids=lambda s: s.name)
def test_the_reaper_cancels_jobs_of_flow_runs_that_will_not_return(
    left: tuple[UUID, str], state: State
) -> None:
    flow_run_id, job_id = left
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, state, force=True)
    assert job_id in cancel_abandoned_jobs.fn(BACKEND, crashed_after_seconds=0)
    assert status(job_id) is JobStatus.CANCELLED
    assert cancel_abandoned_jobs.fn(BACKEND, crashed_after_seconds=0) == []


@pytest.mark.parametrize("state", [Running(), Completed(), Crashed()], ids=lambda s: s.name)
def test_the_reaper_leaves_jobs_that_a_flow_run_may_come_back_for(
    left: tuple[UUID, str], state: State
) -> None:
    flow_run_id, job_id = left
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, state, force=True)
    assert cancel_abandoned_jobs.fn(BACKEND) == []
    assert is_pending(job_id)


def test_the_reaper_cancels_jobs_of_deleted_flow_runs_only_on_request(
    left: tuple[UUID, str],
) -> None:
    flow_run_id, job_id = left
    with get_client(sync_client=True) as client:
        client.delete_flow_run(flow_run_id)
    assert cancel_abandoned_jobs.fn(BACKEND) == []
    assert cancel_abandoned_jobs.fn(BACKEND, deleted=True) == [job_id]


def test_hooks_cancel_jobs_of_subflows_and_close_open_sessions(counting: str) -> None:
    seen: dict[str, str] = {}
    opened = runtime_session(BACKEND)

    @flow
    def child(session: str) -> str:
        return submit_program(counting, NEVER, backend=BACKEND, session=session).job_id

    @flow(**cancel_on_exit(crashed=True))
    def parent() -> None:
        with runtime_session(BACKEND):
            pass  # the note of it is gone when it has closed
        seen["session"] = opened.__enter__().session_id  # and not left, as with kill -9
        seen["job"] = child(seen["session"])
        raise SystemExit

    with pytest.raises(SystemExit):
        parent()
    assert status(seen["job"]) is JobStatus.CANCELLED
    session = RuntimeSession(seen["session"], RuntimeBackend())
    assert session.details().accepting_jobs is False
    opened.__exit__(None, None, None)


def test_hooks_take_names_of_blocks_only() -> None:
    with pytest.raises(ConfigurationError, match="takes the names of saved RuntimeBackend blocks"):
        cancel_on_exit(RuntimeBackend())  # type: ignore[arg-type]


def test_a_flow_run_notes_the_sessions_that_it_has_open() -> None:
    def noted() -> list[str]:
        with get_client(sync_client=True) as client:
            return sessions_left_open(client.read_flow_run(UUID(runtime.flow_run.id)))

    @flow
    def opening() -> None:
        with runtime_session(BACKEND) as first, runtime_session(BACKEND) as second:
            assert noted() == [first.session_id, second.session_id]
        assert noted() == []

    opening()


def test_hooks_leave_the_jobs_of_a_crashed_flow_run_for_its_retry(counting: str) -> None:
    jobs: list[str] = []

    @flow(**cancel_on_exit())
    def crashing() -> None:
        jobs.append(submit_program(counting, NEVER, backend=BACKEND).job_id)
        raise SystemExit

    with pytest.raises(SystemExit):
        crashing()
    assert is_pending(jobs[0])
    cancel_job.fn(jobs[0], backend=BACKEND)


def test_a_block_that_is_gone_does_not_keep_the_jobs_of_the_others_running(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    RuntimeBackend().save("still-there", overwrite=True)
    jobs: list[str] = []

    @flow(**cancel_on_exit("never-saved", "still-there", crashed=True))
    def crashing() -> None:
        jobs.append(submit_program(counting, NEVER, backend=BACKEND).job_id)
        raise SystemExit

    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit):
        crashing()
    assert "Jobs on the service of 'never-saved' may still be running" in caplog.text
    assert status(jobs[0]) is JobStatus.CANCELLED


def test_hooks_of_a_subflow_leave_its_jobs_to_the_flow_above(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs: list[str] = []

    @flow(**cancel_on_exit(crashed=True))
    def child() -> None:
        raise SystemExit

    @flow
    def parent() -> None:
        jobs.append(submit_program(counting, NEVER, backend=BACKEND).job_id)
        child()

    with pytest.raises(SystemExit):
        parent()
    assert "are not cancelled: add cancel_on_exit to the flow above it" in caplog.text
    assert is_pending(jobs[0])
    cancel_job.fn(jobs[0], backend=BACKEND)
