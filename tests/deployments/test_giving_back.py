"""A worker that is given back while jobs are queued."""

from __future__ import annotations

from prefect_qiskit_runtime import list_jobs
from prefect_qiskit_runtime._lineage import flow_tag
from prefect_qiskit_runtime.testing import OfflineService
from prefect_qiskit_runtime.workers import AWAITING_QUANTUM_JOB
from tests.deployments.conftest import StartRun, until


def test_a_flow_gives_its_worker_back_twice_and_pays_two_jobs(
    service: OfflineService, start: StartRun
) -> None:
    holds = [service.add("hold_job", when={"skip": number}) for number in range(2)]
    run = start("giving_back")
    for number, hold in enumerate(holds):
        until(lambda: len(set(run.notes("job"))) > number, "the job")  # noqa: B023
        run.wait_for_state(AWAITING_QUANTUM_JOB)
        until(lambda: not run.is_process_alive, "the end of the process")
        service.remove(hold)
    run.wait_for_state("Completed")
    assert run.notes("results") == ["[0, 1]"]
    assert len(set(run.notes("pid"))) >= 3
    jobs = list_jobs.fn(backend=service.backend(), tags=[flow_tag(run.flow_run_id)])
    assert len(jobs) == 2
