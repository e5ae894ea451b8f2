"""Flow runs of a deployment that are cancelled or killed: their jobs end with them, and soon.

How soon is promised in docs/how-to/cancel.md, "Which jobs are cancelled, and how soon". It is read
from the records: when Prefect's server noted that the flow run is to be cancelled, or when the
signal was sent, and when the service noted the end of the job.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from prefect_qiskit_runtime import JobStatus, RuntimeSession, SessionState, list_jobs, wait_for_job
from prefect_qiskit_runtime.flow_run.lineage import flow_tag
from prefect_qiskit_runtime.testing import OfflineService
from tests.deployments.conftest import Runner, ServedRun, StartRun, Way, running
from tests.deployments.served import BLOCK
from tests.waiting import wait_until

slow = pytest.mark.slow

BY_ITSELF_SECONDS = 15.0
BY_A_HOOK_SECONDS = 45.0

cancel = ServedRun.cancel
terminate = partial(ServedRun.send_signal, number=signal.SIGTERM)
interrupt = partial(ServedRun.send_signal, number=signal.SIGINT)
kill = partial(ServedRun.send_signal, number=signal.SIGKILL)


def ends_cancelled(service: OfflineService, job_ids: list[str]) -> bool:
    """Wait for the end of jobs; say whether all of them were cancelled."""
    ends = {wait_for_job.fn(job_id, backend=service.backend()) for job_id in job_ids}
    return ends == {JobStatus.CANCELLED}


def seconds_to_the_end_of_jobs(
    service: OfflineService, run: ServedRun, since: datetime
) -> list[float]:
    jobs = list_jobs.fn(backend=service.backend(), tags=[flow_tag(run.flow_run_id)])
    return [(job.ended - since).total_seconds() for job in jobs if job.ended is not None]


def has_closed(service: OfflineService, run: ServedRun) -> bool:
    (session_id,) = run.notes("session")
    return RuntimeSession(session_id, service.backend()).status() is SessionState.CLOSED


def test_a_flow_run_cancelled_on_the_server_cancels_its_jobs(
    service: OfflineService, start: StartRun
) -> None:
    run = start("submitting")
    job_ids = run.wait_for_notes("job")
    run.cancel()
    assert ends_cancelled(service, job_ids)
    run.wait_for_state("Cancelled")


@pytest.mark.parametrize(
    "end", [pytest.param(cancel, id="cancelled"), pytest.param(kill, id="SIGKILL", marks=slow)]
)
def test_a_child_of_a_deployment_does_not_submit_its_cancelled_job_again(
    service: OfflineService, start: StartRun, end: Callable[[ServedRun], datetime]
) -> None:
    run = start("parent_of_deployed")
    job_ids = run.wait_for_notes("job")
    child = ServedRun(UUID(run.wait_for_notes("child")[0]), run.notes_path)
    end(run)
    child.wait_for_state("Cancelled", "Failed", "Crashed")
    assert child.state.name == "Cancelled"
    jobs = list_jobs.fn(backend=service.backend(), tags=[flow_tag(run.flow_run_id)])
    assert [(job.id, job.state.status) for job in jobs] == [(job_ids[0], JobStatus.CANCELLED)]


@slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["serve", "work"])
@pytest.mark.parametrize(
    ("flow", "end", "seconds"),
    [
        pytest.param("plain", cancel, BY_ITSELF_SECONDS, id="waiting-cancelled"),
        pytest.param("in_threads", cancel, BY_ITSELF_SECONDS, id="threads-cancelled"),
        pytest.param("asynchronous", cancel, BY_ITSELF_SECONDS, id="async-cancelled"),
        pytest.param("plain", terminate, BY_ITSELF_SECONDS, id="waiting-SIGTERM"),
        pytest.param("plain", interrupt, BY_ITSELF_SECONDS, id="waiting-SIGINT"),
        pytest.param("hooked", cancel, BY_A_HOOK_SECONDS, id="submitted-cancelled"),
        pytest.param("hooked", kill, BY_A_HOOK_SECONDS, id="submitted-SIGKILL"),
    ],
)
def test_no_job_outlives_its_flow_run_for_longer_than_promised(
    service: OfflineService,
    start_by: StartRun,
    way: Way,
    flow: str,
    end: Callable[[ServedRun], datetime],
    seconds: float,
) -> None:
    jobs = 2 if flow == "in_threads" else 1
    run = start_by(way, flow)
    job_ids = run.wait_for_notes("job", jobs)
    since = end(run)
    assert ends_cancelled(service, job_ids)
    took = seconds_to_the_end_of_jobs(service, run, since)
    assert len(took) == jobs
    assert max(took) < seconds


@slow
@pytest.mark.timeout(600)
def test_a_flow_that_has_outlived_its_worker_cancels_its_job_as_soon(
    service: OfflineService, block: UUID, program: str, tmp_path: Path
) -> None:
    with running("work", "ended-worker", tmp_path) as worker:
        run = worker.start("plain", program=program)
        job_ids = run.wait_for_notes("job")
        worker.process.kill()
        worker.process.wait()
        since = run.cancel()
        assert ends_cancelled(service, job_ids)
    assert max(seconds_to_the_end_of_jobs(service, run, since)) < BY_ITSELF_SECONDS


@slow
@pytest.mark.timeout(600)
def test_the_next_run_of_the_reaper_cancels_what_a_runner_that_was_ended_has_left(
    service: OfflineService, shared_runner: Runner, program: str, tmp_path: Path
) -> None:
    with running("serve", "ended-runner", tmp_path) as runner:
        run = runner.start("plain", program=program)
        job_ids = run.wait_for_notes("job")
    wait_until(lambda: not run.is_process_alive, "the end of the process")
    run.cancel()
    shared_runner.start("cancel_abandoned_jobs", blocks=[BLOCK]).wait_for_state("Completed")
    jobs = list_jobs.fn(backend=service.backend(), pending=True)
    assert set(job_ids).isdisjoint(job.id for job in jobs)
    assert ends_cancelled(service, job_ids)


@slow
def test_a_killed_process_leaves_no_session_where_hooks_say_so(
    service: OfflineService, start: StartRun
) -> None:
    run = start("submitting")
    run.wait_for_notes("job")
    kill(run)
    wait_until(lambda: has_closed(service, run), "the session closes")
    run.wait_for_state("Crashed")


@slow
def test_hooks_without_names_find_the_blocks_among_the_parameters(
    service: OfflineService, start: StartRun, block: UUID
) -> None:
    run = start("by_parameter", block={"$ref": {"block_document_id": str(block)}})
    job_ids = run.wait_for_notes("job")
    run.cancel()
    assert ends_cancelled(service, job_ids)
