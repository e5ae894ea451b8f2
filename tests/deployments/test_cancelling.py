"""Flow runs of a deployment that are cancelled or killed: their jobs end with them."""

from __future__ import annotations

from uuid import UUID

import pytest

from prefect_qiskit_runtime import (
    JobStatus,
    RuntimeSession,
    SessionState,
    wait_for_job,
)
from prefect_qiskit_runtime.testing import OfflineService
from tests.deployments.conftest import ServedRun, StartRun, until

slow = pytest.mark.slow


def ends_cancelled(service: OfflineService, job_ids: list[str]) -> bool:
    """Wait for the end of jobs; say whether all of them were cancelled."""
    ends = {wait_for_job.fn(job_id, backend=service.backend()) for job_id in job_ids}
    return ends == {JobStatus.CANCELLED}


def has_closed(service: OfflineService, run: ServedRun) -> bool:
    (session_id,) = run.notes("session")
    return RuntimeSession(session_id, service.backend()).status() is SessionState.CLOSED


@pytest.mark.parametrize(
    ("flow", "jobs"),
    [
        pytest.param("plain", 1, marks=slow),
        pytest.param("in_threads", 2, marks=slow),
        pytest.param("asynchronous", 1, marks=slow),
        pytest.param("submitting", 1),
    ],
)
def test_a_flow_run_cancelled_on_the_server_cancels_its_jobs(
    service: OfflineService, start: StartRun, flow: str, jobs: int
) -> None:
    run = start(flow)
    job_ids = run.wait_for_notes("job", jobs)
    run.cancel()
    assert ends_cancelled(service, job_ids)
    run.wait_for_state("Cancelled")


@slow
def test_a_killed_process_leaves_neither_job_nor_session_where_hooks_say_so(
    service: OfflineService, start: StartRun
) -> None:
    run = start("submitting")
    job_ids = run.wait_for_notes("job")
    run.kill()
    assert ends_cancelled(service, job_ids)
    until(lambda: has_closed(service, run), "the session closes")
    run.wait_for_state("Crashed")


@slow
def test_hooks_without_names_find_the_blocks_among_the_parameters(
    service: OfflineService, start: StartRun, block: UUID
) -> None:
    run = start("by_parameter", block={"$ref": {"block_document_id": str(block)}})
    job_ids = run.wait_for_notes("job")
    run.cancel()
    assert ends_cancelled(service, job_ids)
