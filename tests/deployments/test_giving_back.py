"""A worker that is given back while jobs are queued."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from prefect_qiskit_runtime import list_jobs
from prefect_qiskit_runtime.flow_run.lineage import flow_tag
from prefect_qiskit_runtime.models import JobInfo
from prefect_qiskit_runtime.testing import OfflineService
from prefect_qiskit_runtime.workers import AWAITING_QUANTUM_JOB
from tests.deployments.conftest import ServedRun, StartRun
from tests.waiting import wait_until


def jobs_of(service: OfflineService, run: ServedRun) -> list[JobInfo]:
    """Return the jobs of a flow run, the first first."""
    tags = [flow_tag(run.flow_run_id)]
    return list_jobs.fn(backend=service.backend(), tags=tags, descending=False)


def wait_for_queued_job(
    service: OfflineService, run: ServedRun, number: int, queue_seconds: float
) -> None:
    """Wait until a flow run has so many jobs, and the last one was queued for that long."""
    found = wait_until(
        lambda: jobs if len(jobs := jobs_of(service, run)) == number else None, f"job {number}"
    )
    created = found[-1].created
    wait_until(
        lambda: (datetime.now(UTC) - created).total_seconds() >= queue_seconds,
        f"{queue_seconds} s in the queue",
    )


def has_no_process(run: ServedRun) -> bool:
    return run.state.name == AWAITING_QUANTUM_JOB and not run.is_process_alive


@pytest.mark.parametrize(
    ("queue_seconds", "check_after_seconds"),
    [
        pytest.param(0, 2, id="short"),
        pytest.param(120, 45, id="minutes", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_a_flow_gives_its_worker_back_twice_and_pays_two_jobs(
    service: OfflineService, start: StartRun, queue_seconds: float, check_after_seconds: float
) -> None:
    holds = [service.add("hold_job", when={"skip": number}) for number in range(2)]
    run = start("giving_back", check_after_seconds=check_after_seconds)
    for number, hold in enumerate(holds, start=1):
        wait_for_queued_job(service, run, number, queue_seconds)
        wait_until(lambda: has_no_process(run), "the end of the process")
        service.remove(hold)
    run.wait_for_state("Completed")
    assert run.notes("results") == ["[0, 1]"]
    assert len(set(run.notes("pid"))) >= 3
    jobs = jobs_of(service, run)
    assert len(jobs) == 2
    queued = [job.started - job.created for job in jobs if job.started is not None]
    assert [one.total_seconds() >= queue_seconds for one in queued] == [True, True]
