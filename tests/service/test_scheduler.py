"""The queue and the ends of jobs, with an executor whose events the test sends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefect_qiskit_runtime.errors import ServiceUnavailableError
from prefect_qiskit_runtime.models import ReasonCode
from prefect_qiskit_runtime.service.execution import run
from prefect_qiskit_runtime.service.execution.executor import (
    Exited,
    Interim,
    LaunchError,
    ProgramError,
    Result,
    Started,
    Usage,
)
from prefect_qiskit_runtime.service.store import jobs, results

CHARGED, CIRCUITS = "qpu_charge_time_seconds", "circuits_execution_time_ns"
OUR_USAGE = {"seconds": 1.5, "quantum_seconds": 0.25}
PENDING = {CHARGED: 0, "status": "pending"}


async def _state(client, job_id: str) -> dict[str, Any]:
    return (await client.get(f"/jobs/{job_id}")).json()["state"]


async def test_jobs_start_in_the_order_of_their_submission_two_at_a_time(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        queue = [await local.job(client, program_id) for _ in range(4)]
        first, second = await local.executor.next(), await local.executor.next()
        assert [first.launch.job_id, second.launch.job_id] == queue[:2]
        assert local.executor.launched.empty()
        assert await _state(client, queue[2]) == {"status": "Queued"}
        second.exit()
        third = await local.executor.next()
        assert third.launch.job_id == queue[2]
        first.exit()
        assert (await local.executor.next()).launch.job_id == queue[3]


async def test_a_completed_job_has_result_metrics_and_versions(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        versions = {"python": "3.11.7", "qiskit": "2.6.1"}
        execution.send(
            Started(versions), Result('{"x": 1}'), Usage(1.5, 0.25), Exited(0, None, False)
        )
        await local.ended(job_id)
        job = (await client.get(f"/jobs/{job_id}")).json()
        assert (await client.get(f"/jobs/{job_id}/results")).text == '{"x": 1}'
        metrics = (await client.get(f"/jobs/{job_id}/metrics")).json()
    assert job["state"] == {"status": "Completed"} and job["status"] == "Completed"
    assert metrics["usage"] == {"seconds": 1.5, "quantum_seconds": 0.25}
    assert metrics["versions"] == versions and metrics["qiskit_version"] == "2.6.1"
    assert metrics["bss"] == {"seconds": 1.5}
    stamps = metrics["timestamps"]
    assert stamps["created"] <= stamps["running"] <= stamps["finished"]


@pytest.mark.parametrize(
    ("version", "running", "ended", "circuits_ns"),
    [
        (None, {"seconds": 0.0, "quantum_seconds": 0.0}, OUR_USAGE, None),
        ("2026-03-14", {"seconds": 0.0, "quantum_seconds": 0.0}, OUR_USAGE, None),
        ("2026-03-15", PENDING, {CHARGED: 0.25, "status": "complete"}, None),
        ("2026-04-15", PENDING, {CHARGED: 0.25, "status": "complete"}, 250_000_000),
        ("2027-01-01", PENDING, {CHARGED: 0.25, "status": "complete"}, 250_000_000),
    ],
)
async def test_the_usage_has_the_form_of_the_version_that_a_client_names(
    local, version: str | None, running: object, ended: object, circuits_ns: int | None
) -> None:
    headers = {} if version is None else {"IBM-API-Version": version}
    async with local.client() as client:

        async def usages() -> list[Any]:
            listed = (await client.get("/jobs", headers=headers)).json()["jobs"][0]
            job = (await client.get(f"/jobs/{job_id}", headers=headers)).json()
            metrics = (await client.get(f"/jobs/{job_id}/metrics", headers=headers)).json()
            assert ("bss" in metrics) is (running != PENDING)
            return [listed["usage"], job["usage"], metrics["usage"], metrics.get(CIRCUITS)]

        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        assert (await usages())[:3] == [running] * 3
        execution.send(Started({}), Result("1"), Usage(1.5, 0.25), Exited(0, None, False))
        await local.ended(job_id)
        assert await usages() == [ended, ended, ended, circuits_ns]


@pytest.mark.parametrize(
    ("events", "reason", "code", "text"),
    [
        (
            [ProgramError("ValueError", "no", ReasonCode.PROGRAM_RAISED, "Traceback …")],
            "ValueError: no",
            ReasonCode.PROGRAM_RAISED,
            "Traceback …",
        ),
        (
            [ProgramError("SystemExit", "", ReasonCode.PROGRAM_EXITED, "")],
            "SystemExit",
            ReasonCode.PROGRAM_EXITED,
            "SystemExit",
        ),
        (
            [Exited(None, 11, False)],
            "The job's process was ended by SIGSEGV.",
            ReasonCode.KILLED_BY_SIGNAL,
            "The job's process was ended by SIGSEGV.",
        ),
        (
            [Exited(None, 40, False)],
            "The job's process was ended by signal 40.",
            ReasonCode.KILLED_BY_SIGNAL,
            "The job's process was ended by signal 40.",
        ),
        (
            [Exited(None, 9, True)],
            "The job exceeded its memory limit.",
            ReasonCode.MEMORY_LIMIT,
            "The job exceeded its memory limit.",
        ),
        (
            [Exited(3, None, False)],
            "The job's process exited with code 3 and no result.",
            ReasonCode.PROGRAM_EXITED,
            "The job's process exited with code 3 and no result.",
        ),
    ],
)
async def test_a_failed_job_says_why(local, events, reason, code, text) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        execution.send(*events)
        execution.exit(1)
        await local.ended(job_id)
        expected = {"status": "Failed", "reason": reason, "reasonCode": code}
        assert await _state(client, job_id) == expected
        assert (await client.get(f"/jobs/{job_id}/results")).text == text


async def test_a_long_reason_is_shortened_in_listings_and_whole_in_the_result(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        execution.send(ProgramError("ValueError", "x" * 5000, 90001, ""))
        execution.exit(1)
        await local.ended(job_id)
        assert len((await _state(client, job_id))["reason"]) == 1001
        text = (await client.get(f"/jobs/{job_id}/results")).text
    assert text == "ValueError: " + "x" * 5000


async def test_a_process_that_dies_after_its_result_has_completed(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        (await local.executor.next()).send(Result("1"), Exited(None, 11, False))
        await local.ended(job_id)
        assert await _state(client, job_id) == {"status": "Completed"}


async def test_a_job_that_cannot_start_fails_and_the_next_one_runs(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        local.executor.fault = LaunchError("no", image="python:/x", stderr_tail="no qiskit")
        failed = await local.job(client, program_id)
        await local.ended(failed)
        local.executor.fault = RuntimeError("a fault of the service")
        interrupted = await local.job(client, program_id)
        await local.ended(interrupted)
        local.executor.fault = None
        await local.job(client, program_id)
        await local.executor.next()
        assert (await _state(client, failed))["reasonCode"] == ReasonCode.START_FAILED
        assert "no qiskit" in (await client.get(f"/jobs/{failed}/results")).text
        assert (await _state(client, interrupted))["reasonCode"] == ReasonCode.INTERRUPTED


SHORTAGE = LaunchError("Too many open files", image="python:/x", is_temporary=True)


async def _is_put_back(local, client, job_id: str, times: int) -> None:
    """Wait until a job could not start for the given number of times, and is queued."""
    async with asyncio.timeout(60):
        while local.executor.refused < times or (await _state(client, job_id)) != QUEUED:
            await asyncio.sleep(0)


QUEUED = {"status": "Queued"}


async def test_a_job_that_cannot_start_for_lack_of_files_goes_back_into_the_queue(local) -> None:
    async with local.client() as client:
        local.executor.fault = SHORTAGE
        job_id = await local.job(client, await local.program(client))
        await _is_put_back(local, client, job_id, 1)
        local.executor.fault = None
        local.context.clock.advance(1)
        execution = await local.executor.next()
        assert execution.launch.job_id == job_id
        execution.send(Result("1"))
        execution.exit()
        await local.ended(job_id)
        assert await _state(client, job_id) == {"status": "Completed"}


async def test_a_job_that_never_starts_fails_after_six_tries(local) -> None:
    async with local.client() as client:
        local.executor.fault = SHORTAGE
        job_id = await local.job(client, await local.program(client))
        for number, pause in enumerate((1, 5, 15, 30, 30), start=1):
            await _is_put_back(local, client, job_id, number)
            local.context.clock.advance(pause)
        await local.ended(job_id)
        assert (await _state(client, job_id))["reasonCode"] == ReasonCode.START_FAILED
        assert local.executor.refused == 6


async def test_a_job_that_was_put_back_can_be_cancelled(local) -> None:
    async with local.client() as client:
        local.executor.fault = SHORTAGE
        job_id = await local.job(client, await local.program(client))
        await _is_put_back(local, client, job_id, 1)
        assert (await client.post(f"/jobs/{job_id}/cancel")).status_code == 204
        assert (await _state(client, job_id))["status"] == "Cancelled"
        assert not local.context.scheduler._put_back


async def test_a_job_whose_process_is_lost_with_the_fork_server_is_interrupted(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        (await local.executor.next()).send(Exited(None, 9, False, source_lost=True))
        await local.ended(job_id)
        assert (await _state(client, job_id))["reasonCode"] == ReasonCode.INTERRUPTED


async def test_an_end_that_the_database_refuses_is_replaced_by_an_error(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        execution.send(Result("\ud800"))  # half a surrogate pair, which SQLite does not accept
        execution.exit()
        await local.ended(job_id)
        assert (await _state(client, job_id))["reasonCode"] == ReasonCode.RESULT_NOT_ENCODABLE
        assert (await client.delete(f"/jobs/{job_id}")).status_code == 204


def _fail_once(store, monkeypatch, operation) -> None:
    """Let a store find its disk full the first time that it is to run an operation."""
    write = store.write

    async def failing(statement, *args, **kwargs):
        if statement is operation:
            monkeypatch.setattr(store, "write", write)
            raise ServiceUnavailableError("database or disk is full")
        return await write(statement, *args, **kwargs)

    monkeypatch.setattr(store, "write", failing)


async def test_an_end_that_cannot_be_stored_is_stored_when_it_can(local, monkeypatch) -> None:
    monkeypatch.setattr(run, "_RETRY_SECONDS", 0)
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        _fail_once(local.context.store, monkeypatch, jobs.end_job)
        execution.send(Result("1"), Exited(0, None, False))
        await local.ended(job_id)
        assert await _state(client, job_id) == {"status": "Completed"}


async def test_a_job_whose_results_cannot_be_stored_says_so(local, monkeypatch) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        _fail_once(local.context.store, monkeypatch, results.append_interim)
        execution.send(Interim("1"), Exited(0, None, False))
        await local.ended(job_id)
        state = await _state(client, job_id)
    assert state["reasonCode"] == ReasonCode.INTERRUPTED
    assert state["reason"].startswith(
        "The service could not follow the job: database or disk is full."
    )


async def test_a_queued_job_is_cancelled_without_starting(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        running = [await local.job(client, program_id) for _ in range(2)]
        executions = [await local.executor.next() for _ in running]
        queued = await local.job(client, program_id)
        assert (await client.post(f"/jobs/{queued}/cancel")).status_code == 204
        assert (await _state(client, queued))["status"] == "Cancelled"
        assert (await client.post(f"/jobs/{queued}/cancel")).status_code == 409
        after = await local.job(client, program_id)
        executions[0].exit()
        assert (await local.executor.next()).launch.job_id == after


async def test_cancelling_a_running_job_ends_its_process_before_it_answers(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        execution.send(Interim("1"))
        assert (await client.post(f"/jobs/{job_id}/cancel")).status_code == 204
        assert execution.terminated
        assert await _state(client, job_id) == {
            "status": "Cancelled",
            "reason": "Cancelled on request",
        }
        assert (await client.get(f"/jobs/{job_id}/interim_results")).json() == ["1"]
        assert (await client.get(f"/jobs/{job_id}/results")).status_code == 204


async def test_a_cancel_that_comes_too_late_says_so(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        (await local.executor.next()).send(Result("1"), Exited(0, None, False))
        await local.ended(job_id)
        answer = await client.post(f"/jobs/{job_id}/cancel")
    assert answer.status_code == 409
    assert "it is already Completed" in answer.json()["error"]["message"]


async def test_of_cancels_at_once_all_or_the_winner_succeed_and_the_end_is_one(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        submitted = [await local.job(client, program_id) for _ in range(10)]
        answers = await asyncio.gather(
            *(client.post(f"/jobs/{job_id}/cancel") for job_id in submitted for _ in range(3))
        )
        assert {answer.status_code for answer in answers} <= {204, 409}
        listed = (await client.get("/jobs", params={"pending": False})).json()
        assert [job["state"]["status"] for job in listed["jobs"]] == ["Cancelled"] * 10


async def test_a_job_that_runs_too_long_is_cancelled_with_ibms_code(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client), cost=1)
        execution = await local.executor.next()
        await local.ended(job_id)
        assert execution.terminated
        job = (await client.get(f"/jobs/{job_id}")).json()
    assert job["state"] == {
        "status": "Cancelled",
        "reason": "Ran too long",
        "reasonCode": ReasonCode.RAN_TOO_LONG,
    }
    assert job["status"] == "Cancelled - Ran too long"


async def test_interim_results_are_numbered_and_stored_in_order(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        texts = [f'"{index}"' for index in range(5000)]
        execution.send(*map(Interim, texts))
        execution.exit()
        await local.ended(job_id)
        assert (await client.get(f"/jobs/{job_id}/interim_results")).json() == texts
        assert (await client.get(f"/jobs/{job_id}")).json()["interim_count"] == 5000


async def test_large_interim_results_are_stored_while_they_come(local) -> None:
    text = '"' + "x" * 1_000_000 + '"'
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        execution.send(*[Interim(text)] * 20)
        execution.exit()
        await local.ended(job_id)
        assert (await client.get(f"/jobs/{job_id}/interim_results")).json() == [text] * 20


async def test_what_ran_is_interrupted_and_what_waited_runs_after_a_restart(locally) -> None:
    async with locally(max_concurrent_jobs=1) as local, local.client() as client:
        program_id = await local.program(client)
        running, queued = [await local.job(client, program_id) for _ in range(2)]
        await local.executor.next()
    async with locally(max_concurrent_jobs=1) as local, local.client() as client:
        assert (await local.executor.next()).launch.job_id == queued
        state = await _state(client, running)
    assert state["reasonCode"] == ReasonCode.INTERRUPTED
    assert "submit it again" in state["reason"]
