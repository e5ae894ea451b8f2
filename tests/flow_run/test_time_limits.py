"""Time limits of asynchronous tasks and flows: nothing is left running behind them.

Prefect cancels these through a cancel scope of anyio, which interrupts each `await` that follows.
"""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    JobStatus,
    RuntimeSession,
    SessionState,
    aattach_job,
    alist_jobs,
    arun_program,
    arun_sampler,
    aruntime_session,
    upload_program,
)
from prefect_qiskit_runtime.testing import OfflineService

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")

BACKEND = "aer_simulator"
HELD = {"upto": 1, "wait_for": "/never/there"}


async def test_one_of_a_task_cancels_its_job(counting: str) -> None:
    jobs: list[str] = []

    @flow
    async def impatient() -> str | None:
        limited = arun_program.with_options(timeout_seconds=5)
        state = await limited(
            counting,
            HELD,
            backend=BACKEND,
            callback=lambda job_id, interim: jobs.append(job_id),
            return_state=True,
        )
        return state.name

    assert await impatient() == "TimedOut"
    job = await aattach_job.fn(jobs[0], backend=BACKEND)
    assert await job.astatus() is JobStatus.CANCELLED


async def test_one_of_a_flow_cancels_what_it_gathers_and_closes_its_session(counting: str) -> None:
    sessions: list[RuntimeSession] = []

    @flow(timeout_seconds=8)
    async def impatient() -> None:
        async with aruntime_session(BACKEND) as session:
            sessions.append(session)
            await asyncio.gather(
                *[arun_program(counting, HELD, backend=BACKEND, session=session) for _ in range(2)]
            )

    assert (await impatient(return_state=True)).name == "TimedOut"
    assert await sessions[0].astatus() is SessionState.CLOSED
    jobs = await alist_jobs.fn(backend=BACKEND, session=sessions[0])
    assert [job.state.status for job in jobs] == [JobStatus.CANCELLED] * 2


async def test_one_that_ends_amid_a_submission_cancels_its_job(offline: OfflineService) -> None:
    """The service has made the job, and its answer is on the way."""
    backend = offline.backend()
    program_id = upload_program.fn(
        "import time\n\ndef main(backend, user_messenger):\n    time.sleep(60)\n",
        name="sleeping",
        backend=backend,
    )
    offline.add(
        "silence",
        when={"method": "POST", "path": "/jobs"},
        moment="after_effect",
        seconds=6,
    )
    limited = arun_program.with_options(timeout_seconds=3)
    state = await limited(program_id, {}, backend=backend, return_state=True)
    assert state.name == "TimedOut"
    (job,) = await alist_jobs.fn(backend=backend)
    assert job.state.status is JobStatus.CANCELLED


async def test_one_cancels_all_parts_of_a_call(offline: OfflineService) -> None:
    backend = offline.backend()
    await arun_sampler.fn([_coin()], backend=backend)  # loads Qiskit, which may take long
    before = {job.id for job in await alist_jobs.fn(backend=backend)}
    offline.add("hold_job", when={"times": None})
    limited = arun_sampler.with_options(timeout_seconds=8)
    state = await limited([_coin()] * 2, split=1, backend=backend, return_state=True)
    assert state.name == "TimedOut"
    jobs = [job for job in await alist_jobs.fn(backend=backend) if job.id not in before]
    assert [job.state.status for job in jobs] == [JobStatus.CANCELLED] * 2


def _coin() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    return circuit
