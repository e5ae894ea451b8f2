"""Sessions and batches as a flow uses them, through the real embedded service."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    ConfigurationError,
    InvalidInputError,
    JobStatus,
    NotFoundError,
    RuntimeOptions,
    RuntimeSession,
    SessionClosedError,
    SessionState,
    SyncRuntimeClient,
    aruntime_session,
    jobs as tasks,
    primitives,
    runtime_batch,
    runtime_session,
)

BACKEND = "aer_simulator"
run_program, submit_program = tasks.run_program.fn, tasks.submit_program.fn
NEVER = "/never/there"


class Termination(BaseException):
    """The exception that Prefect raises in the main thread of a cancelled flow."""


def _sessions(client: SyncRuntimeClient) -> list[str]:
    return [session.session_id for session in client.sessions(limit=None)]


def test_jobs_run_in_a_session_that_closes_at_the_end_of_its_block(counting: str) -> None:
    with runtime_session(BACKEND, max_time="10m") as session:
        assert session.status() is SessionState.OPEN
        assert run_program(counting, {"upto": 1}, backend=BACKEND, session=session)["upto"] == 1
        job = submit_program(counting, {"upto": 2}, backend=BACKEND, session=session.session_id)
        assert job.result()["upto"] == 2
        assert session.status() is SessionState.ACTIVE
    details = session.details()
    assert (details.state, details.accepting_jobs) == (SessionState.CLOSED, False)
    assert (details.mode, details.max_ttl, details.backend_name) == ("dedicated", 600, BACKEND)
    assert details.elapsed_time is not None and details.elapsed_time > 0
    found = tasks.list_jobs.fn(backend=BACKEND, session=session)
    assert [info.session_id for info in found] == [session.session_id] * 2


def test_a_batch_finishes_what_was_submitted_in_it(counting: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    inputs = {"upto": 1, "wait_for": str(gate)}
    with runtime_batch(BACKEND) as batch:
        jobs = [submit_program(counting, inputs, backend=BACKEND, session=batch) for _ in range(2)]
        for job in jobs:
            next(job.stream())  # both run, side by side
    details = batch.details()
    assert (details.state, details.accepting_jobs) == (SessionState.ACTIVE, False)
    gate.touch()
    assert [job.result()["upto"] for job in jobs] == [1, 1]
    assert (batch.details().mode, batch.status()) == ("batch", SessionState.CLOSED)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Termination])
def test_a_session_left_by_an_exception_cancels_what_waits_in_it(
    counting: str, tmp_path: Path, error: type[BaseException]
) -> None:
    gate = tmp_path / "gate"
    inputs = {"upto": 1, "wait_for": str(gate)}
    with pytest.raises(error), runtime_session(BACKEND) as session:
        running, waiting = [
            submit_program(counting, inputs, backend=BACKEND, session=session) for _ in range(2)
        ]
        next(running.stream())
        raise error
    assert session.status() is SessionState.CLOSED
    assert waiting.status() is JobStatus.CANCELLED
    gate.touch()
    assert running.result()["upto"] == 1


async def test_a_cancelled_coroutine_leaves_no_session_behind(counting: str) -> None:
    opened: list[RuntimeSession] = []

    async def work() -> None:
        async with aruntime_session(BACKEND) as session:
            opened.append(session)
            await tasks.arun_program.fn(
                counting,
                {"upto": 1, "wait_for": NEVER},
                backend=BACKEND,
                session=session,
                callback=lambda job_id, interim: working.cancel(),
            )

    working = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await opened[0].astatus() is SessionState.CLOSED
    (job,) = await tasks.alist_jobs.fn(backend=BACKEND, session=opened[0])
    assert job.state.status is JobStatus.CANCELLED


async def test_the_async_twin_closes_at_the_end_of_its_block(counting: str) -> None:
    async with aruntime_session(BACKEND) as session:
        assert (await session.adetails()).state is SessionState.OPEN
    assert await session.astatus() is SessionState.CLOSED


def test_an_interrupted_script_leaves_no_session_behind(counting: str) -> None:
    script = Path(__file__).with_name("holding_a_session.py")
    process = subprocess.Popen(
        [sys.executable, str(script), counting],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    with process:
        assert process.stdout is not None
        session_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    with SyncRuntimeClient() as client:
        assert client.session(session_id).status() is SessionState.CLOSED
        (job,) = client.jobs(session_id=session_id)
        assert job.status() is JobStatus.CANCELLED


def test_a_block_that_is_never_left_sends_nothing_when_it_is_collected() -> None:
    entered = runtime_session(BACKEND)
    session = entered.__enter__()
    del entered
    gc.collect()
    assert session.status() is SessionState.OPEN
    session.close()


def test_a_session_can_be_closed_and_cancelled_within_its_block(counting: str) -> None:
    with runtime_session(BACKEND) as session:
        session.close()
        assert session.status() is SessionState.CLOSED
        with pytest.raises(SessionClosedError, match=r"is closed\. Open another one\.") as caught:
            run_program(counting, {"upto": 1}, backend=BACKEND, session=session)
        assert caught.value.session_id == session.session_id
        session.cancel()


def test_primitives_run_in_a_session() -> None:
    circuit = QuantumCircuit(1)
    circuit.x(0)
    with runtime_session(BACKEND) as session:
        (estimated,) = primitives.run_estimator.fn(
            [(circuit, "Z")], backend=BACKEND, session=session
        )
        measured = circuit.measure_all(inplace=False)
        job = primitives.submit_sampler.fn([measured], backend=BACKEND, shots=5, session=session)
        (sampled,) = job.result()
    assert estimated.data.evs == pytest.approx(-1)
    assert sampled.data.meas.get_counts() == {"1": 5}
    assert len(tasks.list_jobs.fn(backend=BACKEND, session=session)) == 2


def test_what_is_no_session_is_refused_before_submitting(counting: str) -> None:
    with pytest.raises(ConfigurationError, match="not int"):
        run_program(counting, {}, backend=BACKEND, session=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="its options name another one"):
        options = RuntimeOptions(session_id="a")
        run_program(counting, {}, backend=BACKEND, session="b", options=options)
    with pytest.raises(NotFoundError, match="no session 'no-such'") as caught:
        run_program(counting, {"upto": 1}, backend=BACKEND, session="no-such")
    assert (caught.value.kind, caught.value.identifier) == ("session", "no-such")


def test_a_job_for_another_backend_than_its_sessions_is_refused(counting: str) -> None:
    with (
        runtime_session(BACKEND) as session,
        pytest.raises(InvalidInputError, match=f"is on backend {BACKEND}"),
    ):
        run_program(counting, {"upto": 1}, backend="fake_manila", session=session)


@pytest.mark.parametrize("max_time", ["2 hours", "", 0, "0s", "9h"])
def test_a_max_time_that_is_none_opens_no_session(counting: str, max_time: int | str) -> None:
    with SyncRuntimeClient() as client:
        before = _sessions(client)
        with (
            pytest.raises((ConfigurationError, InvalidInputError), match=r"2h 30m|28800 s"),
            runtime_session(BACKEND, max_time=max_time),
        ):
            pass
        assert _sessions(client) == before
