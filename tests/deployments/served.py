"""The flows that the tests of deployments serve; run as a script it serves all of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow, serve
from prefect.runtime import flow_run

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
NAME = "served"
LONG = {"wait": 600}


def note(what: object) -> None:
    """Write a line that the test reads, however this process ends."""
    with Path(os.environ["SERVED_NOTES"]).open("a") as notes:
        notes.write(f"{flow_run.id} {what}\n")


def backend() -> RuntimeBackend:
    return RuntimeBackend.load(BLOCK)


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
        time.sleep(600)


@flow(**cancel_on_exit())
def by_parameter(program: str, block: RuntimeBackend) -> None:
    job = submit_program(program, LONG, backend=block)
    next(job.stream())
    running(job.job_id, None)
    time.sleep(600)


@flow
def giving_back(program: str) -> str:
    note(f"pid {os.getpid()}")
    results = []
    for number in range(2):
        job = submit_program(program, {"result": number}, backend=backend())
        note(f"job {job.job_id}")
        release_worker(job, check_after_seconds=2)
        results.append(job.result())
    note(f"results {results}")
    return str(results)


FLOWS = [plain, in_threads, asynchronous, submitting, by_parameter, giving_back]

if __name__ == "__main__":
    serve(*[served.to_deployment(NAME) for served in FLOWS])
