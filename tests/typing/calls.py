# pyright: reportUnnecessaryTypeIgnoreComment=true
"""Calls and their types, for pyright only: `test_typing.py` has this file checked.

Each `pyright: ignore` marks a planted mistake. One that pyright does not find is an error.
"""

from __future__ import annotations

from typing import Any, assert_type

from qiskit.primitives import PrimitiveResult, PubResult, SamplerPubResult

from prefect_qiskit_runtime import (
    DryRun,
    IBMQuantumCredentials,
    RuntimeClient,
    RuntimeJob,
    RuntimeProgram,
    RuntimeSession,
    SyncRuntimeClient,
    arun_estimator,
    arun_sampler,
    list_jobs,
    run_estimator,
    run_program,
    run_sampler,
    submit_estimator,
    submit_program,
)
from prefect_qiskit_runtime.client import (
    RuntimeClientJob,
    SyncRuntimeClientBackend,
    SyncRuntimeClientJob,
    SyncRuntimeClientSession,
)
from prefect_qiskit_runtime.loops import DurableLoop, LoopStep
from prefect_qiskit_runtime.models import JobInfo, JobStatus, SessionInfo


def jobs_and_sessions(job: RuntimeJob, session: RuntimeSession) -> None:
    assert_type(job.info(), JobInfo)
    assert_type(job.wait_for_final_state(timeout_seconds=3), JobStatus)
    assert_type(job.update_tags(["scan"]), list[str])
    assert_type(session.details(), SessionInfo)
    assert_type(session.usage_seconds(), float)
    job.info(detailed=True)  # pyright: ignore[reportCallIssue]
    job.wait_for_final_state("soon")  # pyright: ignore[reportArgumentType]
    job.update_tags()  # pyright: ignore[reportCallIssue]
    job.statuses()  # pyright: ignore[reportAttributeAccessIssue]


def loops_and_blocks(
    loop: DurableLoop, program: RuntimeProgram, account: IBMQuantumCredentials
) -> None:
    with loop as entered:
        assert_type(entered, DurableLoop)
        assert_type(entered.evaluate([0.1], gradient=True), LoopStep)
        entered.evaluate([0.1], gradients=True)  # pyright: ignore[reportCallIssue]
    assert_type(program.trigger(upto=3), RuntimeJob)
    assert_type(program.upload(), str)
    assert_type(program.trigger().inputs(), dict[str, Any])
    assert_type(account.verify(), str)


def the_synchronous_client(client: SyncRuntimeClient) -> None:
    job = client.run("program", {"upto": 3}, callback=print)
    assert_type(job, SyncRuntimeClientJob)
    assert_type(client.jobs(limit=3), list[SyncRuntimeClientJob])
    assert_type(client.backend("fake_manila"), SyncRuntimeClientBackend)
    assert_type(client.backends(), list[SyncRuntimeClientBackend])
    assert_type(client.open_session("fake_manila"), SyncRuntimeClientSession)
    assert_type(client.sessions(), list[SyncRuntimeClientSession])
    assert_type(client.open_session("fake_manila").run("program"), SyncRuntimeClientJob)
    assert_type(job.status(), JobStatus)
    assert_type(job.tags, list[str])
    client.run(3)  # pyright: ignore[reportArgumentType]
    client.jobs(limits=3)  # pyright: ignore[reportCallIssue]
    job.result(timeout="soon")  # pyright: ignore[reportArgumentType]


async def the_asynchronous_client(client: RuntimeClient) -> None:
    assert_type(await client.run("program"), RuntimeClientJob)


def dry_runs(pubs: list[Any], flag: bool) -> None:
    assert_type(run_sampler(pubs, backend="aer"), PrimitiveResult[SamplerPubResult])
    assert_type(run_sampler(pubs, backend="aer", dry_run=True), DryRun)
    assert_type(run_estimator(pubs, backend="aer", dry_run=False), PrimitiveResult[PubResult])
    assert_type(
        run_estimator(pubs, backend="aer", dry_run=flag), PrimitiveResult[PubResult] | DryRun
    )
    assert_type(submit_estimator(pubs, backend="aer"), RuntimeJob)
    assert_type(submit_program("program", backend="aer"), RuntimeJob)
    assert_type(submit_program("program", backend="aer", dry_run=True), DryRun)
    assert_type(run_program("program", backend="aer", dry_run=True), DryRun)
    assert_type(list_jobs(backend="aer"), list[JobInfo])
    run_sampler(pubs)  # pyright: ignore[reportCallIssue]
    run_sampler(pubs, backend="aer", precision=0.1)  # pyright: ignore[reportCallIssue]
    run_estimator(pubs, backend="aer", shots="many")  # pyright: ignore[reportArgumentType]
    run_sampler(pubs, backend="aer", dry_run=True)[0]  # pyright: ignore[reportIndexIssue]
    _ = run_sampler(pubs, backend="aer").payload_bytes  # pyright: ignore[reportAttributeAccessIssue]


async def asynchronous_dry_runs(pubs: list[Any]) -> None:
    assert_type(await arun_sampler(pubs, backend="aer"), PrimitiveResult[SamplerPubResult])
    assert_type(await arun_estimator(pubs, backend="aer", dry_run=True), DryRun)
    await arun_estimator(pubs, backend=3)  # pyright: ignore[reportArgumentType]
