"""Flows that the tests of deployments start, and a script that runs them under one name.

python served.py serve NAME     serves all of them
python served.py work NAME      deploys them to a process pool, and becomes its worker
python served.py reap NAME      serves the reaper, every few seconds
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from prefect import flow, get_client, serve
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments import run_deployment
from prefect.runtime import deployment, flow_run

from flows.cancel_abandoned_jobs import cancel_abandoned_jobs
from prefect_qiskit_runtime import (
    RuntimeBackend,
    arun_program,
    cancel_on_exit,
    release_worker,
    run_program,
    runtime_session,
    submit_program,
)

BLOCK = "offline"
LONG = {"wait": 600}


def note(what: object) -> None:
    """Write a line that the test reads, however this process ends."""
    with Path(os.environ["SERVED_NOTES"]).open("a") as notes:
        notes.write(f"{flow_run.id} {what}\n")


def hang() -> None:
    """Wait until the flow run is interrupted or its process killed; limited if the test fails."""
    threading.Event().wait(LONG["wait"])


def backend() -> RuntimeBackend:
    block: Any = RuntimeBackend.load(BLOCK)
    return block


def running(job_id: str, interim: object) -> None:
    note(f"job {job_id}")
    note(f"pid {os.getpid()}")


@flow
def plain(program: str) -> None:
    run_program(program, LONG, backend=backend(), callback=running)


@flow
def in_threads(program: str) -> None:
    futures = [
        run_program.submit(program, {**LONG, "result": number}, backend=backend(), callback=running)
        for number in range(2)
    ]
    for future in futures:
        future.result()


@flow
async def asynchronous(program: str) -> None:
    block = await RuntimeBackend.aload(BLOCK)
    await arun_program(program, LONG, backend=block, callback=running)


@flow(**cancel_on_exit(BLOCK, crashed=True))
def submitting(program: str) -> None:
    """Wait for something else than the job, in a session."""
    with runtime_session(backend()) as session:
        job = submit_program(program, LONG, backend=backend(), session=session)
        next(job.stream())
        note(f"session {session.session_id}")
        running(job.job_id, None)
        hang()


@flow(**cancel_on_exit(BLOCK, crashed=True))
def hooked(program: str) -> None:
    """Wait for something else than the job, which only the hooks know of."""
    job = submit_program(program, LONG, backend=backend())
    next(job.stream())
    running(job.job_id, None)
    hang()


@flow(**cancel_on_exit())
def by_parameter(program: str, block: RuntimeBackend) -> None:
    job = submit_program(program, LONG, backend=block)
    next(job.stream())
    running(job.job_id, None)
    hang()


@flow(retries=2)
def retried_child(program: str, parent_id: str) -> None:
    """Note its job as the one of its parent, too, which the test starts."""
    child_id = flow_run.id

    def running_below(job_id: str, interim: object) -> None:
        with Path(os.environ["SERVED_NOTES"]).open("a") as notes:
            notes.write(f"{parent_id} child {child_id}\n{parent_id} job {job_id}\n")

    run_program(program, LONG, backend=backend(), callback=running_below)


@flow(**cancel_on_exit(BLOCK, crashed=True))
def parent_of_deployed(program: str) -> None:
    """Wait for a flow run of another deployment, in a process that Prefect does not end with it."""
    note(f"pid {os.getpid()}")
    parameters = {"program": program, "parent_id": flow_run.id}
    run_deployment(f"retried-child/{deployment.name}", parameters=parameters, poll_interval=1)


@flow
def giving_back(program: str, check_after_seconds: float) -> str:
    note(f"pid {os.getpid()}")
    results = []
    for number in range(2):
        job = submit_program(program, {"result": number}, backend=backend())
        note(f"job {job.job_id}")
        release_worker(job, check_after_seconds=check_after_seconds)
        results.append(job.result())
    note(f"results {results}")
    return str(results)


FLOWS = [
    plain,
    in_threads,
    asynchronous,
    submitting,
    hooked,
    by_parameter,
    retried_child,
    parent_of_deployed,
    giving_back,
    cancel_abandoned_jobs,
]


def deploy(name: str) -> None:
    """Deploy the flows to a process pool that has their name too."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"), overwrite=True)
    here = Path(__file__)
    for served in FLOWS:
        there: Any = flow.from_source(str(here.parent), f"{here.name}:{served.fn.__name__}")
        there.deploy(name, work_pool_name=name, ignore_warnings=True, print_next_steps=False)


if __name__ == "__main__":
    way, name = sys.argv[1:]
    if way == "serve":
        serve(*[served.to_deployment(name) for served in FLOWS])
    else:
        deploy(name)
        os.execl(sys.executable, sys.executable, "-m", "prefect", "worker", "start", "--pool", name)
